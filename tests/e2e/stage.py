"""The real server with one session, `room`, in which the test itself says what readers hear."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from streamd.core.events import Body, Event, Final, Gap, Partial, Revised, State, Status
from streamd.core.log import Log
from streamd.metrics import Metrics
from streamd.server import serve
from streamd.settings import Server
from tests.served import PlayedHub, PlayedSession


class Stage:
    """Use as an async context manager. `url` stays the same when the server is restarted."""

    url: str

    def __init__(self, **server: Any) -> None:
        self.hub = PlayedHub("room")
        self._settings = server
        self._server = AsyncExitStack()
        self._end_ms = 0

    async def __aenter__(self) -> Self:
        await self._serve(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.aclose()

    async def _serve(self, port: int) -> None:
        serving = await self._server.enter_async_context(
            serve(Server(port=port, **self._settings), self.hub, Metrics())
        )
        self.url, self._port = serving.url, serving.port

    async def restart(self, *, epoch: str | None = None) -> None:
        """End every connection and take new ones, with an empty log if it is another epoch."""
        await self._server.aclose()
        if epoch:
            self.room.log = Log("room", epoch)
        await self._serve(self._port)

    @property
    def room(self) -> PlayedSession:
        return self.hub["room"]

    def put(self, body: Body) -> Event:
        return self.room.append(body)

    def status(self, state: State = "listening", *, lag_ms: int = 0, source: str | None = "USB microphone") -> int:
        return self.put(Status(state=state, lag_ms=lag_ms, source=source)).seq

    def begin(self) -> int:
        """A new utterance's id."""
        return self.status("speech")

    def partial(self, utterance: int, stable: str, tentative: str = "") -> None:
        rev, committed, start_ms = self.room.log.next_seq, len(stable), self._end_ms
        text = stable + tentative
        self.put(
            Partial(utterance=utterance, rev=rev, start_ms=start_ms, end_ms=start_ms, text=text, committed=committed)
        )

    def final(self, utterance: int, text: str) -> None:
        start_ms, self._end_ms = self._end_ms, self._end_ms + 1_000
        self.put(Final(utterance=utterance, start_ms=start_ms, end_ms=self._end_ms, text=text, engine="scripted"))

    def revise(self, utterance: int, text: str) -> None:
        times = {"start_ms": 0, "end_ms": self._end_ms}
        self.put(Revised(utterance=utterance, text=text, changes=(), engine="second", **times))

    def say(self, *texts: str) -> None:
        for text in texts:
            self.final(self.begin(), text)
        self.status()

    def gap(self, length_ms: int) -> None:
        start_ms, self._end_ms = self._end_ms, self._end_ms + length_ms
        self.put(Gap(start_ms=start_ms, end_ms=self._end_ms, reason="overflow"))
