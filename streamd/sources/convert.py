"""PCM of any rate → 16 kHz s16le, as a stream."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from streamd.core.audio import SAMPLE_RATE

Format = Literal["s16le", "f32le"]

LOWEST_RATE, HIGHEST_RATE = 8_000, 48_000  # Hz
HIGHEST_DEVICE_RATE = 192_000  # Hz

_TYPES: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
_FULL_SCALE = 32_768


class PcmConverter:
    """Mono PCM at `rate` → mono s16le at 16 kHz. The same bytes in other chunks give the same samples.

    Resampling is soxr's (high quality, linear phase); it holds back up to 0.1 s of sound until it knows what
    follows. At 16 kHz s16le the bytes pass unchanged. f32le is clipped to -1 … 1, and what is no number is silence.

    Raises ValueError for an unknown format, or a rate outside of 8 kHz … `highest_rate`.
    """

    def __init__(self, rate: int, format: Format = "s16le", *, highest_rate: int = HIGHEST_RATE) -> None:  # noqa: A002 - the wire's word
        if format not in _TYPES:
            raise ValueError(f"format {format!r} is unknown: send s16le or f32le")
        if not LOWEST_RATE <= rate <= highest_rate:
            raise ValueError(f"rate {rate} Hz is not supported: send {LOWEST_RATE} to {highest_rate} Hz")
        self._type = _TYPES[format]
        self._carry = b""
        self._passes = rate == SAMPLE_RATE and format == "s16le"
        self._resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def feed(self, chunk: bytes | bytearray | memoryview) -> bytes:
        """What is ready at 16 kHz. Part of a sample waits for its rest."""
        data = self._carry + chunk
        whole = len(data) // self._type.itemsize * self._type.itemsize
        self._carry = data[whole:]
        if self._passes:
            return data[:whole]
        return self._convert(np.frombuffer(data[:whole], self._type), last=False)

    def flush(self) -> bytes:
        """What was held back; half a sample is dropped. The next chunk starts a new stream."""
        self._carry = b""
        if self._resampler is None:
            return b""
        rest = self._convert(np.zeros(0, self._type), last=True)
        self._resampler.clear()
        return rest

    def _convert(self, samples: NDArray[Any], *, last: bool) -> bytes:
        sound = self._normalised(samples)  # (n,) float32 in -1 … 1
        if self._resampler is not None:
            sound = self._resampler.resample_chunk(sound, last=last)
        return np.rint(sound * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()

    def _normalised(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        if self._type.kind == "i":
            return samples.astype(np.float32) / np.float32(_FULL_SCALE)
        return np.nan_to_num(samples.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(-1, 1)
