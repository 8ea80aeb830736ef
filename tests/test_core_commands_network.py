"""A network is followed, counted and spread over, without knowing what its sentences are about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.network import Free, Network, Node, Slot
from streamd.core.commands.sources import Anything, Listed

COLOURS = Network(
    [Node(words={"red": [1], "dark": [2]}), Node(ends=["red"]), Node(words={"red": [3]}), Node(ends=["dark red"])]
)
LISTED = Listed(COLOURS)
# lamp ([on] {colour} | {shade}) [{colour} | 7 | {note}]
LAMP = Network(
    [
        Node(words={"lamp": [1, 2]}),
        Node(words={"on": [2]}, slots=[Slot("shade", LISTED, 3)]),
        Node(slots=[Slot("colour", LISTED, 3)]),
        Node(slots=[Slot("colour", LISTED, 4), Slot("note", Anything(), 4)], words={"7": [4]}, ends=["lamp"]),
        Node(ends=["lamp", "two"]),
    ]
)


def walked(text: str) -> set[tuple[int, object, tuple[tuple[str, object], ...], tuple[str, ...]]]:
    return set(LAMP.walk(text.split()))


def test_a_text_is_followed_and_everything_told_that_its_beginning_may_be() -> None:
    red = ("colour", "red")
    assert walked("lamp red") == {
        (2, "lamp", (red,), ("lamp", "red")),
        (2, "lamp", (("shade", "red"),), ("lamp", "red")),
    }
    assert walked("lamp on red 7") == {
        (3, "lamp", (red,), ("lamp", "on", "red")),
        (4, "lamp", (red,), ("lamp", "on", "red", "7")),
        (4, "two", (red,), ("lamp", "on", "red", "7")),
        (4, "lamp", (red, ("note", "7")), ("lamp", "on", "red")),
        (4, "two", (red, ("note", "7")), ("lamp", "on", "red")),
    }
    assert walked("lamp") == walked("") == walked("red lamp") == set()


def test_it_may_begin_within_a_text() -> None:
    assert list(COLOURS.walk(["very", "dark", "red"], 1)) == [(3, "dark red", (), ("dark", "red"))]


def test_words_of_a_wildcard_are_free() -> None:
    notes = [params[1][1] for _, _, params, _ in walked("lamp on red oil") if len(params) > 1]
    assert notes
    assert all(isinstance(note, Free) for note in notes)


def test_its_words_are_known_without_numbers() -> None:
    assert LAMP.vocabulary == {"lamp", "on"}


def test_every_sentence_has_a_number_and_is_found_again() -> None:
    said = [LAMP.say(index) for index in range(LAMP.size)]
    assert LAMP.size == len(set(said)) == 54
    for words, meaning, params in said:
        assert (len(words), meaning, params) in {(end, *rest) for end, *rest, _ in LAMP.walk(words)}
    for index in (-1, LAMP.size):
        with pytest.raises(IndexError, match="there are 54 sentences"):
            LAMP.say(index)


@given(st.integers(1, 50))
def test_sentences_are_spread_over_it(count: int) -> None:
    chosen = list(LAMP.spread(count))
    assert len(chosen) == len(set(chosen))
    assert set(chosen) <= set(range(LAMP.size))
    assert count < LAMP.size or len(chosen) == LAMP.size
