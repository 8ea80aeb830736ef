"""Sound on the session's timeline: frames, gaps, and the cutting of bytes into frames.

The clock of the whole program is the frame index: frame n covers samples [640 n, 640 (n + 1)) at 16 kHz mono s16le.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
FRAME_MS = 40
FRAME_SAMPLES = 640
FRAME_BYTES = 1_280
SAMPLES_PER_MS = 16

Pcm = NDArray[np.int16]
"""Samples at 16 kHz, mono, shape (n,)."""


def samples_to_ms(samples: int) -> int:
    """Position in milliseconds, rounded down."""
    return samples // SAMPLES_PER_MS


@dataclass(frozen=True, slots=True)
class Frame:
    """40 ms of sound. `index` counts from the start of the session's timeline."""

    index: int
    pcm: bytes  # FRAME_BYTES of s16le

    @property
    def start_ms(self) -> int:
        return self.index * FRAME_MS

    @property
    def end_ms(self) -> int:
        return (self.index + 1) * FRAME_MS


@dataclass(frozen=True, slots=True)
class Lost:
    """Samples [start, end) of the timeline that never arrived, and why (`overflow`, `source_lost`, …)."""

    start_sample: int
    end_sample: int
    reason: str


class Framer:
    """Cuts s16le bytes of any length into frames and keeps the timeline exact across losses.

    A loss in the middle of a frame leaves zeros in the missing part of that frame; frames that are missing
    whole are skipped, so that the next frame's index tells the true time. Feeding the same bytes in
    other chunks gives the same frames.
    """

    def __init__(self, first_index: int = 0) -> None:
        self._index = first_index
        self._carry = bytearray()

    @property
    def position_samples(self) -> int:
        """Samples of the timeline seen so far, lost ones included."""
        return self._index * FRAME_SAMPLES + len(self._carry) // 2

    def feed(self, chunk: bytes | bytearray | memoryview) -> Iterator[Frame]:
        """Frames completed by `chunk`. An odd last byte waits for its other half."""
        self._carry += chunk
        whole = len(self._carry) // FRAME_BYTES
        for number in range(whole):
            yield Frame(self._index + number, bytes(self._carry[number * FRAME_BYTES : (number + 1) * FRAME_BYTES]))
        self._index += whole
        del self._carry[: whole * FRAME_BYTES]

    def lose(self, samples: int, reason: str) -> Iterator[Frame | Lost]:
        """The next `samples` samples never came. Yields the frame that the loss cuts short, then the loss."""
        if samples <= 0:
            return
        del self._carry[len(self._carry) // 2 * 2 :]  # half a sample: its other half is lost
        start = self.position_samples
        end = start + samples
        if end < (self._index + 1) * FRAME_SAMPLES:
            self._carry += bytes(2 * samples)
        else:
            yield from self.flush()
            self._index = end // FRAME_SAMPLES
            self._carry += bytes(2 * (end % FRAME_SAMPLES))
        yield Lost(start, end, reason)

    def flush(self) -> Iterator[Frame]:
        """The open frame, filled up with zeros (end of stream)."""
        if self._carry:
            frame = Frame(self._index, bytes(self._carry).ljust(FRAME_BYTES, b"\0")[:FRAME_BYTES])
            self._index += 1
            self._carry.clear()
            yield frame
