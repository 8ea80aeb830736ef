"""Audio and video files at the pace of real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from itertools import islice
from pathlib import Path

from streamd.bridge import OneThread
from streamd.core.audio import FRAME_BYTES, FRAME_SAMPLES, SAMPLE_RATE
from streamd.sources.base import Chunk, Missing, Notice
from streamd.sources.decode import decode

AHEAD_PIECES = 8
BETWEEN_LOOPS_S = 2


class MediaFile:
    """The first audio track of a file, at the pace of real time, or with `fast` at that of whoever takes it.

    A piece is handed over when its last sample would have been recorded. Whoever is late gets what is due at once.
    A file that breaks off says so at its end. `loop` starts again after 2 s of silence. Decoding happens in a thread,
    AHEAD_PIECES of 40 ms at a time.
    `clock` (seconds) and `sleep` are those of the running event loop unless given.

    `chunks` raises UnavailableError for a file that can't be read or has no sound.
    """

    live = False

    def __init__(
        self,
        path: Path,
        fast: bool = False,
        loop: bool = False,
        *,
        name: str | None = None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name or f"file: {path.name}"
        self._path = path
        self._fast = fast
        self._loop = loop
        self._clock = clock
        self._sleep = sleep

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        clock = self._clock or asyncio.get_running_loop().time
        pieces = self._pieces()
        thread = OneThread("media")
        due_s = clock()
        try:
            while ahead := await thread.run(_next, pieces):
                for piece in ahead:
                    due_s += _duration_s(piece)
                    if not self._fast and (wait_s := due_s - clock()) > 0:
                        await self._sleep(wait_s)
                    yield piece
        finally:
            closing = asyncio.ensure_future(thread.run(pieces.close))  # after what the thread has begun
            await asyncio.sleep(0)  # lets it begin
            thread.close()
            await asyncio.shield(closing)

    def _pieces(self) -> Generator[Chunk, None, None]:
        yield from self._once()
        while self._loop:
            yield from [bytes(FRAME_BYTES)] * (BETWEEN_LOOPS_S * SAMPLE_RATE // FRAME_SAMPLES)
            yield from self._once()

    def _once(self) -> Generator[Chunk, None, None]:
        if broken_off := (yield from decode(self._path)):
            yield Notice("broken_off", f"{self._path.name} {broken_off}")


def _next(pieces: Generator[Chunk, None, None]) -> list[Chunk]:
    return list(islice(pieces, AHEAD_PIECES))


def _duration_s(piece: Chunk) -> float:
    match piece:
        case Notice():
            return 0.0
        case Missing(samples):
            return samples / SAMPLE_RATE
        case sound:
            return len(sound) / 2 / SAMPLE_RATE
