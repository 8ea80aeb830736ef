"""Log-mel rows for Gemma: equal to transformers' extractor, in whatever parts the sound comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.core.audio import Pcm
from streamd.engines.gemma.features import BANDS, LogMel, mel_filters, real_rows
from tests.gemma_data import recording, reference

LENGTHS = sorted(map(int, reference("features")))


def rows(*parts: Pcm) -> np.ndarray:
    mel = LogMel()
    return np.concatenate([*map(mel.feed, parts), mel.finish()])


@pytest.mark.parametrize("samples", LENGTHS)
def test_equal_to_the_reference(samples: int) -> None:
    """Every real row to 1e-6; rows that the reference masks are zeros there."""
    expected = reference("features")[str(samples)]
    real = real_rows(samples)
    assert np.abs(rows(recording()[:samples])[:real] - expected[:real]).max(initial=0) <= 1e-6
    assert not expected[real:].any()
    assert expected[:real].all(axis=1).all()


def test_lengths_of_interest_are_recorded() -> None:
    """No sound, one sample, and both sides of a hop, a window and a frame."""
    assert {1, 160, 161, 320, 321, 639, 640, 641} <= set(LENGTHS)
    assert [real_rows(samples) for samples in (0, 1, 160, 161, 640, 641)] == [0, 0, 0, 1, 3, 4]


def test_no_sound() -> None:
    assert rows().shape == (0, BANDS)
    assert rows(np.zeros(0, np.int16)).shape == (0, BANDS)


@given(st.lists(st.integers(0, 2_000), max_size=12))
@settings(max_examples=50, deadline=None)
def test_parts_do_not_matter(sizes: list[int]) -> None:
    """Rows come four at a time, as soon as a frame is whole, and are those of the sound in one piece."""
    sound = recording()[: sum(sizes)]
    mel, came, at = LogMel(), [], 0
    for size in sizes:
        came.append(mel.feed(sound[at : at + size]))
        at += size
        assert sum(map(len, came)) == at // 640 * 4
    assert np.array_equal(np.concatenate([*came, mel.finish()]), rows(sound))


def test_silence_is_the_floor() -> None:
    assert np.allclose(rows(np.zeros(640, np.int16)), np.log(0.001))


def test_filters_are_triangles_over_all_bands_but_the_first() -> None:
    """The first triangle lies between two bins, in the reference as well."""
    filters = mel_filters()
    assert filters.shape == (257, BANDS)
    assert not filters[:, 0].any()
    assert filters[:, 1:].any(axis=0).all()
    assert filters.max() <= 1
