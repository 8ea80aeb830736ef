"""What was heard becomes the words of a grammar: the same however numbers were said or written."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unicode_rbnf import RbnfEngine

from streamd.core.commands.spoken import SIGNS, figure, is_figure, value, words

HEARD = [
    ("en", "Set press two to ninety-five point five RPM.", "set press 2 to 95.5 rpm"),
    ("en", "to a hundred and twenty", "to 120"),
    ("en", "two and a half bar", "2.5 bar"),
    ("en", "this one, or that one", "this 1 or that 1"),
    ("en", "minus five, minus, minus", "-5 minus minus"),
    ("en", "5 minus", "5 minus"),
    ("en", "minus minus 5", "minus minus 5"),
    ("en", "minus ten minus the rest", "-10 minus the rest"),
    ("en", "the second press and the first, twenty seconds", "the second press and the first 20 seconds"),
    ("en", "1,200.5 rpm, 95% and 70°C at 5mm/s", "1200.5 rpm 95 % and 70 ° c at 5 mm / s"),
    ("en", "I\N{RIGHT SINGLE QUOTATION MARK}d like \N{MINUS SIGN}5 to 10-20", "i'd like -5 to 10 20"),
    ("en", "to $95, or to 95 €", "to $ 95 or to 95 €"),  # is not 95
    ("en", "press two, three", "press 2 3"),
    ("de", "Stell Presse zwei auf hundertzwanzig ein!", "stell presse 2 auf 120 ein"),
    ("de", "auf hundert ein", "auf 100 ein"),  # not 101: it is half of the verb
    ("de", "2,5 Bar, zwei Komma fünf Bar, 1.200 und 1.200,5", "2.5 bar 2.5 bar 1200 und 1200.5"),
    ("de", "zweieinhalb, anderthalb, 1.5", "2.5 1.5 1.5"),
    ("de", "die zweite Presse", "die zweite presse"),
    ("fr", "quatre-vingt-quinze", "95"),
    ("cs", "pět 5", "pět 5"),
]


@pytest.mark.parametrize(("language", "text", "said"), HEARD)
def test_words_of_a_text(language: str, text: str, said: str) -> None:
    assert " ".join(words(text, language)) == said


@given(st.integers(0, 9_999), st.sampled_from(["en", "de"]))
def test_numbers_are_the_same_in_words_and_in_figures(number: int, language: str) -> None:
    in_words = RbnfEngine.for_language(language).format_number(number).text
    assert words(in_words.replace("\u00ad", ""), language) == words(f"{number}", language) == (str(number),)


@given(st.decimals(-1_000, 10_000, places=2), st.sampled_from(["en", "de"]))
def test_figures_are_read_as_they_are_written(number: Decimal, language: str) -> None:
    (word,) = words(figure(float(number), language), language)
    assert is_figure(word)
    assert value(word) == number


@given(st.text())
def test_every_text_has_words_that_are_spoken(text: str) -> None:
    for word in words(text, "en"):
        assert word == word.strip() != ""
        assert any(char.isalnum() or char in SIGNS for char in word)
