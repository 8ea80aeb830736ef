"""A microphone, lost and found again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from itertools import product
from typing import Any

from streamd.bridge import in_thread
from streamd.core.audio import SAMPLE_RATE
from streamd.errors import UnavailableError
from streamd.sources.base import Chunk, Missing, Notice
from streamd.sources.devices import Device, explained, list_devices, portaudio
from streamd.sources.inbox import Block, Inbox
from streamd.sources.timeline import Timeline

INBOX_S = 2
BLOCKS_PER_S = 50
LATENCY_S = 0.1  # what the sound system may buffer: low values lose sound on a busy machine
TICK_S = 0.25
LOST_TICKS = 4  # a device that delivers nothing for this long is lost; ticks, since a frozen process sees only one
START_TICKS = 12  # sound servers take up to 2 s to wake a device
CLOSE_S = 2.0  # a sound server that hangs must not delay the end
RETRIES_S = (0.25, 0.5, 1.0, 2.0, 4.0)  # pauses while a device is looked for; the last one repeats

_RETRY_CODES = (-9997, -9998)  # PortAudio: invalid sample rate, invalid number of channels
_OTHER_RATES = (48_000, 44_100, SAMPLE_RATE)

_log = logging.getLogger(__name__)
_streams: set[int] = set()  # ids of captures that are open: PortAudio can't be initialised again beneath them


class Microphone:
    """What `device` hears, at its native rate, resampled to 16 kHz.

    The callback of the sound card's thread only copies. Whoever takes too slowly loses the oldest sound beyond
    INBOX_S and is told so. A device that falls silent without a word (unplugged, suspended, sound server gone) is
    noticed by its missing blocks, and looked for by name and host API until it is back.

    `chunks` raises UnavailableError if the device can't be opened at the start.
    """

    live = True

    def __init__(self, device: Device) -> None:
        self.name = f"microphone: {device.name}"
        self._device = device

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        capture = Capture(self._device)
        try:
            await capture.open()
            while True:
                timeline = Timeline(capture.rate)
                while await capture.sounds():
                    for piece in timeline.advance(*capture.take()):
                        yield piece
                for rest in timeline.finish():
                    yield rest
                heard_s = capture.heard_s
                lost = f"the microphone {self._device.name} delivers nothing any more: unplugged or switched off?"
                _log.warning("%s It is being looked for.", lost)
                yield Notice("source_lost", lost)
                await capture.close()
                capture = Capture(self._device)
                await capture.find()
                found = f"the microphone {self._device.name} is back"
                _log.info("%s", found)
                yield Notice("source_found", found)
                yield Missing(_samples(capture.heard_s - heard_s), "source_lost")
        finally:
            await capture.close()


def _samples(elapsed_s: float) -> int:
    return max(0, round(elapsed_s * SAMPLE_RATE))


class Capture:
    """One stream of a device. Its blocking calls run in threads, one at a time; closing always wins."""

    def __init__(self, device: Device) -> None:
        self.rate = device.rate
        self.heard_s = time.monotonic()  # up to when sound has arrived
        self._device = device
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._inbox = Inbox(0)
        self._stream: Any = None
        self._fresh = True  # no block came so far
        self._ended = False  # PortAudio says that none will come any more
        self._closed = False

    async def open(self) -> None:
        """Start recording. Raises UnavailableError."""
        await in_thread(self._open, False)

    async def find(self) -> None:
        """Return once the device delivers again, however long that takes."""
        for pause_s in _retries():
            await asyncio.sleep(pause_s)
            try:
                await in_thread(self._open, True)
            except UnavailableError as error:
                _log.debug("%s", error)
            else:
                if await self.sounds():
                    break
            await in_thread(self._abort)
        first = self._inbox.first()
        assert first is not None
        self.heard_s = first.at_s - first.samples / self.rate

    async def sounds(self) -> bool:
        """True as soon as there is something to take, False if the device is lost."""
        for _ in range(START_TICKS if self._fresh else LOST_TICKS):
            self._arrived.clear()
            if self._inbox.first() is not None:
                self._fresh = False
                return True
            if self._ended:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._arrived.wait()
        return self._inbox.first() is not None

    def take(self) -> tuple[int, list[Block]]:
        """Samples dropped, and the blocks after them."""
        dropped, blocks = self._inbox.take()
        self.heard_s = blocks[-1].at_s
        return dropped, blocks

    async def close(self) -> None:
        """Release the device, or leave that to a thread if the sound server hangs."""
        self._closed = True
        with suppress(TimeoutError, UnavailableError):
            async with asyncio.timeout(CLOSE_S):
                await in_thread(self._abort)

    # in threads

    def _open(self, again: bool) -> None:
        with portaudio() as sd:
            if self._closed:
                return
            if again and not _streams:
                sd._terminate()  # PortAudio sees new devices only when it starts anew
                sd._initialize()
            device = _same(self._device, list_devices())
            self._ended, self._fresh = False, True
            with explained(device):
                self._start(sd, device)

    def _start(self, sd: Any, device: Device) -> None:
        """Open the device at its native rate in mono, or else in a way that it supports."""
        ways = list(product(dict.fromkeys((device.rate, *_OTHER_RATES)), dict.fromkeys((1, device.channels))))
        for rate, channels in ways:
            self._inbox = Inbox(INBOX_S * rate)
            try:
                self._stream = sd.RawInputStream(
                    samplerate=rate,
                    blocksize=rate // BLOCKS_PER_S,
                    device=device.index,
                    channels=channels,
                    dtype="int16",
                    latency=LATENCY_S,
                    callback=self._callback,
                    finished_callback=self._finished,
                )
                break
            except sd.PortAudioError as error:
                if error.args[-1] not in _RETRY_CODES or (rate, channels) == ways[-1]:
                    raise
        self.rate = rate
        _streams.add(id(self))
        self._stream.start()

    def _abort(self) -> None:
        with portaudio():
            stream, self._stream = self._stream, None
            if stream is not None:
                stream.abort(ignore_errors=True)  # stop() would wait for a suspended device
                stream.close(ignore_errors=True)
            _streams.discard(id(self))

    # in the sound card's thread: nothing may be raised, it would end the stream without a word

    def _callback(self, indata: Any, frames: int, _time: Any, _status: Any) -> None:
        at_s = time.monotonic()
        pcm = bytes(indata)
        if len(pcm) > 2 * frames:
            pcm = memoryview(pcm).cast("h")[:: len(pcm) // (2 * frames)].tobytes()  # the first channel
        self._inbox.put(Block(pcm, at_s))
        self._wake()

    def _finished(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._arrived.set)


def _retries() -> Iterator[float]:
    yield from RETRIES_S
    while True:
        yield RETRIES_S[-1]


def _same(device: Device, devices: list[Device]) -> Device:
    for candidate in devices:
        if candidate.identity == device.identity:
            return candidate
    raise UnavailableError(f"the microphone {device.name} is not there: plug it in, or choose one of `streamd devices`")
