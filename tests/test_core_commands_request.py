"""Who may say what, how old speech may be, and how soon it may be done again."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.core.commands.definition import Command, Safety
from streamd.core.commands.request import Person, Request, cooling, refusal

SPEAKER, ANNA = Person(None, "speaker"), Person("a1", "operator")


def request(speaker: Person = SPEAKER, said_ms: int = 0, sure: bool = True, **safety: Any) -> Request:
    command = Command(name="light_on", sentences={"en": ("light on",)}, safety=Safety(**safety))
    return Request("c1", command, {}, 1, "light on", said_ms, speaker, sure)


@pytest.mark.parametrize(
    ("person", "roles", "may"),
    [
        (SPEAKER, (), True),
        (ANNA, ("speaker",), True),
        (SPEAKER, ("operator",), False),
        (ANNA, ("maintenance",), False),
        (Person(None, "maintenance"), ("maintenance",), True),
    ],
)
def test_a_role_may_do_what_those_below_may(person: Person, roles: tuple[str, ...], may: bool) -> None:
    assert person.may(roles) is may


def test_a_person_is_named_by_role_and_token() -> None:
    assert (SPEAKER.name, ANNA.name) == ("speaker", "operator a1")


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        (request(risk="read"), None),
        (request(risk="low"), None),
        (request(risk="low", sure=False), "readback"),
        (request(risk="confirm"), "readback"),
        (request(risk="confirm", confirm="codeword", sure=False), "codeword"),
        (request(risk="confirm", confirm="button"), "button"),
        (request(risk="two_person"), "two_person"),
    ],
)
def test_the_risk_says_what_is_asked(given: Request, asks: str | None) -> None:
    assert given.asks == asks


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (request(), None),
        (request(risk="forbidden"), "this is never done by voice"),
        (request(roles=("operator",)), "only for operator; it was said by a speaker"),
        (request(said_ms=-5_000), None),
        (request(said_ms=-5_100), "it was said 5.1 s ago, which is too long: say it again"),
    ],
)
def test_what_may_not_be_done_is_refused_with_the_reason(given: Request, reason: str | None) -> None:
    assert refusal(given, 0) == reason


def test_a_command_cools_down() -> None:
    given = request(cooldown_s=3)
    assert cooling(given, {"light_off": 900}, 1_000) is None
    assert cooling(given, {"light_on": 900}, 1_000) == "it was done a moment ago; again in 2.9 s"
    assert cooling(given, {"light_on": 900}, 3_900) is None
