"""A microphone without a signal is noticed; a quiet room is not mistaken for one."""

from __future__ import annotations

import numpy as np

from streamd.core.audio import FRAME_SAMPLES, Frame
from streamd.core.level import FLOOR, SignalWatch


def frame(peak: int) -> Frame:
    samples = np.zeros(FRAME_SAMPLES, np.int16)
    samples[17] = peak
    return Frame(0, samples.tobytes())


def test_silence_counts_after_its_time() -> None:
    watch = SignalWatch(limit_s=0.2)
    seen = []
    for _ in range(6):
        watch.feed(frame(0))
        seen.append(watch.silent)
    assert seen == [False, False, False, False, True, True]


def test_the_faintest_noise_is_a_signal() -> None:
    for peak in (FLOOR + 1, -FLOOR - 1, -32768):
        watch = SignalWatch(limit_s=0.04)
        watch.feed(frame(peak))
        assert not watch.silent


def test_dither_is_none() -> None:
    watch = SignalWatch(limit_s=0.04)
    watch.feed(frame(-FLOOR))
    assert watch.silent
