"""A yes is a whole sentence, a no is any word of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.answers import AFFIRMATIONS, CODEWORDS, REFUSALS, affirms, refuses, spoken_codeword

BEFORE_AND_AFTER = st.text(st.characters(categories=["Ll", "Zs"]), min_size=1, max_size=9).filter(str.strip)


@pytest.mark.parametrize(
    "text",
    ["Yes.", "yes, please", "Confirm!", "Ja.", "Bestätigt.", "  YES  ", "Yes. Yes.", "Yes, please. Yes, please."],
)
def test_a_yes(text: str) -> None:
    assert affirms(text)
    assert not refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        *("No.", "Okay, wait, don't run that.", "never confirm that", "yes, no", "not okay", "Cancel that.", "Don’t!"),  # noqa: RUF001
        *("Nein.", "Bitte nicht.", "Abbruch!", "Stopp, falsch."),
    ],
)
def test_a_no(text: str) -> None:
    assert refuses(text)
    assert not affirms(text)


@pytest.mark.parametrize(
    "text", ["", "sure but what does that do exactly", "is it yes", "yesterday", "I said yes", "okay", "yes yes please"]
)
def test_what_is_neither(text: str) -> None:
    assert not affirms(text)
    assert not refuses(text)


@given(st.sampled_from(sorted(AFFIRMATIONS)), BEFORE_AND_AFTER, st.booleans())
def test_a_yes_with_anything_beside_it_is_none_or_another_one(yes: str, more: str, before: bool) -> None:
    said = f"{more} {yes}" if before else f"{yes} {more}"
    assert affirms(said) == (" ".join(said.split()) in AFFIRMATIONS or more.split() == yes.split())


@given(st.sampled_from(sorted(REFUSALS)), BEFORE_AND_AFTER)
def test_a_no_is_heard_in_any_company(no: str, more: str) -> None:
    assert refuses(f"{more} {no} {more}")


@pytest.mark.parametrize(
    ("text", "word"),
    [("Amber.", "amber"), ("Confirm amber!", "amber"), ("code word: tiger", "tiger"), ("amber and silver", None)],
)
def test_a_code_word(text: str, word: str | None) -> None:
    assert spoken_codeword(text) == word


def test_code_words_are_no_answers() -> None:
    assert not any(affirms(word) or refuses(word) for word in CODEWORDS)
