"""Raw sound on standard input: real pipes, real files."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing, suppress
from pathlib import Path

import pytest

from streamd.core.audio import SAMPLE_RATE
from streamd.errors import UnavailableError
from streamd.sources.base import Chunk
from streamd.sources.stdin import StdinSource
from tests.sound_files import similarity, tone

PATIENCE_S = 60.0
PYTHON = f'"{sys.executable}" -c "$1"'


@asynccontextmanager
async def pipe() -> AsyncIterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        for fd in (reading, writing):
            with suppress(OSError):
                os.close(fd)


async def everything(source: StdinSource) -> bytes:
    async with asyncio.timeout(PATIENCE_S), aclosing(source.chunks()) as chunks:
        return b"".join([chunk async for chunk in chunks if isinstance(chunk, bytes)])


async def test_a_pipe_is_read_as_it_fills() -> None:
    async with asyncio.timeout(PATIENCE_S), pipe() as (reading, writing):
        source = StdinSource(SAMPLE_RATE, fd=reading)
        assert (source.name, source.live) == ("standard input", False)
        async with aclosing(source.chunks()) as chunks:
            for said, heard in ((b"abc", b"ab"), (b"def", b"cdef"), (b"gh", b"gh")):
                waiting = asyncio.ensure_future(anext(chunks))
                await asyncio.sleep(0)
                assert not waiting.done()
                os.write(writing, said)
                assert await waiting == heard
            os.close(writing)
            with pytest.raises(StopAsyncIteration):
                await anext(chunks)
        assert os.get_blocking(reading)  # shared with others: left as it was


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
async def test_other_rates_are_converted_to_the_last_sample(rate: int) -> None:
    async with pipe() as (reading, writing):
        task = asyncio.ensure_future(everything(StdinSource(rate, fd=reading)))
        await asyncio.to_thread(os.write, writing, b"")
        await asyncio.to_thread(_write_all, writing, tone(1.0, rate).tobytes() + b"\1")
        heard = await task
    assert len(heard) // 2 == SAMPLE_RATE
    assert similarity(heard, tone(1.0, SAMPLE_RATE)) > 0.99


def _write_all(fd: int, data: bytes) -> None:
    with open(fd, "wb") as file:
        file.write(data)


async def test_a_redirected_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "talk.raw"
    path.write_bytes(tone(10.0, SAMPLE_RATE).tobytes())
    with path.open("rb") as file:
        assert await everything(StdinSource(SAMPLE_RATE, fd=file.fileno())) == path.read_bytes()


async def test_nothing_is_the_end() -> None:
    with closing(open(os.devnull, "rb")) as file:  # noqa: PTH123, ASYNC230 - a device
        assert await everything(StdinSource(SAMPLE_RATE, fd=file.fileno())) == b""


async def test_closed_standard_input_is_explained() -> None:
    async with pipe() as (reading, _):
        os.close(reading)
        with pytest.raises(UnavailableError, match=r"standard input can't be read \(Bad file descriptor\)"):
            await everything(StdinSource(SAMPLE_RATE, fd=reading))


async def test_what_can_only_be_written_is_explained(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    try:
        with pytest.raises(UnavailableError, match="standard input can't be read"):
            await everything(StdinSource(SAMPLE_RATE, fd=fd))
    finally:
        os.close(fd)


async def test_a_cancelled_reader_leaves_neither_thread_nor_bytes_behind() -> None:
    async with asyncio.timeout(PATIENCE_S), pipe() as (reading, writing):
        chunks = StdinSource(SAMPLE_RATE, fd=reading).chunks()
        os.write(writing, b"ab")
        assert await anext(chunks) == b"ab"
        waiting = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for thread in threading.enumerate():
            if thread.name == "in_thread":  # that of the first read
                await asyncio.to_thread(thread.join)
        os.write(writing, b"cd")
        assert await everything_now(StdinSource(SAMPLE_RATE, fd=reading)) == b"cd"


async def everything_now(source: StdinSource) -> Chunk:
    async with aclosing(source.chunks()) as chunks:
        return await anext(chunks)


@pytest.mark.parametrize("loop", ["asyncio.Runner()", "asyncio.Runner(loop_factory=uvloop.new_event_loop)"])
@pytest.mark.parametrize("kind", ["pipe", "file", "nothing"])
def test_standard_input_of_a_process(tmp_path: Path, loop: str, kind: str) -> None:
    """On both event loops: they poll differently."""
    script = (
        "import asyncio, uvloop\n"
        "from contextlib import aclosing\n"
        "from streamd.sources import StdinSource\n"
        "async def main():\n"
        "    async with aclosing(StdinSource(16_000).chunks()) as chunks:\n"
        "        return sum([len(chunk) async for chunk in chunks])\n"
        f"with {loop} as runner:\n"
        "    print(runner.run(main()))\n"
    )
    sound = b"" if kind == "nothing" else tone(20.0, SAMPLE_RATE).tobytes()
    path = tmp_path / "talk.raw"
    path.write_bytes(sound)
    command = {"pipe": f"cat {path} | {PYTHON}", "file": f"{PYTHON} < {path}", "nothing": f"{PYTHON} < /dev/null"}[kind]
    done = subprocess.run(
        ["sh", "-c", command, "sh", script], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stderr == ""
    assert int(done.stdout) == len(sound)
