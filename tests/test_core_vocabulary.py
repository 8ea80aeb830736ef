"""Names and jargon: put right where it can be, refused with a reason where it can't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.vocabulary import MOST_CHARACTERS, MOST_TERMS, TERM_CHARACTERS, vocabulary


def test_terms_are_put_right_and_kept_in_order() -> None:
    assert vocabulary(["  Jeffrey \n Bigham", "C++", "字幕", "lasecki", "Lasecki"]) == (
        "Jeffrey Bigham",
        "C++",
        "字幕",
        "lasecki",
    )
    assert vocabulary(["Zo\u0301e"]) == ("Zóe",)
    assert vocabulary([]) == ()


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        (["Lasecki", ""], "'' is no term: it has neither letters nor digits"),
        (["..."], "'...' is no term"),
        (["x" * (TERM_CHARACTERS + 1)], f"is longer than {TERM_CHARACTERS} characters: give words, not sentences"),
        (["<|endoftext|>"], "'<|endoftext|>' holds '<', which no word has"),
        (["a\u0000b"], "which no word has"),
        (["a\u202eb"], "which no word has"),
        ([str(n) for n in range(MOST_TERMS + 1)], f"at most {MOST_TERMS} terms, not {MOST_TERMS + 1}"),
        ([f"{n:050}" for n in range(13)], f"at most {MOST_CHARACTERS} characters, not 650"),
    ],
)
def test_what_can_not_be_is_named(terms: list[str], reason: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is compared
        vocabulary(terms)
    assert reason in str(refused.value)


@given(st.lists(st.text(max_size=70), max_size=8))
def test_what_is_accepted_is_accepted_again(terms: list[str]) -> None:
    try:
        accepted = vocabulary(terms)
    except ValueError:
        return
    assert vocabulary(accepted) == accepted
    assert len({term.casefold() for term in accepted}) == len(accepted)
