"""What sounds alike: the pairs that are known from factories, and not what only looks alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.confusable import CONFUSABLE, confusable, distance, in_words, sounds

ALIKE = [
    ("en", "press two", "press three"),
    ("en", "press 2", "press 3"),
    ("en", "belt two", "belt three"),
    ("en", "lock", "unlock"),
    ("en", "light on", "light off"),
    ("en", "fifteen", "fifty"),
    ("en", "15", "50"),
    ("en", "start the line", "restart the line"),
    ("de", "Presse zwei", "Presse drei"),
    ("de", "Licht an", "Licht aus"),
    ("de", "Klappe auf", "Klappe aus"),
    ("de", "Tür verriegeln", "Tür entriegeln"),
    ("de", "die Presse hochfahren", "die Presse herunterfahren"),
    ("en", "engage the robot arm", "disengage the robot arm"),
    ("fr", "presse 2", "presse 2 x"),
]
UNLIKE = [
    ("en", "latte", "mocha"),
    ("en", "small", "large"),
    ("en", "press seven", "press two"),
    ("de", "Schutztür öffnen", "Schutztür schließen"),
    ("cs", "2", "30"),
]


@pytest.mark.parametrize(("language", "one", "other"), ALIKE)
def test_alike(language: str, one: str, other: str) -> None:
    found = confusable([("a", one), ("a", one + " or so"), ("b", other)], language)
    assert [(one, other)] == [(first, second) for first, second, _ in found]


@pytest.mark.parametrize(("language", "one", "other"), UNLIKE)
def test_unlike(language: str, one: str, other: str) -> None:
    assert confusable([("a", one), ("b", other)], language) == []


def test_phrases_of_one_meaning_may_sound_alike() -> None:
    assert confusable([("a", "light on"), ("a", "light off")], "en") == []
    assert confusable([], "en") == []


def test_the_nearest_pair_of_two_meanings_is_told() -> None:
    phrases = [(1, "lock it"), (1, "shut it"), (2, "unlock it"), (2, "shot it"), (3, "press ten")]
    assert confusable(phrases, "en") == [("shut it", "shot it", 0.5)]


def test_numbers_are_spelt_out() -> None:
    assert in_words("set press 2 to -95 or 2.5", "en") == "set press two to minus ninety-five or 2.5"
    assert in_words("Presse 21", "de") == "Presse einundzwanzig"
    assert in_words("press 2", "xx") == "press two"  # a language of which nothing is known
    assert sounds("Press 21", "en") == sounds("press twenty-one", "en")


def test_of_very_many_pairs_the_nearest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.core.commands.confusable._PAIRS", 1)
    assert confusable([(number, word) for number, word in enumerate(("bat", "lock", "pat", "rock it"))], "en") == [
        ("bat", "pat", 0.5)
    ]


SPELT = st.text("aeioupbtdkgfvszmnlr", max_size=12)


@given(SPELT, SPELT)
def test_a_distance_is_one(one: str, other: str) -> None:
    """Symmetric, zero for the same only, and never more than each sound changed."""
    apart = distance(one, other)
    assert apart == distance(other, one)
    assert (apart == 0) == (one == other)
    assert apart <= max(len(one), len(other))


@given(st.lists(SPELT.map(lambda text: f"x {text}"), max_size=8, unique=True))
def test_no_pair_is_overlooked(phrases: list[str]) -> None:
    """The quick comparison leaves nothing out that the slow one finds."""
    said = [(phrase, phrase) for phrase in phrases]
    near = {
        frozenset((one, other))
        for one in phrases
        for other in phrases
        if one < other and distance(sounds(one, "xx"), sounds(other, "xx")) <= CONFUSABLE
    }
    assert {frozenset(pair[:2]) for pair in confusable(said, "xx")} == near
