"""Words share the time in which there was something to hear."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.engines.gemma.timing import spread

FRAME_S = 0.04


def loud(*parts: tuple[float, int]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.concatenate([np.full(frames, level, np.float32) for level, frames in parts])


def test_words_lie_where_there_is_sound() -> None:
    times = spread([" one", " two", " four"], loud((-6.0, 25), (-1.0, 25), (-6.0, 25)), FRAME_S)
    assert times[0][0] == pytest.approx(0.0, abs=1.01)
    assert times[0][1] == pytest.approx(1.0 + 4 / 13, abs=0.05)
    assert times[1][1] == pytest.approx(1.0 + 8 / 13, abs=0.05)
    assert times[2][1] >= 2.0


def test_a_pause_between_words_is_nobodys() -> None:
    (_, first_end), (second_start, _) = spread([" one", " two"], loud((-1, 25), (-6, 50), (-1, 25)), FRAME_S)
    assert first_end == second_start
    assert 1.0 <= first_end <= 3.0


def test_no_words_take_no_time() -> None:
    assert spread([], loud((-1.0, 3)), FRAME_S) == []


@given(st.lists(st.text(max_size=8), min_size=1, max_size=10), st.lists(st.floats(-7, 3, width=32), min_size=1))
def test_times_are_in_order_and_within_the_sound(texts: list[str], levels: list[float]) -> None:
    times = spread(texts, np.array(levels, np.float32), FRAME_S)
    assert len(times) == len(texts)
    assert all(0 <= start_s <= end_s <= len(levels) * FRAME_S + 1e-9 for start_s, end_s in times)
    assert all(before[1] == after[0] for before, after in pairwise(times))
