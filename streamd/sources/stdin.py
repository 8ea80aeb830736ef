"""Raw sound on standard input."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator

from streamd.bridge import in_thread
from streamd.errors import UnavailableError
from streamd.sources.base import Chunk
from streamd.sources.convert import HIGHEST_DEVICE_RATE, Format, PcmConverter

READ_BYTES = 8_192


class StdinSource:
    """Mono PCM from a pipe or a redirected file, until its end. `fd` is read, but not closed."""

    name = "standard input"
    live = False

    def __init__(self, rate: int, format: Format = "s16le", *, fd: int = 0) -> None:  # noqa: A002 - the wire's word
        self._converter = PcmConverter(rate, format, highest_rate=HIGHEST_DEVICE_RATE)
        self._fd = fd

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Raises UnavailableError if standard input is closed or can't be read."""
        try:
            while data := await self._read():
                if pcm := self._converter.feed(data):
                    yield pcm
        except OSError as error:
            raise UnavailableError(f"standard input can't be read ({error.strerror}): pipe sound into it") from error
        if rest := self._converter.flush():
            yield rest

    async def _read(self) -> bytes:
        """What there is; no bytes at the end. The thread never waits, so nothing holds up a cancelled reader."""
        await _readable(self._fd)
        return await in_thread(os.read, self._fd, READ_BYTES)


async def _readable(fd: int) -> None:
    """Return once reading does not block. The pipe is not made non-blocking: it is shared with other processes."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except PermissionError:  # epoll refuses files, which are always readable
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
