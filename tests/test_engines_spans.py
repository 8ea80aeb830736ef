"""Tokens become words, and loops are cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.engines.spans import TokenSpan, without_loop, words


def decode(tokens: Sequence[int]) -> str:
    """Each byte is a token."""
    return bytes(tokens).decode(errors="replace")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Hello, world!", ["Hello,", " world!"]),
        (" don't (really) stop", [" don't", " (really)", " stop"]),
        ("ten - twelve", ["ten", " -", " twelve"]),
        ("今日は、いい", ["今", "日", "は、", "い", "い"]),
        ("เด็ก", ["เด็", "ก"]),
        ("", []),
    ],
)
def test_where_words_begin(text: str, parts: list[str]) -> None:
    pieces = [span.text for span in words(text.encode(), decode)]
    assert pieces == parts


@given(st.text(max_size=40))
def test_words_are_the_whole_text_and_hold_every_token_once(text: str) -> None:
    tokens = text.encode()
    spans = words(tokens, decode)
    assert "".join(span.text for span in spans) == text
    assert [n for span in spans for n in range(span.start, span.stop)] == list(range(len(tokens)))


def test_a_byte_that_begins_no_character_does_not_swallow_what_follows() -> None:
    tokens = b"\xe5 one \xff two"
    assert [span.text for span in words(tokens, decode)] == [
        "\N{REPLACEMENT CHARACTER}",
        " one",
        " \N{REPLACEMENT CHARACTER}",
        " two",
    ]


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    assert words("é".encode()[:1], decode) == [TokenSpan("\N{REPLACEMENT CHARACTER}", 0, 1)]


@pytest.mark.parametrize("tail", [[7], [7, 8], list(range(20, 32))])
def test_a_loop_is_cut_after_its_first_turn(tail: list[int]) -> None:
    assert without_loop([1, 2, 3, *tail * 3]) == [1, 2, 3, *tail]
    assert without_loop([1, 2, 3, *tail * 5]) == [1, 2, 3, *tail]


def test_saying_something_twice_is_no_loop() -> None:
    assert without_loop([5, 6, 5, 6, 9, 9]) == [5, 6, 5, 6, 9, 9]
