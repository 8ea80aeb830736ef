"""Pieces of a long utterance end in pauses, and at the same ones however the sound came in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamd.core.audio import SAMPLE_RATE
from streamd.engines.gemma.features import ROWS_PER_FRAME, LogMel
from streamd.engines.gemma.pieces import PAUSE_FRAMES, pause
from tests.speech import recording

LEAST = 50
SPEECH, SILENCE = -3.0, -6.5


def sound(*parts: tuple[float, int]) -> NDArray[np.float32]:
    """Loudness of so many frames each, a little unsteady."""
    levels = np.concatenate([np.full(frames, level) for level, frames in parts])
    return (levels + np.random.default_rng(0).uniform(-0.2, 0.2, len(levels))).astype(np.float32)


def test_it_ends_once_nothing_was_heard_for_long_enough() -> None:
    assert (
        pause(sound((SPEECH, 20), (SILENCE, 20), (SPEECH, 30), (SILENCE, 20), (SPEECH, 9)), LEAST) == 70 + PAUSE_FRAMES
    )


def test_what_is_shorter_is_within_a_word() -> None:
    assert pause(sound((SPEECH, 20), (SILENCE, 20), (SPEECH, 30), (SILENCE, 4), (SPEECH, 20)), LEAST) is None


def test_a_pause_before_the_least_length_is_passed_over() -> None:
    assert pause(sound((SPEECH, 20), (SILENCE, 20), (SPEECH, 40), (SILENCE, 8)), LEAST) == 86
    assert pause(sound((SPEECH, 30), (SILENCE, 30)), LEAST) == LEAST


def test_the_longer_it_is_the_less_of_a_pause_is_enough() -> None:
    hum = 0.6 * SPEECH + 0.4 * SILENCE
    assert pause(sound((SPEECH, 20), (SILENCE, 40), (hum, 10), (SPEECH, 300)), LEAST + 15) is None
    found = pause(sound((SPEECH, 20), (SILENCE, 40), (SPEECH, 500), (hum, 10)), LEAST + 15)
    assert found is not None
    assert 560 < found <= 560 + PAUSE_FRAMES


def test_where_nobody_speaks_there_are_no_pauses() -> None:
    assert pause(sound((SILENCE, 300)), LEAST) is None
    assert pause(np.zeros(0, np.float32), 0) is None


@given(st.lists(st.tuples(st.sampled_from([SPEECH, SILENCE]), st.integers(1, 30)), max_size=8), st.integers(1, 200))
def test_it_is_the_same_place_however_the_sound_came_in(parts: list[tuple[float, int]], step: int) -> None:
    loudness = sound((SPEECH, 10), *parts)
    found, searched = None, 0
    for heard in (*range(step, len(loudness), step), len(loudness)):
        found = pause(loudness[:heard], LEAST, searched)
        if found is not None:
            break
        searched = heard
    assert found == pause(loudness, LEAST)


def test_speech_has_pauses() -> None:
    """Eleven seconds of a speech: there is one between "for you," and "ask what"."""
    mel = LogMel()
    rows = mel.feed(recording("jfk").pcm)
    loudness = rows.mean(axis=1).reshape(-1, ROWS_PER_FRAME).mean(axis=1)
    found = pause(loudness, 100)
    assert found is not None
    assert 8.1 <= found * 640 / SAMPLE_RATE <= 8.6
