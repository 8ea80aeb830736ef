"""A client that speaks into a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from streamd.core.addresses import AudioRequest
from streamd.core.commands.request import Person
from streamd.core.wire import Close, CloseCode, Expect, IngestWire
from streamd.server.hub import Hub, Session, SourceBusy
from streamd.server.relay import Relay, cancel, expect, first
from streamd.sources.socket import SocketSource


class Ingest:
    """One speaking client: its sound goes to the session, the session's events come back.

    The sound ends with the client's `end`, with its connection, with a takeover or with the daemon. Either way what
    it said is finalised, and whoever is still there gets it, then `ended`, and only then the connection closes.
    """

    def __init__(
        self,
        socket: ServerConnection,
        session: Session,
        request: AudioRequest,
        hub: Hub,
        limit_s: float,
        speaker: Person | None = None,
    ) -> None:
        self._socket = socket
        self._session = session
        self._request = request
        self._hub = hub
        self._speaker = speaker
        self._wire = IngestWire(session.log, hub.now_ms(), events=request.events)
        self._relay = Relay(socket, session, self._wire, hub.now_ms, limit_s, shows=False)
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()  # one piece at most, see _take
        self._cut_off = asyncio.Event()
        self._close: Close | None = None

    def cut_off(self, close: Close) -> None:
        """Take no more sound; close with `close` once what was said is finalised."""
        self._close = self._close or close
        self._cut_off.set()

    async def run(self, server: str) -> None:
        """Serve the client to its end. Raises Close, and ConnectionClosed if it is gone."""
        if self._request.events:
            role = None if self._speaker is None else self._speaker.role
            await self._socket.send(self._wire.welcome(server, self._hub.now_ms(), role).json)
        await self._hear()
        if self._close is None:
            await self._relay.until(self._session.log.next_seq - 1)
            if self._wire.ended:
                await self._socket.send(self._wire.ended.json)
        if self._hub.stopping.is_set():
            self.cut_off(Close(CloseCode.GOING_AWAY, "the daemon stops"))
        raise self._close or Close(CloseCode.NORMAL, "")

    async def _hear(self) -> None:
        source = SocketSource(self._sound(), self._request.rate, self._request.format, self._name())
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send())]
        try:
            await self._session.hear(source, take_over=self._request.takeover, speaker=self._speaker)
        except SourceBusy as busy:
            raise Close(CloseCode.BUSY, f"{busy}; takeover=1 replaces it") from busy
        finally:
            await cancel(*tasks)

    def _name(self) -> str:
        address = self._socket.remote_address  # None once the connection is gone
        return f"socket at {address[0]}" if address else "socket"

    async def _sound(self) -> AsyncIterator[bytes]:
        while (piece := await self._inbox.get()) is not None:
            yield piece
            self._inbox.task_done()

    async def _receive(self) -> None:
        """Read until the client or somebody else ends it."""
        try:
            await first(self._take(), self._cut_off.wait(), self._hub.stopping.wait())
        except ConnectionClosed:
            pass  # what was said so far stands
        finally:
            self._inbox.put_nowait(None)

    async def _take(self) -> None:
        """Read only as fast as the session takes the sound, so that TCP pushes back."""
        async for message in self._socket:
            try:
                pieces = self._wire.receive(message)
                if isinstance(pieces, Expect):
                    await expect(self._hub, self._session.name, pieces)
                    continue
            except Close as close:
                self.cut_off(close)
                return
            for piece in pieces:
                self._inbox.put_nowait(piece)
                await self._inbox.join()
            if self._wire.is_over:
                self._inbox.put_nowait(None)

    async def _send(self) -> None:
        try:
            await self._relay.forever()
        except ConnectionClosed:
            pass  # _receive sees it too
        except Close as close:
            self.cut_off(close)
