"""Is there any signal? A muted, unplugged or forbidden microphone delivers exact or near silence for ever."""

from __future__ import annotations

import numpy as np

from streamd.core.audio import FRAME_MS, Frame

FLOOR = 4
"""Largest sample value, of 32,768, that counts as no signal: -78 dBFS, below the noise of any open microphone."""


class SignalWatch:
    """Feed frames; `silent` once nothing rose above the floor for `limit_s`."""

    def __init__(self, limit_s: float) -> None:
        self._limit_frames = int(limit_s * 1000 / FRAME_MS)
        self._silent_frames = 0

    @property
    def silent(self) -> bool:
        return self._silent_frames >= self._limit_frames

    def feed(self, frame: Frame) -> None:
        samples = np.frombuffer(frame.pcm, np.int16)
        quiet = int(samples.min()) >= -FLOOR and int(samples.max()) <= FLOOR
        self._silent_frames = self._silent_frames + 1 if quiet else 0
