"""A server over real sockets, on sessions that are played by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streamd.core.commands.definition import Scalar
from streamd.core.commands.machine import NoAnswer
from streamd.core.commands.request import Person
from streamd.core.events import Body, Ended, Event, Final, Partial, Vocabulary
from streamd.core.log import Log
from streamd.core.wire import Answer
from streamd.metrics import Metrics
from streamd.server import Serving, serve
from streamd.server.hub import SessionLimit, SourceBusy
from streamd.settings import Server
from streamd.sources import Source

GUARD_S = 20.0


class PlayedSession:
    """A real log. What it hears it keeps; at the source's end it says how many bytes that were."""

    def __init__(self, name: str, hub: PlayedHub) -> None:
        self.name = name
        self.log = Log(name, "e1")
        self.heard = bytearray()
        self.vocabulary: tuple[str, ...] = ("CTranslate2",)
        self.source: Source | None = None
        self.speaker: Person | None = None
        self.shown: list[int] = []  # seqs of events that were sent
        self.answers: list[tuple[Answer, Person]] = []
        self.may_take = asyncio.Event()
        self.may_take.set()
        self._hub = hub
        self._readers = 0
        self._free = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def readers(self) -> int:
        return self._readers

    @readers.setter
    def readers(self, count: int) -> None:
        self._readers = count
        self._wake()

    def append(self, body: Body) -> Event:
        event = self.log.append(body, self._hub.clock_ms)
        self._wake()
        return event

    async def wait_newer(self, seq: int) -> None:
        while self.log.newest <= seq:
            await self._changed.wait()

    async def until_readers(self, count: int) -> None:
        while self._readers != count:
            await self._changed.wait()

    async def until_answers(self, count: int) -> None:
        while len(self.answers) < count:
            await self._changed.wait()

    async def until_heard(self, size: int) -> None:
        while len(self.heard) < size:
            await self._changed.wait()

    def delivered(self, event: Event) -> None:
        self.shown.append(event.seq)

    def answer(self, answer: Answer, by: Person) -> None:
        self.answers.append((answer, by))
        self._wake()
        if answer.command_id != "c1":
            raise NoAnswer("there is no such question any more")

    async def hear(self, source: Source, *, take_over: bool = False, speaker: Person | None = None) -> None:
        self.speaker = speaker
        if self._free.locked() and not take_over:
            raise SourceBusy(f"session {self.name} listens to another source")
        async with self._free:
            self.source = source
            before = len(self.heard)
            try:
                await self._take_all(source)
            finally:
                self.append(final(self.log.next_seq, f"{len(self.heard) - before} bytes"))
                self.append(Ended(audio_ms=0))

    async def history(self) -> list[Event]:
        return [event for event in self.log.since(0) if isinstance(event.body, Final)]

    async def _take_all(self, source: Source) -> None:
        async for chunk in source.chunks():
            await self.may_take.wait()
            assert isinstance(chunk, bytes)
            self.heard += chunk
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class PlayedHub:
    """Sessions by name, and a clock that stands still."""

    def __init__(self, *names: str, limit: int = 8) -> None:
        self.stopping = asyncio.Event()
        self.clock_ms = 1_000_000
        self.trouble: str | None = None
        self.plant: dict[str, Scalar] | None = {}
        self._limit = limit
        self._sessions = {name: PlayedSession(name, self) for name in names}

    def __getitem__(self, name: str) -> PlayedSession:
        return self._sessions[name]

    def names(self) -> list[str]:
        return sorted(self._sessions)

    async def get(self, name: str) -> PlayedSession | None:
        return self._sessions.get(name)

    async def history(self, name: str) -> list[Event] | None:
        session = self._sessions.get(name)
        return None if session is None else await session.history()

    async def open(self, name: str) -> PlayedSession:
        if name not in self._sessions and len(self._sessions) >= self._limit:
            raise SessionLimit(f"{len(self._sessions)} sessions are open: {', '.join(self.names())}")
        return self._sessions.setdefault(name, PlayedSession(name, self))

    async def expect(self, name: str, terms: tuple[str, ...]) -> tuple[str, ...]:
        session = await self.open(name)
        if len(terms) > 3:
            raise ValueError("too much is expected")
        session.vocabulary = ("CTranslate2", *terms)
        session.append(Vocabulary(terms=session.vocabulary))
        return session.vocabulary

    def states(self, told: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
        if self.plant is None:
            return None
        self.plant |= told
        return self.plant

    def now_ms(self) -> int:
        return self.clock_ms

    def state(self) -> list[dict[str, object]]:
        return [{"name": session.name, "readers": session.readers} for session in self._sessions.values()]

    def ready(self) -> str | None:
        return self.trouble


class Client:
    """Ways into one server."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.url = serving.url.rstrip("/")

    def events(self, session: str = "room", query: str = "", **options: Any) -> connect:
        return self.socket(f"/v1/sessions/{session}/events{query}", **options)

    def audio(self, session: str = "room", query: str = "", **options: Any) -> connect:
        return self.socket(f"/v1/sessions/{session}/audio{query}", **options)

    def socket(self, path: str, **options: Any) -> connect:
        return connect(f"ws{self.url.removeprefix('http')}{path}", proxy=None, **options)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"{self.url}{path}", headers=headers)

    async def send(self, method: str, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.request(method, f"{self.url}{path}", headers=headers)

    async def put(self, path: str, terms: list[str], **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.put(f"{self.url}{path}", params={"term": terms}, headers=headers)


@asynccontextmanager
async def served(hub: PlayedHub, **settings: Any) -> AsyncIterator[Client]:
    """A server for `hub` on a free port; a test that hangs fails."""
    async with asyncio.timeout(GUARD_S), serve(Server(port=0, **settings), hub, Metrics()) as serving:
        yield Client(serving)


async def event(socket: ClientConnection) -> Event:
    return Event.parse(await socket.recv())


async def closed(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Code and reason with which the server closes; what it sends before is skipped."""
    async for _ in _until_closed(socket):
        pass
    return socket.close_code, socket.close_reason


async def remaining(socket: ClientConnection) -> list[Event]:
    """Everything up to the end of the connection."""
    return [Event.parse(message) async for message in _until_closed(socket)]


async def _until_closed(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    try:
        while True:
            yield await socket.recv()
    except ConnectionClosed:
        pass


def final(utterance: int, text: str = "And so.") -> Final:
    return Final(utterance=utterance, start_ms=0, end_ms=400, text=text, engine="scripted")


def partial(rev: int, text: str = "and so", utterance: int = 1) -> Partial:
    return Partial(utterance=utterance, rev=rev, start_ms=0, end_ms=400, text=text, committed=0)
