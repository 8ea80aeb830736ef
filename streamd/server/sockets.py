"""Every WebSocket connection from its handshake to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from streamd import __version__
from streamd.core.addresses import AudioRequest, EventsRequest, Request
from streamd.core.commands.machine import NoAnswer
from streamd.core.commands.request import Person
from streamd.core.wire import Answer, Close, CloseCode, Expect, ProtocolViolation, ReaderWire, Tell
from streamd.metrics import Metrics
from streamd.server.access import Access, Refused, Role
from streamd.server.http import no_session, read_target
from streamd.server.hub import Hub, Session, SessionLimit
from streamd.server.ingest import Ingest
from streamd.server.relay import Relay, expect, first, shut
from streamd.settings import Server

SERVER = f"streamd/{__version__}"
DRAIN_S = 2.0
"""When the server closes, a reader has so long to take what the log holds."""

_log = logging.getLogger(__name__)


class Sockets:
    """The WebSocket half of the port."""

    def __init__(self, server: Server, access: Access, hub: Hub, metrics: Metrics) -> None:
        self._server = server
        self._access = access
        self._hub = hub
        self._metrics = metrics
        self._readers = 0
        self._speakers: dict[str, Ingest] = {}  # by session
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Give every client what the log holds, then close it."""
        self._draining.set()

    async def handle(self, socket: ServerConnection) -> None:
        """Serve one connection; returns when it is closed."""
        assert socket.request is not None
        request = read_target(socket.request.path)
        try:
            await self._serve(socket, request)
        except Close as close:
            await shut(socket, close)
        except ConnectionClosed:
            pass  # the client went, which it may at any time
        except Exception:  # noqa: BLE001 - whatever is wrong with one client must not end the others'
            _log.exception("failed while serving %r to %s", request, socket.remote_address)
            await shut(socket, Close(CloseCode.INTERNAL, "the server failed; its log says how"))
        finally:
            if isinstance(request, EventsRequest):
                self._metrics.reader_closes.labels(_code(socket)).inc()

    async def _serve(self, socket: ServerConnection, request: Request) -> None:
        try:
            if isinstance(request, EventsRequest):
                await self._read(socket, request, self._check_role(socket, request, Role.VIEWER))
            else:
                assert isinstance(request, AudioRequest), "http.py answers everything else"
                await self._speak(socket, request, self._check_role(socket, request, Role.SPEAKER))
        except SessionLimit as limit:
            raise Close(CloseCode.TOO_MANY, str(limit)) from limit

    def _check_role(self, socket: ServerConnection, request: EventsRequest | AudioRequest, role: Role) -> Person:
        """Browsers can't see the status of a handshake that fails: they are told by a closing code."""
        assert socket.request is not None
        try:
            return self._access.check_role(socket.request.headers, request.token, role)
        except Refused as refused:
            raise Close(CloseCode.VIOLATION, f"forbidden: {refused}") from refused

    async def _read(self, socket: ServerConnection, request: EventsRequest, reader: Person) -> None:
        session = await self._hub.get(request.session)
        if session is None:
            raise Close(CloseCode.NO_SUCH_SESSION, no_session(request.session, self._hub))
        with self._counted(session):
            wire = ReaderWire(session.log, self._hub.now_ms(), after=request.after, epoch=request.epoch)
            limit_s, shows = self._server.lag_limit_s, request.commands
            relay = Relay(socket, session, wire, self._hub.now_ms, limit_s, shows=shows)
            await socket.send(wire.welcome(SERVER, self._hub.now_ms(), reader.role).json)
            listening = self._obey(socket, request, wire, session)
            await first(relay.forever(), listening, self._draining.wait())
            await _farewell(socket, relay, session.log.next_seq - 1)

    async def _obey(self, socket: ServerConnection, request: EventsRequest, wire: ReaderWire, session: Session) -> None:
        """Do what a reader asks for, if it may do more than read, until it is gone."""
        async for message in socket:
            asked = wire.receive(message)
            match asked:
                case Answer():
                    try:
                        session.answer(asked, self._check_role(socket, request, Role.OPERATOR))
                    except NoAnswer as refused:  # what the question has become is in the log
                        _log.info("an answer to %s does not count: %s", asked.command_id, refused)
                case Tell(states=states):
                    self._check_role(socket, request, Role.OPERATOR)
                    if self._hub.states(states) is None:
                        raise ProtocolViolation("this daemon takes no commands, so nobody asks for states")
                case Expect():
                    self._check_role(socket, request, Role.SPEAKER)
                    await expect(self._hub, session.name, asked)

    async def _speak(self, socket: ServerConnection, request: AudioRequest, speaker: Person) -> None:
        session = await self._hub.get(request.session) or await self._hub.open(request.session)
        ingest = Ingest(socket, session, request, self._hub, self._server.lag_limit_s, speaker)
        with self._speaking(session.name, ingest, takeover=request.takeover):
            await first(ingest.run(SERVER), self._overdue())
        raise Close(CloseCode.GOING_AWAY, "the daemon stops")

    async def _overdue(self) -> None:
        """Speakers end by themselves when the daemon stops; after this they no longer can."""
        await self._draining.wait()
        await asyncio.sleep(DRAIN_S)

    @contextmanager
    def _counted(self, session: Session) -> Iterator[None]:
        """One reader more, as long as it is there."""
        limit = self._server.max_readers
        if self._readers >= limit:
            raise Close(CloseCode.TOO_MANY, f"{limit} readers are connected, and no more may (server.max_readers)")
        self._count(session, 1)
        try:
            yield
        finally:
            self._count(session, -1)

    def _count(self, session: Session, change: int) -> None:
        self._readers += change
        session.readers += change
        self._metrics.readers.labels(session.name).set(session.readers)

    @contextmanager
    def _speaking(self, name: str, ingest: Ingest, *, takeover: bool) -> Iterator[None]:
        """Remember who speaks, so that the next one can take over."""
        former = self._speakers.get(name)
        if former is not None and takeover:
            former.cut_off(Close(CloseCode.BUSY, "taken over"))
        if former is None or takeover:
            self._speakers[name] = ingest
        try:
            yield
        finally:
            if self._speakers.get(name) is ingest:
                del self._speakers[name]


async def _farewell(socket: ServerConnection, relay: Relay, newest: int) -> None:
    """Send what the log holds, also what the journal is about to hold."""
    try:
        async with asyncio.timeout(DRAIN_S):
            await relay.until(newest)
    except TimeoutError:
        socket.transport.abort()
    raise Close(CloseCode.GOING_AWAY, "the daemon stops")


def _code(socket: ServerConnection) -> str:
    """The closing code as a label: clients can make up any between 3000 and 4999."""
    code = socket.close_code
    return str(code) if code is not None and (code < 3000 or code in tuple(CloseCode)) else "other"
