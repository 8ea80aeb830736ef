"""The sound of one utterance on its way into the language model: log-mel, soft tokens, keys and values.

Sound that was read stays read, but for the last window of a sound that ends with a frame: the reference leaves it out
(transformers, models/gemma4/feature_extraction_gemma4.py), so the last call is then made again without it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streamd.core.audio import FRAME_SAMPLES, Pcm
from streamd.engines.gemma.decoder import Cache, Decoder
from streamd.engines.gemma.encoder import BANDS, LONGEST_FRAMES, ROWS, Encoder
from streamd.engines.gemma.features import LogMel
from streamd.engines.gemma.graphs import Array

HOP_SAMPLES = 160
Lap = Callable[[str], None]
"""Told of each stage when it is done."""


class Hearing:
    """`cache` is the past of the language model, sound included; nothing in it is ever changed."""

    def __init__(self, encoder: Encoder, decoder: Decoder, prompt: Cache) -> None:
        self._encoder, self._decoder = encoder, decoder
        self._mel = LogMel()
        self.samples = 0  # that came in
        self._waiting: Array = np.zeros((0, BANDS), np.float32)  # rows of whole frames
        self._loudness: list[float] = []
        self._soft: list[Array] = []  # a call's each
        self._state = encoder.start()
        self.cache = prompt
        self._before_last = (self._state, prompt, self._waiting)  # the last call: from where, and with which rows
        self.frames = 0  # that were read

    @property
    def seconds(self) -> float:
        """Sound that came in."""
        return self.samples / (FRAME_SAMPLES * 25)

    @property
    def soft(self) -> Array:
        """Soft tokens of the frames that were read (n, width)."""
        return np.concatenate(self._soft) if self._soft else np.zeros((0, 0), np.float32)

    @property
    def loudness(self) -> NDArray[np.float32]:
        """Mean log-mel of each frame that was read (n,)."""
        return self.all_loudness[: self.frames]

    @property
    def all_loudness(self) -> NDArray[np.float32]:
        """The same of each whole frame that came in, read or not."""
        return np.array(self._loudness, np.float32)

    def feed(self, pcm: Pcm) -> None:
        """Take sound in; nothing is computed yet but its features."""
        self.samples += len(pcm)
        self._take(self._mel.feed(pcm))

    def catch_up(self, at_least: int, lap: Lap, end: int | None = None) -> None:
        """Read what waits, in whole multiples of `at_least` frames; less than that goes on waiting.

        No more than `end` frames of the whole sound are read, if that is given.
        """
        while (ready := self._waiting_frames(end) // at_least * at_least) > 0:
            frames = min(ready, max(at_least, LONGEST_FRAMES // at_least * at_least))
            rows, self._waiting = np.split(self._waiting, [frames * ROWS])
            self._read(rows, np.ones(len(rows), np.bool_), lap)

    def finish(self, lap: Lap) -> None:
        """Read all there is, to the sound's end."""
        if len(self._waiting) > LONGEST_FRAMES * ROWS:
            self.catch_up(1, lap)
        rows = np.concatenate([self._waiting, self._mel.finish()])
        if self.samples <= self.frames * FRAME_SAMPLES:  # the last window that was read is not within
            self._state, self.cache, rows = self._before_last
            del self._soft[-1:]
            self.frames -= len(rows) // ROWS
        frames = self._frames_within - self.frames
        within = (self.frames * ROWS + np.arange(frames * ROWS) + 1) * HOP_SAMPLES < self.samples
        rows = _padded(rows, len(within)) * within[:, np.newaxis]
        self._loudness[self.frames :] = _loudness(rows, within)
        self._waiting = rows[:0]
        if frames:
            self._read(rows, within, lap)

    def _waiting_frames(self, end: int | None) -> int:
        waiting = len(self._waiting) // ROWS
        return waiting if end is None else min(waiting, end - self.frames)

    @property
    def _frames_within(self) -> int:
        """Frames whose first window ends within the sound (the reference counts a window's end as its 321st sample)."""
        return max(0, -(-(self.samples - HOP_SAMPLES) // FRAME_SAMPLES))

    def _take(self, rows: Array) -> None:
        self._waiting = np.concatenate([self._waiting, rows])
        self._loudness += _loudness(rows, np.ones(len(rows), np.bool_))

    def _read(self, rows: Array, mask: Array, lap: Lap) -> None:
        self._before_last = (self._state, self.cache, rows)
        tokens, self._state = self._encoder.step(self._state, rows, mask)
        lap("encoder")
        self._soft.append(tokens)
        self.cache = self._decoder.hear(self.cache, tokens)
        self.frames += len(tokens)
        lap("prefill")


def _padded(array: Array, length: int) -> Array:
    """The first `length` of an array, zeros behind its end."""
    array = array[:length]
    return np.concatenate([array, np.zeros((length - len(array), *array.shape[1:]), array.dtype)])


def _loudness(rows: Array, within: Array) -> list[float]:
    """Of each frame: the mean of those rows that are within the sound. Every frame has one."""
    sums = (rows.mean(axis=1) * within).reshape(-1, ROWS).sum(axis=1)
    return [float(value) for value in sums / np.maximum(within.reshape(-1, ROWS).sum(axis=1), 1)]
