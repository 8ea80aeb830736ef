"""The figures of the benchmark, on stories whose figures are known."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.measure import (
    Errors,
    Reference,
    Snapshot,
    SpokenWord,
    Unrest,
    last_words,
    measure,
    tokens,
)

SAID = Reference(
    "Go forward, ten metres.",
    tuple(SpokenWord(text, end_s) for text, end_s in (("go", 1.0), ("forward", 2.0), ("ten", 3.0), ("metres", 4.0))),
    last_words=(1, 3),
)
STORY = [
    Snapshot(1.5, "Go", "", ""),
    Snapshot(2.5, "Go for", "Go", ""),
    Snapshot(2.75, "Go forward", "Go", ""),
    Snapshot(3.0, "Go forward", "Go forward", "Go forward"),
    Snapshot(3.5, "Go forward tan metre", "Go forward", "Go forward"),
    Snapshot(4.5, "Go forward ten metres.", "Go forward", "Go forward"),
    Snapshot(5.0, "Go forward ten metres.", "Go forward ten metres.", "Go forward ten metres."),
]
TEXTS = st.lists(st.lists(st.sampled_from("abcd"), max_size=6), max_size=8)


def test_delays_of_a_story() -> None:
    measured = measure(STORY, SAID)
    assert measured.delays is not None
    assert measured.delays.ends_s.tolist() == [1, 2, 3, 4]
    assert measured.delays.seen.tolist() == [0.5, 0.75, 1.5, 0.5]
    assert measured.delays.stays.tolist() == [0.5, 0.75, 1.5, 0.5]
    assert measured.delays.committed.tolist() == [1.5, 1.0, 2.0, 1.0]
    assert measured.delays.final.tolist() == [2.0, 1.0, 2.0, 1.0]
    assert measured.utterances is not None
    assert measured.utterances.final.tolist() == [1.0, 1.0]
    assert measured.first_text_s == 0.5
    assert measured.behind_s == 0.5
    assert measured.covered == 1.0


def test_errors_and_unrest_of_a_story() -> None:
    measured = measure(STORY, SAID, lambda text: text.lower().replace(",", "").replace(".", ""))
    assert measured.wer == Errors(0, 0, 0, 4)
    assert measured.raw_wer == Errors(1, 0, 0, 4)  # a comma
    assert measured.unrest == Unrest(erased=3, changed=3, words=4)  # for, tan, metre


def test_a_word_that_leaves_and_comes_back_is_seen_before_it_stays() -> None:
    story = [Snapshot(at_s, text, "", "") for at_s, text in ((1.0, "Go"), (2.0, ""), (3.0, "Go"))]
    delays = measure(story, SAID).delays
    assert delays is not None
    assert (delays.seen[0], delays.stays[0]) == (0.0, 2.0)
    assert np.isnan(delays.final[0])


def test_case_and_punctuation_are_no_unrest_of_words() -> None:
    story = [Snapshot(1.0, "go forward", "", ""), Snapshot(2.0, "Go, forward", "", "")]
    measured = measure(story, SAID)
    assert (measured.unrest.erased, measured.raw_unrest.erased, measured.raw_unrest.changed) == (0, 2, 1)


def test_a_wrong_word_has_the_time_of_the_one_in_its_place_and_an_invented_one_has_none() -> None:
    measured = measure([Snapshot(5.0, "go foreword ten big metres", "", "")], SAID)
    assert measured.delays is not None
    assert measured.delays.ends_s.tolist() == [1, 2, 3, 4]
    assert measured.covered == pytest.approx(0.8)


def test_an_utterances_last_word_may_be_one_of_the_last_three() -> None:
    """Where the recogniser lost the last one; an utterance that was lost whole has no delay."""
    shots = [Snapshot(6.0, "ten", "ten", "ten")]
    utterances = measure(shots, SAID).utterances
    assert utterances is not None
    assert np.isnan(utterances.final[0])
    assert utterances.final[1] == 2.0


def test_nothing_shown() -> None:
    measured = measure([], SAID, lambda text: text.replace(",", ""))
    assert measured.wer == Errors(0, 4, 0, 4)
    assert measured.first_text_s is measured.behind_s is None
    assert measured.unrest == Unrest(0, 0, 0)
    assert measured.utterances is not None
    assert np.isnan(measured.utterances.final).all()


def test_nothing_known_but_what_was_shown() -> None:
    measured = measure(STORY, Reference(None))
    assert [measured.wer, measured.raw_wer, measured.delays, measured.utterances] == [None] * 4
    assert measured.unrest.words == 4


def test_a_reference_may_not_know_all_its_times() -> None:
    reference = Reference("go on", (SpokenWord("go", None), SpokenWord("on", 2.0)), last_words=(0, 1))
    measured = measure([Snapshot(3.0, "go on", "go on", "go on")], reference)
    assert measured.delays is not None
    assert measured.delays.stays.tolist() == [1.0]
    assert measured.utterances is not None
    assert np.isnan(measured.utterances.final[0])


def test_pauses_part_utterances() -> None:
    assert last_words([(0, 1), (1.2, 2), (3, 4), (4.9, 5)]) == (1, 3)
    assert last_words([]) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop; co-operate!", ["dont", "stop", "co", "operate"]),
        ("100 % of 3.5 €", ["100", "%", "of", "35", "€"]),
        ("今日は晴れ。", ["今", "日", "は", "晴", "れ"]),
        ("你好, world", ["你", "好", "world"]),
        ("ok你好ok", ["ok", "你", "好", "ok"]),
        ("ちょっと", ["ちょっ", "と"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("Press one or 1", ["press", "1", "or", "1"]),
        ("…", []),
    ],
)
def test_tokens(text: str, words: list[str]) -> None:
    assert tokens(text) == words


@given(TEXTS)
def test_erasure_is_never_less_than_upwr(texts: list[list[str]]) -> None:
    """What changed lies behind the first change; text that only grows has neither."""
    unrest = Unrest.of(texts)
    assert 0 <= unrest.changed <= unrest.erased
    grown = Unrest.of(accumulate(texts))
    assert (grown.changed, grown.erased) == (0, 0)


@given(TEXTS)
def test_a_word_is_seen_then_stays_and_stays_before_the_end(texts: list[list[str]]) -> None:
    shots = [Snapshot(float(at_s), " ".join(text), "", "") for at_s, text in enumerate(texts, start=1)]
    words = tuple(SpokenWord(word, 0.0) for word in (texts[-1] if texts else []))
    delays = measure(shots, Reference(None, (*words, SpokenWord("last", 0.0)))).delays
    assert delays is not None
    assert len(delays.ends_s) == len(texts[-1] if texts else [])
    assert (delays.seen <= delays.stays).all()
    assert (delays.stays <= len(texts)).all()


@given(TEXTS)
def test_the_last_text_is_all_that_errors_depend_on(texts: list[list[str]]) -> None:
    shots = [Snapshot(float(at_s), " ".join(text), "", "") for at_s, text in enumerate(texts)]
    assert measure(shots, SAID).wer == measure(shots[-1:], SAID).wer
