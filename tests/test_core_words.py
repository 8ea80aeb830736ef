"""Words as text."""

from __future__ import annotations

from streamd.core.words import HypothesisWord, bare, is_punctuation, join


def test_bare_words_keep_what_carries_meaning() -> None:
    assert [bare(text) for text in (" Don't,", "50%", "€5", "¿Qué?", "。")] == ["dont", "50%", "€5", "qué", ""]


def test_signs_that_are_read_aloud_are_no_punctuation() -> None:
    assert [is_punctuation(char) for char in ",。¿%&a"] == [True, True, True, False, False, False]


def test_words_join_as_displayed() -> None:
    assert join([HypothesisWord(" it", 0, 1), HypothesisWord("'s", 1, 2), HypothesisWord(" on", 2, 3)]) == "it's on"
    assert join([]) == ""
