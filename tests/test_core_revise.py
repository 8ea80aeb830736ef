"""What a second reading changes: only the words that it reads otherwise; and the changes lead to the new text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.events import Change
from streamd.core.revise import patched, revise
from streamd.core.words import HypothesisWord, bare, join


def said(text: str, start_s: float = 0.0) -> tuple[HypothesisWord, ...]:
    """Words of a text that is written with spaces."""
    return tuple(HypothesisWord(f" {word}", start_s + n, start_s + n + 1) for n, word in enumerate(text.split()))


def each(text: str) -> tuple[HypothesisWord, ...]:
    """A word for each character."""
    return tuple(HypothesisWord(char, n / 4, n / 4 + 0.25) for n, char in enumerate(text))


words = st.builds(
    lambda space, text: HypothesisWord(space + text, 0.0, 0.0),
    st.sampled_from(("", " ")),
    st.sampled_from(("a", "B", "b.", "c,", "Cat", "你", "好", "。", "ก", "नम", "ス", "10", "-")),
)
texts = st.lists(words, max_size=8)


@pytest.mark.parametrize(
    ("shown", "read", "text", "changes"),
    [
        ("Ask mister Lasagne, now.", "ask Mister Lasecki now", "Ask mister Lasecki now.", [(10, 19, " Lasecki")]),
        ("we walked Home.", "We walked home", "we walked Home.", []),
        ("It is far.", "It is not far.", "It is not far.", [(5, 5, " not")]),
        ("It is is far.", "It is far.", "It is far.", [(5, 8, "")]),
        ("meters.", "meters from here.", "meters from here.", [(0, 7, "meters from here.")]),
        ("Hello there", "Well, hello there", "Well, hello there", [(0, 5, "Well, hello")]),
        ("uh hello there", "Hello there", "Hello there", [(0, 8, "Hello")]),
        ("no", "yes", "yes", [(0, 2, "yes")]),
    ],
)
def test_words_are_corrected(shown: str, read: str, text: str, changes: list[tuple[int, int, str]]) -> None:
    revision = revise(said(shown), said(read))
    assert revision.text == text
    assert patched(shown, revision.changes) == text
    assert [(change.start, change.stop, change.text) for change in revision.changes] == changes


def test_text_without_spaces_is_corrected_by_the_character() -> None:
    revision = revise(each("今日は天汽がいい。"), each("今日は天気がいい"))
    assert revision.text == "今日は天気がいい。"
    assert revision.changes == (Change(start=4, stop=5, text="気"),)


def test_words_that_stay_keep_their_times() -> None:
    revision = revise(said("one two three four"), said("one too three four", start_s=50))
    assert [word.start_s for word in revision.words] == [0, 51, 2, 3]  # those beside one that changes stay


@given(texts, texts)
def test_the_changes_lead_from_one_text_to_the_other(shown: list[HypothesisWord], read: list[HypothesisWord]) -> None:
    revision = revise(shown, read)
    assert patched(join(shown), revision.changes) == revision.text
    assert bare(revision.text) == bare(join(read))
    ends = [(change.start, change.stop) for change in revision.changes]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    assert all(0 <= start <= stop <= len(join(shown)) for start, stop in ends)


@given(texts)
def test_what_reads_the_same_is_not_changed(shown: list[HypothesisWord]) -> None:
    louder = [HypothesisWord(word.text.upper() + "!", 9.0, 9.0) for word in shown]
    assert revise(shown, louder).changes == ()
    assert revise(shown, louder).words == tuple(shown)
