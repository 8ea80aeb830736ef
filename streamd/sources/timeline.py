"""A device's blocks on the 16 kHz timeline, with everything that is missing between them. Pure: no device, no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from streamd.core.audio import SAMPLE_RATE
from streamd.sources.base import Missing
from streamd.sources.convert import HIGHEST_DEVICE_RATE, PcmConverter
from streamd.sources.inbox import Block

WINDOW_S = 2.0
TOLERANCE_S = 0.1


class DeficitWatch:
    """Finds sound that a device lost in silence, by counting its samples against the clock.

    A block that is late proves nothing, as those behind it may follow at once. So the deficit of a window is that of
    its most punctual block. A deficit that jumps from one window to the next is lost sound; one that creeps is the
    difference between two quartzes and is followed.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._usual_s: float | None = None
        self._least_s = math.inf
        self._ends_s: float | None = None

    def lost_samples(self, samples: int, at_s: float) -> int:
        """Samples to be written off, after `samples` of the stream (written-off ones included) until `at_s`."""
        if self._ends_s is None:
            self._ends_s = at_s + WINDOW_S
        self._least_s = min(self._least_s, at_s - samples / self._rate)
        if at_s < self._ends_s:
            return 0
        deficit_s, self._least_s, self._ends_s = self._least_s, math.inf, at_s + WINDOW_S
        jump_s = 0.0 if self._usual_s is None else deficit_s - self._usual_s
        if jump_s > TOLERANCE_S:
            return round(jump_s * self._rate)
        self._usual_s = deficit_s
        return 0


class Timeline:
    """Converts one device stream so that 16 kHz samples delivered and missing add up to the samples counted."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._converter = PcmConverter(rate, highest_rate=HIGHEST_DEVICE_RATE)
        self._watch = DeficitWatch(rate)
        self._counted = 0  # samples at `rate`
        self._told = 0  # samples at 16 kHz

    def advance(self, dropped_samples: int, blocks: Iterable[Block]) -> Iterator[bytes | Missing]:
        """What follows, after the loss of `dropped_samples` (at the device's rate)."""
        yield from self._lose(dropped_samples)
        for block in blocks:
            self._counted += block.samples
            yield from self._tell(self._converter.feed(block.pcm))
            yield from self._lose(self._watch.lost_samples(self._counted, block.at_s))

    def finish(self) -> Iterator[bytes]:
        """What was held back when the stream broke off."""
        yield from self._tell(self._converter.flush())

    def _lose(self, samples: int) -> Iterator[bytes | Missing]:
        if not samples:
            return
        yield from self._tell(self._converter.flush())
        self._counted += samples
        missing = round(self._counted * SAMPLE_RATE / self._rate) - self._told
        if missing > 0:
            self._told += missing
            yield Missing(missing, "overflow")

    def _tell(self, pcm: bytes) -> Iterator[bytes]:
        if pcm:
            self._told += len(pcm) // 2
            yield pcm
