"""Files at the pace of real time, in a loop, and closed at any moment."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from streamd.core.audio import FRAME_BYTES, SAMPLE_RATE
from streamd.errors import UnavailableError
from streamd.sources.base import Chunk, Missing, Notice
from streamd.sources.media import AHEAD_PIECES, MediaFile
from tests.sound_files import cut_off, tone, write_media

PATIENCE_S = 60.0


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds
        await asyncio.sleep(0)


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """One second in 25 pieces."""
    return write_media(tmp_path / "talk.wav", "pcm_s16le", tone(1.0, SAMPLE_RATE), SAMPLE_RATE)


def expected() -> bytes:
    return tone(1.0, SAMPLE_RATE).tobytes()


def media_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("media")]


async def threads_gone() -> None:
    async with asyncio.timeout(PATIENCE_S):
        while threads := media_threads():
            await asyncio.to_thread(threads[0].join)


def is_open(path: Path) -> bool:
    return any(os.path.realpath(link) == str(path) for link in Path("/proc/self/fd").iterdir())


async def everything(source: MediaFile) -> list[Chunk]:
    async with asyncio.timeout(PATIENCE_S), aclosing(source.chunks()) as chunks:
        return [chunk async for chunk in chunks]


def joined(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk for chunk in chunks if isinstance(chunk, bytes))


async def test_all_of_a_file_is_delivered(talk: Path) -> None:
    source = MediaFile(talk, fast=True)
    assert (source.name, source.live) == ("file: talk.wav", False)
    assert joined(await everything(source)) == expected()
    assert joined(await everything(source)) == expected()  # a source can be iterated again
    await threads_gone()
    assert not is_open(talk)


async def test_pieces_come_when_they_would_have_been_recorded(talk: Path) -> None:
    clock = Clock()
    source = MediaFile(talk, clock=clock, sleep=clock.sleep)
    async with aclosing(source.chunks()) as chunks:
        times_s = [clock.now_s async for _ in chunks]
    assert times_s == pytest.approx([100 + 0.04 * number for number in range(1, 26)])


async def test_a_late_consumer_catches_up_and_no_more(talk: Path) -> None:
    clock = Clock()
    times_s = []
    async with aclosing(MediaFile(talk, clock=clock, sleep=clock.sleep).chunks()) as chunks:
        async for _ in chunks:
            times_s.append(clock.now_s)
            if len(times_s) == 5:
                clock.now_s += 0.4
    late_s = 100 + 5 * 0.04 + 0.4
    assert times_s[5:15] == pytest.approx([late_s] * 10)
    assert times_s[15:] == pytest.approx([100 + 0.04 * number for number in range(16, 26)])


async def test_fast_never_sleeps(talk: Path) -> None:
    async def sleep(seconds: float) -> None:
        raise AssertionError(f"slept {seconds} s")

    assert joined(await everything(MediaFile(talk, fast=True, clock=Clock(), sleep=sleep))) == expected()


async def test_real_time_is_the_default(talk: Path) -> None:
    """By the event loop's own clock nothing comes before its time."""
    loop = asyncio.get_running_loop()
    started_s, samples = loop.time(), 0
    async with asyncio.timeout(PATIENCE_S), aclosing(MediaFile(talk).chunks()) as chunks:
        async for chunk in chunks:
            assert isinstance(chunk, bytes)
            samples += len(chunk) // 2
            assert loop.time() - started_s >= samples / SAMPLE_RATE - 0.002  # a loop's timer may be 1 ms early
    assert samples == SAMPLE_RATE


async def test_a_loop_starts_again_after_two_seconds_of_silence(talk: Path) -> None:
    clock, heard = Clock(), b""
    source = MediaFile(talk, loop=True, name="demo recording", clock=clock, sleep=clock.sleep)
    assert source.name == "demo recording"
    async with asyncio.timeout(PATIENCE_S), aclosing(source.chunks()) as chunks:
        async for chunk in chunks:
            assert isinstance(chunk, bytes)
            heard += chunk
            if len(heard) >= 2 * 5 * SAMPLE_RATE:
                break
    assert heard[: 2 * 4 * SAMPLE_RATE] == expected() + bytes(2 * 2 * SAMPLE_RATE) + expected()
    assert clock.now_s == pytest.approx(100 + len(heard) / 2 / SAMPLE_RATE)
    await threads_gone()
    assert not is_open(talk)


async def test_what_is_missing_takes_its_time_too(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [bytes(FRAME_BYTES), Missing(SAMPLE_RATE, "damaged"), bytes(FRAME_BYTES)]
    monkeypatch.setattr("streamd.sources.media.decode", lambda _: (piece for piece in pieces))
    clock = Clock()
    async with aclosing(MediaFile(talk, clock=clock, sleep=clock.sleep).chunks()) as chunks:
        came = [(chunk, clock.now_s) async for chunk in chunks]
    assert [chunk for chunk, _ in came] == pieces
    assert [now_s for _, now_s in came] == pytest.approx([100.04, 101.04, 101.08])


async def test_decoding_stays_a_few_pieces_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0

    def endless(_: Path) -> object:
        nonlocal decoded
        while True:
            decoded += 1
            yield bytes(FRAME_BYTES)

    monkeypatch.setattr("streamd.sources.media.decode", endless)
    async with aclosing(MediaFile(tmp_path, fast=True).chunks()) as chunks:
        for taken in range(1, 100):
            await anext(chunks)
            assert decoded < taken + AHEAD_PIECES


async def test_closing_releases_the_file_at_once(talk: Path) -> None:
    chunks = MediaFile(talk).chunks()
    await anext(chunks)
    assert is_open(talk)
    await chunks.aclose()
    assert not is_open(talk)
    await threads_gone()


async def test_a_cancelled_reader_releases_the_file_at_once(talk: Path) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(MediaFile(talk).chunks()) as chunks:
            async for _ in chunks:
                begun.set()

    async with asyncio.timeout(PATIENCE_S):
        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not is_open(talk)
    await threads_gone()


async def test_a_file_that_breaks_off_says_so_at_its_end(tmp_path: Path) -> None:
    path = cut_off(write_media(tmp_path / "half.wav", "pcm_s16le", tone(6.0, SAMPLE_RATE), SAMPLE_RATE))
    *sound, notice = await everything(MediaFile(path, fast=True))
    assert len(joined(sound)) / 2 / SAMPLE_RATE == pytest.approx(3.0, abs=0.1)
    assert notice == Notice("broken_off", "half.wav breaks off after 3.0 s of 6.0 s")


async def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"gone\.wav does not exist"):
        await everything(MediaFile(tmp_path / "gone.wav"))
    await threads_gone()
