"""Parts of the pipe for tests: a source that plays what it is told, an engine that answers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Self

import numpy as np

from streamd.bridge import EngineFailed
from streamd.core.events import Final, Gap
from streamd.core.log import Log
from streamd.engines.base import Context, Engine, Hypothesis
from streamd.sources import Chunk
from tests.speech import recording

SECOND = bytes(32_000)


def speech(name: str = "jfk", chunk_bytes: int = 3_200) -> list[Chunk]:
    """A recording in chunks of 100 ms."""
    pcm = recording(name).pcm.tobytes()
    return [pcm[at : at + chunk_bytes] for at in range(0, len(pcm), chunk_bytes)]


class Played:
    """A source that delivers `items` as quick as they are taken; then it ends, waits for ever, or raises `error`."""

    live = False

    def __init__(
        self, items: Sequence[Chunk], *, endless: bool = False, error: Exception | None = None, name: str = "played"
    ) -> None:
        self.name = name
        self.delivered = asyncio.Event()
        self.closed = False
        self._items = items
        self._endless = endless
        self._error = error

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        try:
            for item in self._items:
                yield item
                await asyncio.sleep(0)
            self.delivered.set()
            if self._endless:
                await asyncio.Event().wait()
            if self._error:
                raise self._error
        finally:
            self.closed = True


class Inline:
    """The recogniser of every session, without a process."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self.state = "ready"
        self.note: str | None = None
        self.contexts: list[Context] = []
        self.forgotten: list[str] = []
        self.failing = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._engine = engine
        self._heard: dict[str, int] = {}

    async def advance(self, utterance_id: str, pcm: bytes, last: bool, context: Context) -> Hypothesis:
        await asyncio.sleep(0)
        await self.may_answer.wait()
        if self.failing:
            raise EngineFailed("the engine is out of order")
        heard = self._heard.get(utterance_id)
        self.contexts.append(context)
        new = np.frombuffer(pcm[2 * (heard or 0) :], np.int16)
        self._heard[utterance_id] = len(pcm) // 2
        return self._engine.advance(utterance_id, new, last, context, first=heard is None)

    def session(self, name: str) -> Self:
        return self

    async def forget(self, utterance_id: str) -> None:
        self.forgotten.append(utterance_id)


def finals(log: Log) -> list[Final]:
    return [event.body for event in log.since(0) if isinstance(event.body, Final)]


def gaps(log: Log) -> list[Gap]:
    return [event.body for event in log.since(0) if isinstance(event.body, Gap)]


async def until(condition: Callable[[], bool]) -> None:
    """Let others work until it holds. The caller guards the time."""
    while not condition():  # noqa: ASYNC110 - what is watched belongs to no event
        await asyncio.sleep(0)
