"""Which value of a slot there is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.grammar import Grammar, Match
from streamd.core.commands.unknown import unknown
from tests.packs import press_line

PRESSES = {"params": {"press": {"type": "string"}}, "sentences": {"en": ["oil {press}"], "de": ["öle {press}"]}}
GRAMMAR = Grammar(press_line(oil={"name": "oil", **PRESSES}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Set press four to 95.", "“four” is none of the values of press: press 1, press 2, press 3, press 21"),
        ("set pump two to 95", "“pump” is none of the values of press: press 2, "),
        ("oil press one two", "“press one two” is none of the values of press: "),
        ("oil Press forty-four!", "“forty-four” is none of the values of press: "),
        ("öle vierundvierzig", "“vierundvierzig” is none of the values of press: "),
        ("set press two to a hundred or so", "“a hundred or so” is no number for speed"),
        ("tilt 95 degrees", "“95” is no number for angle"),
    ],
)
def test_it_is_named_as_it_was_said(text: str, reason: str) -> None:
    assert (unknown(GRAMMAR, text) or "").startswith(reason)


def test_of_many_values_those_are_told_that_are_like_it() -> None:
    drinks = ["black tea", "coffee", "cocoa", "green tea", "water", "milk"]
    drink = {"name": "drink", "sentences": {"en": ["bring {drink} [please]"]}, "params": {"drink": {"enum": drinks}}}
    grammar = Grammar(press_line(drink=drink))
    assert unknown(grammar, "bring red tea please") == (
        "“red” is none of the values of drink: green tea, black tea, water, coffee, …"
    )


def test_what_was_taken_apart_is_told_as_it_was_read() -> None:
    """Half of a word is no part of the text."""
    assert unknown(GRAMMAR, "set press two/four to 95") == (
        "“/ 4” is none of the values of press: press 2, press 21, press 1, press 3"
    )


@pytest.mark.parametrize(
    "text", ["", "set press two to", "set press two to 95", "set press four to fast", "oil", "what a nice day it is"]
)
def test_what_differs_in_more_than_a_value_or_in_none_is_not_told(text: str) -> None:
    assert unknown(GRAMMAR, text) is None


def test_too_much_is_no_value() -> None:
    assert unknown(GRAMMAR, "oil the one on the left") is not None
    assert unknown(GRAMMAR, "oil the one on the left side") is None


def test_one_language_is_asked_if_it_is_known() -> None:
    assert unknown(GRAMMAR, "oil press four", "de") is None
    assert unknown(GRAMMAR, "oil press four", "fr") is None


@given(
    st.sampled_from([("set", "to 95"), ("oil", "")]),
    st.lists(st.sampled_from(["press", "one", "two", "four", "x"]), min_size=1, max_size=4),
)
def test_it_is_known_or_named(around: tuple[str, str], said: list[str]) -> None:
    text = " ".join([around[0], *said, around[1]])
    assert (unknown(GRAMMAR, text, "en") is None) == isinstance(GRAMMAR.match(text, "en"), Match)
