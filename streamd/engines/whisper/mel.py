"""Whisper's log-mel spectrogram, computed as the sound arrives.

Radford et al. 2022, arXiv:2212.04356, §2.2: 25 ms Hann windows every 10 ms, 80 or 128 mel bands (Slaney's scale),
log10, floored 8 below the loudest value of the window, then (x + 4) / 4. All but the floor depends on the sound around
a frame only, so it is computed once; the floor is applied to each window anew.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from streamd.core.audio import SAMPLE_RATE, Pcm

FFT_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
FRAMES_PER_S = 100
_REACH = FFT_SAMPLES // 2  # samples that a frame sees on either side of its centre
_SILENCE = -10.0  # log10 of the smallest power, 1e-10

Float32 = NDArray[np.float32]


class LogMel:
    """The spectrogram of one growing window of sound."""

    def __init__(self, bands: int) -> None:
        self._bands = bands
        self._tail: Float32 = np.zeros(0, np.float32)  # sound that later frames still need, in −1 … 1
        self._raw: list[Float32] = []  # blocks of finished frames, shape (bands, n), log10
        self._samples = 0

    @property
    def seconds(self) -> float:
        """Length of the sound so far."""
        return self._samples / SAMPLE_RATE

    def feed(self, pcm: Pcm) -> None:
        """Add sound: int16, shape (n,)."""
        began = self._samples > _REACH
        self._samples += len(pcm)
        self._tail = np.concatenate([self._tail, pcm.astype(np.float32) / 32768.0])
        if self._samples <= _REACH:
            return
        if not began:
            self._tail = _mirrored(self._tail)
        self._tail, block = _finished(self._tail, self._bands)
        if block.shape[1]:
            self._raw.append(block)

    def window(self, padding_s: float, start_s: float = 0.0) -> Float32:
        """The sound from `start_s` on, then `padding_s` of silence, as the model takes it: (bands, frames), even."""
        tail = self._tail if self._samples > _REACH else _mirrored(self._tail)
        _, edge = _finished(np.concatenate([tail, np.zeros(FFT_SAMPLES, np.float32)]), self._bands)
        start = int(start_s * FRAMES_PER_S)
        total = max(2, int(self._samples / HOP_SAMPLES - start + padding_s * FRAMES_PER_S) // 2 * 2)
        if len(self._raw) > 1:
            self._raw = [np.concatenate(self._raw, axis=1)]
        known = np.concatenate([*self._raw, edge], axis=1)[:, start : start + total]
        floor = max(float(known.max(initial=_SILENCE)) - 8.0, _SILENCE)
        window = np.full((self._bands, total), (floor + 4.0) / 4.0, np.float32)
        window[:, : known.shape[1]] = (np.maximum(known, floor) + 4.0) / 4.0
        return window


def _mirrored(sound: Float32) -> Float32:
    """`sound` with its start mirrored before it, as the reference does at the edge of a recording."""
    head = sound[1 : _REACH + 1][::-1]
    return np.concatenate([np.zeros(_REACH - len(head), np.float32), head, sound])


def _finished(sound: Float32, bands: int) -> tuple[Float32, Float32]:
    """Sound that is left, and the log-mel frames (bands, n) that `sound` is long enough for."""
    count = max(0, (len(sound) - FFT_SAMPLES) // HOP_SAMPLES + 1)
    if not count:
        return sound, np.zeros((bands, 0), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, FFT_SAMPLES)[: count * HOP_SAMPLES : HOP_SAMPLES]
    power = np.abs(np.fft.rfft(frames * _hann(), axis=1)) ** 2  # (n, 201)
    mel = mel_filters(bands) @ power.T.astype(np.float32)  # (bands, n)
    return sound[count * HOP_SAMPLES :].copy(), np.log10(np.maximum(mel, 1e-10)).astype(np.float32)


@cache
def _hann() -> Float32:
    """Periodic Hann window, shape (400,)."""
    return np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)


@cache
def mel_filters(bands: int) -> Float32:
    """Triangular filters on Slaney's mel scale, each of unit area: (bands, 201).

    M. Slaney, Auditory Toolbox (Technical Report 1998-010): linear below 1 kHz, logarithmic above.
    """
    edges_hz = _slaney_hz(np.linspace(0.0, _slaney_mel(SAMPLE_RATE / 2), bands + 2))
    bins_hz = np.fft.rfftfreq(FFT_SAMPLES, 1 / SAMPLE_RATE)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * 2.0 / (high - low), np.float32)


_LINEAR_HZ = 200 / 3  # Hz a mel below the break
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def _slaney_mel(hz: float) -> float:
    return _BREAK_MEL + float(np.log(hz / _BREAK_HZ)) / float(_LOG_STEP)


def _slaney_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ, above)
