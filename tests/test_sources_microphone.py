"""What no software microphone does: odd hardware, other device numbers, a sound system that hangs.

The sound card is played by the test; `tests/e2e/test_microphone.py` has a real PortAudio.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from streamd.core.audio import SAMPLE_RATE
from streamd.errors import UnavailableError
from streamd.sources import microphone as module
from streamd.sources.base import Chunk, Missing, Notice
from streamd.sources.devices import Device
from streamd.sources.microphone import Capture, Microphone
from tests.needs import need_library
from tests.sound_files import similarity, tone

PATIENCE_S = 60.0
INVALID_RATE, INVALID_CHANNELS, UNAVAILABLE = -9_997, -9_998, -9_985


@dataclass
class Stream:
    """RawInputStream, as far as it is used."""

    card: Card
    samplerate: int
    blocksize: int
    device: int
    channels: int
    dtype: str
    latency: float
    callback: Callable[[Any, int, Any, Any], None]
    finished_callback: Callable[[], None]

    def __post_init__(self) -> None:
        self.card.opening()
        if (self.samplerate, self.channels) not in self.card.supports:
            channels = {channels for _, channels in self.card.supports}
            raise self.card.PortAudioError("refused", INVALID_RATE if self.channels in channels else INVALID_CHANNELS)
        self.card.open.append(self)

    def start(self) -> None:
        self.card.started(self)

    def abort(self, ignore_errors: bool) -> None:
        assert ignore_errors
        self.finished_callback()

    def close(self, ignore_errors: bool) -> None:
        assert ignore_errors
        self.card.open.remove(self)


@dataclass
class Card:
    """Stands in for the sounddevice module."""

    devices: list[Device]
    supports: set[tuple[int, int]]
    PortAudioError: type[Exception]
    open: list[Stream] = field(default_factory=list)
    initialised: int = 1
    restarts: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    opening: Callable[[], None] = lambda: None
    started: Callable[[Stream], None] = lambda _: None

    def RawInputStream(self, **options: Any) -> Stream:  # noqa: N802 - sounddevice's name
        return Stream(self, **options)

    def _terminate(self) -> None:
        assert self.open == []
        self.initialised -= 1

    def _initialize(self) -> None:
        self.initialised += 1
        self.restarts.release()

    async def restarted(self, times: int) -> None:
        for _ in range(times):
            await asyncio.to_thread(self.restarts.acquire)


DEVICE = Device(3, "USB Audio: - (hw:1,0)", "ALSA", 96_000, 2, default=False)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    need_library("portaudio")  # its errors are real
    import sounddevice

    card = Card([DEVICE], {(96_000, 1)}, sounddevice.PortAudioError)
    lock = threading.RLock()

    @contextmanager
    def portaudio() -> Iterator[Card]:
        with lock:
            yield card

    monkeypatch.setattr(module, "portaudio", portaudio)
    monkeypatch.setattr(module, "list_devices", lambda: card.devices)
    monkeypatch.setattr(module, "RETRIES_S", (0.0,))
    yield card
    assert card.open == []
    assert card.initialised == 1
    assert module._streams == set()


@asynccontextmanager
async def listening() -> AsyncIterator[AsyncIterator[Chunk]]:
    async with asyncio.timeout(PATIENCE_S), aclosing(Microphone(DEVICE).chunks()) as chunks:
        yield chunks


def say(stream: Stream, seconds: float = 1.0) -> None:
    """A tone on the first channel, something else on the others, as the sound card's thread delivers it."""
    sound = tone(seconds, stream.samplerate)
    channels = np.stack([sound, *[sound[::-1] // 2] * (stream.channels - 1)], axis=1)
    for start in range(0, len(sound), stream.blocksize):
        block = channels[start : start + stream.blocksize]
        stream.callback(memoryview(block.tobytes()), len(block), None, None)


def speak(stream: Stream) -> None:
    threading.Thread(target=say, args=(stream,)).start()


@pytest.mark.parametrize("way", [(96_000, 1), (96_000, 2), (48_000, 1), (16_000, 2)])
async def test_a_device_is_opened_in_a_way_that_it_supports(card: Card, way: tuple[int, int]) -> None:
    card.supports = {way}
    card.started = speak
    heard = b""
    async with listening() as chunks:
        while len(heard) < 2 * SAMPLE_RATE * 8 // 10:
            chunk = await anext(chunks)
            assert isinstance(chunk, bytes)
            heard += chunk
        assert [(stream.samplerate, stream.channels, stream.dtype) for stream in card.open] == [(*way, "int16")]
    assert similarity(heard, tone(len(heard) / 2 / SAMPLE_RATE, SAMPLE_RATE)) > 0.95


async def test_a_device_that_supports_nothing_is_an_error(card: Card) -> None:
    card.supports = set()
    with pytest.raises(UnavailableError, match=r"USB Audio: - \(hw:1,0\) can't be opened \(refused"):
        async with listening() as chunks:
            await anext(chunks)


async def test_a_device_that_is_in_use_is_an_error(card: Card) -> None:
    def busy() -> None:
        raise card.PortAudioError("Device unavailable", UNAVAILABLE)

    card.opening = busy
    with pytest.raises(UnavailableError, match="does another program use it"):
        async with listening() as chunks:
            await anext(chunks)


async def test_a_device_that_has_gone_since_it_was_chosen_is_an_error(card: Card) -> None:
    card.devices = []
    with pytest.raises(UnavailableError, match="is not there: plug it in"):
        async with listening() as chunks:
            await anext(chunks)


async def test_a_device_is_found_again_under_another_number(card: Card) -> None:
    """Its place was taken meanwhile, and it was silent at first."""
    other = Device(3, "HDA Intel: (hw:1,0)", "ALSA", 48_000, 2, default=True)
    card.started = speak
    async with listening() as chunks:
        while not isinstance(await anext(chunks), Notice):
            if card.open:
                card.devices = [other]
                card.open[0].finished_callback()
        pieces = asyncio.ensure_future(anext(chunks))
        await card.restarted(3)  # it is looked for again and again
        card.devices = [other, Device(7, "USB Audio: - (hw:2,0)", "ALSA", 96_000, 2, default=False)]
        found = await pieces
        assert isinstance(found, Notice)
        assert (found.state, found.detail) == ("source_found", "the microphone USB Audio: - (hw:1,0) is back")
        gap = await anext(chunks)
        assert isinstance(gap, Missing)
        assert gap.reason == "source_lost"
        assert isinstance(await anext(chunks), bytes)
        assert [stream.device for stream in card.open] == [7]


async def test_a_device_that_never_delivers_is_lost(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.001)
    async with listening() as chunks:
        assert isinstance(await anext(chunks), Notice)
        silent = asyncio.ensure_future(anext(chunks))
        await card.restarted(3)
        card.started = speak
        found = await silent
        assert isinstance(found, Notice)
        assert found.state == "source_found"


async def test_a_sound_system_that_hangs_holds_up_nobody(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.01)
    hanging, answers = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        answers.wait(PATIENCE_S)

    card.opening = hang
    chunks = Microphone(DEVICE).chunks()
    task = asyncio.ensure_future(anext(chunks))
    await asyncio.to_thread(hanging.wait, PATIENCE_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answers.set()  # at long last
    for thread in threading.enumerate():
        if thread.name == "in_thread":
            await asyncio.to_thread(thread.join)
    assert card.open == []


async def test_a_device_that_was_closed_before_it_was_opened_stays_closed(card: Card) -> None:
    capture = Capture(DEVICE)
    await capture.close()
    await capture.open()
    assert card.open == []


def test_a_block_after_the_end_of_the_loop_raises_nothing(card: Card) -> None:
    """In the sound card's thread it would be lost, and the stream with it."""

    async def opened() -> Capture:
        capture = Capture(DEVICE)
        await capture.open()
        return capture

    capture = asyncio.run(opened())
    say(card.open[0], 0.1)
    asyncio.run(capture.close())


async def test_looking_for_one_microphone_leaves_another_alone(card: Card) -> None:
    """PortAudio is not started anew while another stream is open."""
    card.started = speak
    async with listening() as here, listening() as there:
        assert isinstance(await anext(here), bytes)
        assert isinstance(await anext(there), bytes)
        card.open[0].finished_callback()
        while not isinstance(await anext(here), Missing):
            pass
        assert not card.restarts.acquire(blocking=False)
        assert len(card.open) == 2
