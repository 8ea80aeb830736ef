"""Real media files for tests, written with PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

PER_FRAME = 1_024
VIDEO_RATE = 10


def tone(seconds: float, rate: int, hz: float = 440.0) -> NDArray[np.int16]:
    """A sine at a third of full scale, shape (n,)."""
    return (10_000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


def write_media(
    path: Path,
    codec: str | None,
    sound: NDArray[np.int16],
    rate: int,
    *,
    stereo: bool = False,
    video: bool = False,
    start_s: float = 0.0,
    options: dict[str, str] | None = None,
) -> Path:
    """`sound` (mono, shape (n,)) in the container that the name's ending says. `codec` None: no audio track."""
    with av.open(str(path), "w", options=options or {}) as container:
        picture: Any = container.add_stream("mpeg4", rate=VIDEO_RATE, width=64, height=48) if video else None
        layout = "stereo" if stereo else "mono"
        track: Any = container.add_stream(codec, rate=rate, layout=layout) if codec else None
        if picture is not None:
            _film(container, picture, len(sound) / rate)
        if track is not None:
            _record(container, track, sound, layout, round(start_s * rate))
    return path


def _film(container: Any, stream: Any, seconds: float) -> None:
    for number in range(round(VIDEO_RATE * seconds)):
        image = np.full((48, 64, 3), number % 256, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
    container.mux(stream.encode(None))


def _record(container: Any, stream: Any, sound: NDArray[np.int16], layout: str, start: int) -> None:
    channels = 2 if layout == "stereo" else 1
    for position in range(0, len(sound), PER_FRAME):
        interleaved = np.repeat(sound[position : position + PER_FRAME], channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, "s16", layout)
        frame.sample_rate = stream.rate
        frame.pts, frame.time_base = start + position, Fraction(1, stream.rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def cut_off(path: Path, part: float = 0.5) -> Path:
    """Only the first part of the file is left."""
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * part)])
    return path


def similarity(heard: bytes, expected: NDArray[np.int16]) -> float:
    """Highest normalised correlation of 16 kHz s16le with `expected`, whatever the delay; 1.0 is the same sound."""
    left, right = np.frombuffer(heard, "<i2").astype(np.float64), expected.astype(np.float64)
    size = len(left) + len(right)
    product = np.fft.irfft(np.fft.rfft(left, size) * np.conj(np.fft.rfft(right, size)), size)
    return float(np.abs(product).max() / (np.linalg.norm(left) * np.linalg.norm(right)))
