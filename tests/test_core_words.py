"""Words as text."""

from __future__ import annotations

import pytest

from streamd.core.words import HypothesisWord, bare, covering, is_punctuation, join, spelled, spelled_along


def test_bare_words_keep_what_carries_meaning() -> None:
    assert [bare(text) for text in (" Don't,", "50%", "€5", "¿Qué?", "。")] == ["dont", "50%", "€5", "qué", ""]


def test_signs_that_are_read_aloud_are_no_punctuation() -> None:
    assert [is_punctuation(char) for char in ",。¿%&a"] == [True, True, True, False, False, False]


def test_words_join_as_displayed() -> None:
    assert join([HypothesisWord(" it", 0, 1), HypothesisWord("'s", 1, 2), HypothesisWord(" on", 2, 3)]) == "it's on"
    assert join([]) == ""


def spoken(text: str) -> list[HypothesisWord]:
    return [HypothesisWord(f" {word}", n, n + 1) for n, word in enumerate(text.split())]


@pytest.mark.parametrize(
    ("guess", "text", "told"),
    [
        ("Go forward, ten meters.", "go forward ten", "go forward ten meters."),
        ("Go forward ten meters.", "go forward ten meters", "go forward ten meters."),
        ("Mr. Smith", "Mr", "Mr. Smith"),
        ("a b.", "", "a b."),
        ("Well go now", "well, go", "well, go now"),
        ("And so", "And so my", None),
        ("won too", "one two", None),
    ],
)
def test_words_are_spelled_as_they_were_committed(guess: str, text: str, told: str | None) -> None:
    words = spelled(spoken(guess), text)
    assert (None if words is None else join(words)) == told


@pytest.mark.parametrize(
    ("guess", "text", "said", "left"),
    [
        ("go forward", "Go forward, please", "Go forward,", " please"),
        ("go forward", "go", "go forward", ""),
        ("go", "", "go", ""),
        ("", "go on", "", "go on"),
    ],
)
def test_words_may_end_before_what_was_committed(guess: str, text: str, said: str, left: str) -> None:
    along = spelled_along(spoken(guess), text)
    assert along is not None
    assert (join(along[0]), along[1]) == (said, left)
    assert spelled_along(spoken(f"{guess} something"), f"{text} else altogether") is None


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("go", 1), ("go fo", 2), ("go forward", 2), ("go forward now", 2)]
)
def test_words_that_make_up_a_text_are_counted(text: str, count: int) -> None:
    assert covering(spoken("go forward"), text) == count
