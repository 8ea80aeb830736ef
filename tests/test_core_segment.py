"""Utterances hold exactly the sound of their frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.audio import FRAME_BYTES, Frame
from streamd.core.endpoint import Rules
from streamd.core.segment import BRIDGED_FRAMES, Segmenter, Utterance

RULES = Rules(pre_roll=3, min_speech=2, hangover=4, soft_max=15, maximum=30)
runs = st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.9]), st.integers(1, 25)), max_size=15)
losses = st.lists(st.integers(0, 3 * BRIDGED_FRAMES), max_size=400)


def frame(index: int) -> Frame:
    return Frame(index, (index + 1).to_bytes(4, "little") * (FRAME_BYTES // 4))


def indexes(utterance: Utterance) -> list[int]:
    """Which frames the sound is made of; −1 for silence that was put in."""
    starts = range(0, len(utterance.pcm), FRAME_BYTES)
    return [int.from_bytes(utterance.pcm[at : at + 4], "little") - 1 for at in starts]


@given(runs, losses, st.data())
def test_no_frame_is_in_two_utterances_and_none_is_lost_within(
    runs: list[tuple[float, int]], losses: list[int], data: st.DataObject
) -> None:
    segmenter, index = Segmenter(RULES), 0
    utterances: list[Utterance] = []
    for probability, length in runs:
        for _ in range(length):
            utterances += segmenter.feed(frame(index), probability)
            protects: bool = data.draw(st.booleans())
            if utterances and protects:
                segmenter.protect(data.draw(st.integers(0, utterances[-1].end_ms)))
            index += 1
        index += losses.pop() if losses else 0
    segmenter.end()
    assert all(utterance.ended for utterance in utterances)
    assert segmenter.open is None
    taken = [n for utterance in utterances for n in indexes(utterance) if n >= 0]
    assert len(taken) == len(set(taken))
    for utterance in utterances:
        wanted = range(utterance.start_frame, utterance.end_frame)
        assert all(have in (want, -1) for have, want in zip(indexes(utterance), wanted, strict=True))


def fed(segmenter: Segmenter, probabilities: list[float], start: int = 0) -> list[Utterance]:
    return [u for n, p in enumerate(probabilities) for u in segmenter.feed(frame(start + n), p)]


def test_an_utterance_has_its_pre_roll_and_its_hangover() -> None:
    (utterance,) = fed(Segmenter(RULES), [0.1] * 10 + [0.9] * 5 + [0.1] * 10)
    assert indexes(utterance) == list(range(7, 19))
    assert (utterance.start_ms, utterance.end_ms, utterance.ended) == (280, 760, "pause")


def test_a_split_hands_the_rest_to_the_next_utterance() -> None:
    segmenter = Segmenter(RULES)
    utterances = fed(segmenter, [0.9] * 25 + [0.5] + [0.9] * 10)
    segmenter.end()
    first, second = utterances
    assert first.ended == "split"
    assert indexes(first) + indexes(second) == list(range(36))


def test_a_short_loss_is_bridged_with_silence() -> None:
    segmenter = Segmenter(RULES)
    utterances = fed(segmenter, [0.9] * 5) + fed(segmenter, [0.9] * 5, start=7)
    segmenter.end()
    assert [indexes(u) for u in utterances] == [[0, 1, 2, 3, 4, -1, -1, 7, 8, 9, 10, 11]]


def test_a_long_loss_ends_the_utterance() -> None:
    segmenter = Segmenter(RULES)
    utterances = fed(segmenter, [0.9] * 5) + fed(segmenter, [0.9] * 5, start=100)
    assert [u.ended for u in utterances] == ["gap", None]
    assert indexes(utterances[1]) == list(range(100, 105))


def test_frames_come_in_order() -> None:
    segmenter = Segmenter(RULES)
    fed(segmenter, [0.1] * 3)
    with pytest.raises(ValueError, match="frame 1 comes after frame 2"):
        segmenter.feed(frame(1), 0.1)


def test_what_the_recogniser_hears_of_an_utterance_that_is_over_is_ignored() -> None:
    segmenter = Segmenter(RULES)
    segmenter.heard(0, 10_000)
    assert [len(segmenter.feed(frame(n), 0.9)) for n in range(3)].count(1) == 1
    assert segmenter.open is not None
    assert segmenter.open.pause_ms == 0
    segmenter.heard(80, 120)
    segmenter.feed(frame(3), 0.0)
    assert segmenter.open.pause_ms == 40
