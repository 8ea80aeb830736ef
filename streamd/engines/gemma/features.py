"""Gemma 4's log-mel rows, computed as the sound arrives.

As `Gemma4AudioFeatureExtractor` does (transformers, models/gemma4/feature_extraction_gemma4.py): periodic Hann windows
of 20 ms every 10 ms, 512-point magnitudes, 128 bands on the HTK mel scale without normalisation, ln(x + 0.001). Row m
sees samples 160 m − 160 … 160 m + 159, with silence before the first one. So 640 samples give four rows, at once and
for good, and the four rows make one token.

One rule is odd: the reference counts a row as real only if sample 160 m + 160 exists, though its value is not used.
Sound that ends exactly with a frame so has a last row that is masked, until more sound comes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from streamd.core.audio import FRAME_SAMPLES, SAMPLE_RATE, Pcm

BANDS = 128
ROWS_PER_FRAME = 4
HOP_SAMPLES = 160
WINDOW_SAMPLES = 320
FFT_SAMPLES = 512
FLOOR = 0.001  # added to magnitudes

Float32 = NDArray[np.float32]


class LogMel:
    """The rows of one growing sound."""

    def __init__(self) -> None:
        self._tail: Float32 = np.zeros(HOP_SAMPLES, np.float32)  # sound that later rows still need, in −1 … 1

    def feed(self, pcm: Pcm) -> Float32:
        """Add sound, int16 (n,); the rows of the frames that it completes, (4 k, 128), k ≥ 0."""
        self._tail = np.concatenate([self._tail, pcm.astype(np.float32) / 32768.0])
        frames = (len(self._tail) - HOP_SAMPLES) // FRAME_SAMPLES
        rows = _rows(self._tail, frames * ROWS_PER_FRAME)
        self._tail = self._tail[frames * FRAME_SAMPLES :]
        return rows

    def finish(self) -> Float32:
        """The real rows of a last frame that did not become whole: (0 … 3, 128)."""
        return _rows(self._tail, real_rows(len(self._tail) - HOP_SAMPLES))


def real_rows(samples: int) -> int:
    """Rows that the reference counts as real, of a sound of so many samples or of its last, partial frame."""
    return max(0, (samples - 1) // HOP_SAMPLES)


def _rows(sound: Float32, count: int) -> Float32:
    """The first `count` rows of sound that begins one hop before the first one's own."""
    if not count:
        return np.zeros((0, BANDS), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW_SAMPLES)[::HOP_SAMPLES][:count]
    magnitudes = np.abs(np.fft.rfft(windows * _hann(), n=FFT_SAMPLES, axis=1))  # (count, 257)
    return np.log(magnitudes @ mel_filters() + FLOOR).astype(np.float32)


@cache
def _hann() -> Float32:
    """Periodic Hann window, shape (320,)."""
    return np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)


@cache
def mel_filters() -> NDArray[np.float64]:
    """Triangles of height 1 on the mel scale of HTK (The HTK Book 3.4, §5.6), 2595 log10(1 + Hz / 700): (257, 128)."""
    top = 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    edges_hz = 700.0 * (10.0 ** (np.linspace(0.0, top, BANDS + 2) / 2595.0) - 1.0)
    bins_hz = np.linspace(0.0, SAMPLE_RATE / 2, FFT_SAMPLES // 2 + 1)[:, None]
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    triangles = np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre))
    return np.asarray(np.maximum(0.0, triangles))
