"""A real PortAudio hears a real PulseAudio, which is unplugged, suspended and killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from streamd.core.audio import SAMPLE_RATE
from streamd.errors import UnavailableError
from streamd.settings import Source as SourceSettings
from streamd.sources import Microphone, Missing, Notice, find_device, list_devices, open_source
from streamd.sources.base import Chunk
from streamd.sources.microphone import INBOX_S
from tests.e2e.pulse import VirtualMicrophone, microphone

__all__ = ["microphone"]  # a fixture

pytestmark = pytest.mark.pulse

PATIENCE_S = 60.0


class Listener:
    """Takes a source's chunks and lays them on the timeline."""

    def __init__(self, chunks: AsyncIterator[Chunk]) -> None:
        self._chunks = chunks
        self.notices: list[str] = []
        self.missing: list[Missing] = []
        self.sound: list[tuple[int, NDArray[np.int16]]] = []  # position in samples, samples
        self.samples = 0

    async def take(self) -> Chunk:
        chunk = await anext(self._chunks)
        match chunk:
            case Notice():
                self.notices.append(chunk.state)
            case Missing():
                self.missing.append(chunk)
                self.samples += chunk.samples
            case sound:
                self.sound.append((self.samples, np.frombuffer(sound, "<i2")))
                self.samples += len(sound) // 2
        return chunk

    async def take_until(self, kind: type[Chunk], condition: Callable[[], bool] = lambda: True) -> Chunk:
        while not (isinstance(chunk := await self.take(), kind) and condition()):
            pass
        return chunk

    async def take_seconds(self, seconds: float) -> None:
        until = self.samples + round(seconds * SAMPLE_RATE)
        await self.take_until(bytes, lambda: self.samples >= until)

    def timeline(self, start: int, end: int) -> NDArray[np.float64]:
        """Samples [start, end), with zeros where something is missing."""
        whole = np.zeros(self.samples)
        for position, sound in self.sound:
            whole[position : position + len(sound)] = sound
        return whole[start:end]


@asynccontextmanager
async def listening(device: str = "") -> AsyncIterator[Listener]:
    source = Microphone(await asyncio.to_thread(find_device, device))
    async with asyncio.timeout(PATIENCE_S), aclosing(source.chunks()) as chunks:
        yield Listener(chunks)


def noise(seconds: float) -> NDArray[np.int16]:
    """Sound that is like itself at one place only."""
    raw = np.random.default_rng(7).normal(0, 6_000, round(seconds * SAMPLE_RATE))
    return np.convolve(raw, np.ones(4) / 4, "same").clip(-32_768, 32_767).astype(np.int16)


def find(part: NDArray[np.float64], whole: NDArray[np.float64]) -> tuple[int, float]:
    """Where in `whole` the part is, and how well it fits (1.0: exactly)."""
    size = len(whole) + len(part)
    product = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size)), size)[: len(whole) - len(part)]
    at = int(product.argmax())
    there = whole[at : at + len(part)]
    return at, float(product[at] / (np.linalg.norm(part) * np.linalg.norm(there) + 1e-9))


def hearing(microphone: VirtualMicrophone) -> list[str]:
    """The recorders that are somebody else's than the server's own."""
    return [line for line in microphone.recorders() if "protocol-native" in line]


async def test_what_is_said_is_heard(microphone: VirtualMicrophone) -> None:
    said = noise(2.0)
    async with listening() as ear:
        await ear.take_until(bytes)
        await asyncio.to_thread(microphone.play, said.tobytes(), SAMPLE_RATE)
        await ear.take_seconds(4.0)
    _, fit = find(said[SAMPLE_RATE // 2 : SAMPLE_RATE].astype(np.float64), ear.timeline(0, ear.samples))
    assert fit > 0.9
    assert (ear.notices, ear.missing) == ([], [])


@pytest.mark.parametrize("device", ["", "pulse", "DEFAULT", "alsa"])
async def test_the_device_is_chosen_by_its_name(microphone: VirtualMicrophone, device: str) -> None:
    names = [one.name for one in await asyncio.to_thread(list_devices)]
    assert {"pulse", "default"} <= set(names)
    source = await asyncio.to_thread(open_source, SourceSettings(kind="mic", device=device))
    assert source is not None
    assert source.live
    assert source.name == f"microphone: {device.lower() if device.lower() in names else 'default'}"
    with pytest.raises(UnavailableError, match=r"no microphone is called 'Yeti' .*pulse"):
        await asyncio.to_thread(open_source, SourceSettings(kind="mic", device="Yeti"))


async def lose_and_find(microphone: VirtualMicrophone, lose: Callable[[], None], find: Callable[[], None]) -> None:
    """What every loss looks like from outside; the timeline goes on as the clock does."""
    loop = asyncio.get_running_loop()
    async with listening() as ear:
        await ear.take_seconds(1.0)
        started_s, before = loop.time(), ear.samples
        await asyncio.to_thread(lose)
        lost = await ear.take_until(Notice)
        assert isinstance(lost, Notice)
        assert lost.state == "source_lost"
        assert "unplugged or switched off?" in lost.detail
        await asyncio.gather(asyncio.to_thread(find), ear.take_until(Notice))
        await ear.take_seconds(1.0)
        elapsed_s = loop.time() - started_s
        assert ear.notices == ["source_lost", "source_found"]
        assert [one.reason for one in ear.missing] == ["source_lost"]
        assert (ear.samples - before) / SAMPLE_RATE == pytest.approx(elapsed_s, abs=0.5)
        assert len(await asyncio.to_thread(hearing, microphone)) == 1  # the lost stream was given back
    assert await asyncio.to_thread(hearing, microphone) == []


async def test_unplugged_and_plugged_in_again(microphone: VirtualMicrophone) -> None:
    await lose_and_find(microphone, microphone.unplug, microphone.plug)


async def test_suspended_and_resumed(microphone: VirtualMicrophone) -> None:
    """PortAudio says nothing at all here: only the watchdog sees it."""
    await lose_and_find(microphone, microphone.suspend, microphone.resume)


async def test_sound_server_killed_and_started_again(microphone: VirtualMicrophone) -> None:
    await lose_and_find(microphone, microphone.crash, microphone.start)


async def test_who_takes_too_slowly_loses_the_oldest_and_is_told_exactly_how_much(
    microphone: VirtualMicrophone,
) -> None:
    said = noise(9.0)
    async with listening() as ear:
        await ear.take_until(bytes)
        await asyncio.to_thread(microphone.play, said.tobytes(), SAMPLE_RATE)
        await ear.take_seconds(2.5)
        before = ear.samples
        await asyncio.sleep(INBOX_S + 1.5)  # the slow consumer
        lost = await ear.take_until(Missing)
        after = ear.samples
        await ear.take_seconds(2.5)
    assert isinstance(lost, Missing)
    assert lost.reason == "overflow"
    assert lost.samples > SAMPLE_RATE // 2
    assert [one.reason for one in ear.missing] == ["overflow"]
    heard = said.astype(np.float64)
    early, early_fit = find(ear.timeline(before - SAMPLE_RATE, before - SAMPLE_RATE // 2), heard)
    late, late_fit = find(ear.timeline(after + SAMPLE_RATE, after + SAMPLE_RATE * 3 // 2), heard)
    assert min(early_fit, late_fit) > 0.9
    # What was said after the loss stands on the timeline where it was said.
    assert late - early == pytest.approx(after + 2 * SAMPLE_RATE - before, abs=SAMPLE_RATE // 100)


async def test_closing_releases_the_device(microphone: VirtualMicrophone) -> None:
    async with listening() as ear:
        await ear.take_until(bytes)
        assert len(await asyncio.to_thread(hearing, microphone)) == 1
    assert await asyncio.to_thread(hearing, microphone) == []


@pytest.mark.parametrize("lose", [None, VirtualMicrophone.suspend, VirtualMicrophone.crash])
async def test_a_cancelled_listener_releases_the_device(
    microphone: VirtualMicrophone, lose: Callable[[VirtualMicrophone], None] | None
) -> None:
    """Also one whose device is lost and being looked for."""
    hears = asyncio.Event()

    async def listen() -> None:
        async with listening() as ear:
            await ear.take_until(bytes if lose is None else Notice)
            hears.set()
            await ear.take_until(Notice, lambda: False)

    async with asyncio.timeout(PATIENCE_S):
        task = asyncio.create_task(listen())
        if lose is not None:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(lose, microphone)
        await hears.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    if lose is not VirtualMicrophone.crash:
        assert await asyncio.to_thread(hearing, microphone) == []


async def test_a_device_that_can_not_be_opened_is_an_error_at_once(
    microphone: VirtualMicrophone, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await asyncio.to_thread(find_device)
    monkeypatch.setenv("PULSE_SOURCE", "nobody")
    with pytest.raises(UnavailableError, match=r"the microphone default can't be opened \(.*\): does another program"):
        async with asyncio.timeout(PATIENCE_S):
            await anext(Microphone(device).chunks())
