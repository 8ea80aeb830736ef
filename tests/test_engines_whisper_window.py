"""What of an utterance is heard again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd.core.words import HypothesisWord, join
from streamd.engines.whisper.window import EMPTY_S, KEPT_S, KEPT_WORDS, ONSET_S, empty_s, settled, start_s


def said(text: str, each_s: float = 0.4) -> tuple[HypothesisWord, ...]:
    return tuple(HypothesisWord(" " + word, n * each_s, (n + 1) * each_s) for n, word in enumerate(text.split()))


LONG = said("one two three four five six seven eight nine ten eleven twelve thirteen fourteen")


def test_nothing_is_left_out_before_enough_is_committed() -> None:
    assert settled(LONG, "") == 0
    assert settled(LONG, "one two three four five six") == 0
    assert start_s(LONG, 0) == 0.0


def test_what_was_committed_long_ago_is_left_out() -> None:
    committed = "one two three four five six seven eight nine ten"
    count = settled(LONG, committed)
    assert join(LONG[:count]) == "one two"
    assert LONG[9].end_s - start_s(LONG, count) >= KEPT_S


def test_slow_words_are_kept_for_their_number() -> None:
    slow = said("one two three four five", each_s=4.0)
    assert settled(slow, "one two three four five") == 5 - KEPT_WORDS


def test_a_guess_that_is_not_what_was_committed_is_heard_whole() -> None:
    assert settled(LONG, "one two free four five six seven eight nine ten") == 0


@given(st.lists(st.sampled_from([" a", " bee.", " c,", "d"]), max_size=30), st.integers(0, 40))
def test_what_is_left_out_was_committed(texts: list[str], length: int) -> None:
    words = tuple(HypothesisWord(text, n * 0.3, n * 0.3 + 0.2) for n, text in enumerate(texts))
    committed = join(words)[:length]
    count = settled(words, committed)
    assert committed.startswith(join(words[:count]))
    assert 0 <= start_s(words, count) <= (words[count].start_s if count else 0.0)


def test_sound_without_words_is_not_heard_for_ever() -> None:
    assert empty_s(EMPTY_S, 0.0) == 0.0
    begins_s = empty_s(EMPTY_S + 0.1, 0.0)
    assert EMPTY_S + 0.1 - begins_s == ONSET_S
    assert empty_s(EMPTY_S + 0.3, begins_s) == begins_s
