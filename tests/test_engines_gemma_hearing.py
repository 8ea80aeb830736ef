"""What the language model has read of a sound depends on the sound, and not on how it came in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.core.audio import FRAME_SAMPLES, Pcm
from streamd.engines.gemma.decoder import Cache, Decoder
from streamd.engines.gemma.encoder import encoder
from streamd.engines.gemma.folder import load
from streamd.engines.gemma.graphs import Array, Options
from streamd.engines.gemma.hearing import Hearing
from tests.gemma_data import MODEL, recording, reference

GRAPHS = load(MODEL, Options(threads=1))
DECODER = Decoder(GRAPHS.embed, GRAPHS.decoder, GRAPHS.prefill)
_, PROMPT = DECODER.read(DECODER.empty, [2, 105, 500, 501])
ALIKE = 1e-4


def begun() -> Hearing:
    return Hearing(encoder(GRAPHS.encoder), DECODER, PROMPT)


def nobody(_: str) -> None:
    """Does not care how long it took."""


def heard(parts: Sequence[Pcm], at_least: int = 1) -> Hearing:
    """A sound that came in so, to its end."""
    hearing = begun()
    for part in parts:
        hearing.feed(part)
        hearing.catch_up(at_least, nobody)
    hearing.finish(nobody)
    return hearing


def check_same(one: Cache, other: Cache) -> None:
    assert one.length == other.length
    for array, expected in zip(one.arrays, other.arrays, strict=True):
        np.testing.assert_allclose(array, expected, atol=ALIKE)


@given(st.integers(0, 12_000), st.lists(st.integers(0, 3_000), max_size=6), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_sound_in_any_parts_is_sound_at_once(samples: int, cuts: list[int], at_least: int) -> None:
    pcm = recording()[20_000 : 20_000 + samples]
    parts = np.split(pcm, sorted(cut for cut in cuts if cut < samples))
    pieces, whole = heard(parts, at_least), heard([pcm])
    assert pieces.frames == whole.frames
    check_same(pieces.cache, whole.cache)
    np.testing.assert_allclose(pieces.loudness, whole.loudness, atol=ALIKE)


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (1, 0), (160, 0), (161, 1), (639, 1), (640, 1), (641, 1), (800, 1), (801, 2), (1_280, 2), (16_000, 25)],
)
@pytest.mark.parametrize("at_least", [1, 3])
def test_as_many_frames_as_the_reference_counts(samples: int, frames: int, at_least: int) -> None:
    hearing = heard([recording()[:samples]], at_least)
    assert hearing.frames == len(hearing.loudness) == frames
    assert hearing.cache.length == PROMPT.length + frames
    assert hearing.seconds == samples / 16_000


class Listener:
    """Keeps the soft tokens themselves as its past."""

    def hear(self, cache: Cache, audio: Array) -> Cache:
        return Cache(cache.length + len(audio), (np.concatenate([cache.arrays[0], audio]),))


@pytest.mark.parametrize("clip", ["51200", "51201", "25777"])
@pytest.mark.parametrize("at_least", [1, 7])
def test_soft_tokens_are_the_references_to_the_last(clip: str, at_least: int) -> None:
    """Also where the sound ends with a frame, and the reference leaves its last window out."""
    nothing = Cache(0, (np.zeros((0, GRAPHS.width), np.float32),))
    hearing = Hearing(encoder(GRAPHS.encoder), cast(Decoder, Listener()), nothing)
    pcm = recording()[: int(clip)]
    for part in np.split(pcm, range(5_000, len(pcm), 5_000)):
        hearing.feed(part)
        hearing.catch_up(at_least, nobody)
    hearing.finish(nobody)
    np.testing.assert_allclose(hearing.cache.arrays[0], reference("audio")[clip], atol=1e-5)


def test_nothing_is_read_before_there_is_enough() -> None:
    hearing = begun()
    hearing.feed(recording()[: 4 * FRAME_SAMPLES + 100])
    hearing.catch_up(3, nobody)
    assert hearing.frames == 3
    hearing.feed(recording()[:FRAME_SAMPLES])
    hearing.catch_up(3, nobody)
    assert hearing.frames == 3
    hearing.catch_up(1, nobody)
    assert hearing.frames == 5


def test_a_long_sound_is_read_in_bounded_parts() -> None:
    laps: list[str] = []
    hearing = begun()
    hearing.feed(np.concatenate([recording()] * 2)[: 200 * FRAME_SAMPLES])
    hearing.finish(laps.append)
    assert hearing.frames == 200
    assert laps.count("encoder") == laps.count("prefill") == 5  # 64 + 64 + 64 + 8, and these again without their end
