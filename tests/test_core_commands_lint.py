"""Lint: what is wrong with a pack is an error, what is unwise a warning, and a good pack has neither."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.core.commands import lattice
from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar
from streamd.core.commands.lint import Finding, lint, unusable
from tests.packs import press_line

TESTS = {"accept": ["lamp now"], "reject": ["lamp"]}
LAMP = {"name": "lamp", "sentences": {"en": ["lamp now"]}, "tests": TESTS}


def findings(words: dict[str, Any] | None = None, **commands: dict[str, Any]) -> list[Finding]:
    packed = {name: {"name": name} | LAMP | body for name, body in commands.items()}
    for name, body in packed.items():
        body["name"] = name
    return lint(Grammar(Pack.model_validate({"commands": packed, "words": {"en": words or {}}})))


def messages(found: list[Finding], level: str) -> list[str]:
    return [finding.message for finding in found if finding.level == level]


def test_a_good_pack_has_no_findings() -> None:
    assert findings(lamp={}) == []


NUMBER = {"type": "integer", "minimum": 20, "maximum": 29}
SWITCH = {
    "sentences": {"en": ["now lamp", "lamp {state}"]},
    "params": {"state": {"enum": ["now", "later"], "optional": True}},
}


@pytest.mark.parametrize(
    ("commands", "words", "message"),
    [
        ({"lamp": {"tests": {"accept": ["lamp later"]}}}, {}, "“lamp later” should be lamp, but no command says this"),
        (
            {"lamp": {"tests": {"accept": [{"text": "lamp now", "params": {"a": 1}}]}}},
            {},
            "“lamp now” should be lamp(a=1), but it is lamp()",
        ),
        (
            {"lamp": SWITCH | {"tests": {"accept": [{"text": "lamp now", "params": {"state": True}}]}}},
            {},
            '“lamp now” should be lamp(state=true), but it is lamp(state="now")',
        ),
        (
            {"lamp": {"tests": {"accept": ["torch on"]}}, "torch": {"sentences": {"en": ["torch on"]}}},
            {},
            "“torch on” should be lamp, but it is torch()",
        ),
        (
            {"lamp": SWITCH | {"tests": {"accept": ["lamp soon"]}}},
            {},
            "“lamp soon” should be lamp, but no command says this: “soon” is none of the values of state: now, later",
        ),
        (
            {"lamp": {"tests": {"accept": [{"text": "lamp now?", "params": {}}]}}},
            {},
            "“lamp now?” should be lamp(), but question: “?”",
        ),
        ({"lamp": {"tests": {"reject": ["Lamp now!"]}}}, {}, "“Lamp now!” should be rejected, but it is lamp()"),
        ({"lamp": {}, "torch": {"tests": {}}}, {}, "“lamp now” is lamp() as well as torch()"),
        ({"lamp": {}, "torch": SWITCH}, {}, "“lamp now” is lamp() as well as torch(state=now)"),
        (
            {"dial": {"sentences": {"en": ["dial {a} {b}"]}, "params": {"a": NUMBER, "b": {"enum": ["five", "six"]}}}},
            {},
            "“dial twenty five” is dial(a=20, b=five) but isn't understood as that",
        ),
        ({"halt": {"sentences": {"en": ["abort"]}}}, {}, "“abort” alone answers questions: say more in the sentence"),
        ({"dye": {"sentences": {"en": ["silver"]}}}, {}, "“silver” alone answers questions: say more in the sentence"),
        ({"dye": {"sentences": {"en": ["code amber"]}}}, {}, "“code amber” alone answers questions"),
        (
            {"lamp": {"dispatch": {"http": {"url": "http://lamp/{state}", "body": {"a": "{b}"}}}}},
            {},
            "{b} is no parameter of lamp",
        ),
    ],
)  # fmt: skip
def test_errors(commands: dict[str, Any], words: dict[str, Any], message: str) -> None:
    assert any(message in said for said in messages(findings(words, **commands), "error"))


@pytest.mark.parametrize(
    ("commands", "words", "message"),
    [
        (
            {"dial": {"sentences": {"en": ["dial [to {a}]"]}, "params": {"a": NUMBER}}},
            {},
            "“dial” lacks a, so it is always refused: say it, or make it optional",
        ),
        (
            {"dial": {"sentences": {"en": ["dial {a}"]}, "params": {"a": {"enum": ["in"]}}}},
            {"lists": {"a": {"values": ["in", "out"]}}},
            "can be said in en, and is always refused: 'out' is not one of ['in']",
        ),
        (
            {"memo": {"sentences": {"en": ["memo {a}"]}, "params": {"a": {"type": "string"}}}},
            {"lists": {"a": {"wildcard": True}}},
            "takes any words: what was said beside an order ends up in it",
        ),
        ({"lamp": {"sentences": {"fr": ["lampe"]}}}, {}, "negations and questions are only known in en, de"),
        (
            {"lamp": {"sentences": {"en": ["do not disturb"]}}},
            {},
            "“not” makes other texts no order; here it is excused",
        ),
        ({"lamp": {"tests": {}}}, {}, "has no tests.accept"),
        ({"lamp": {"tests": {"accept": ["lamp now"]}}}, {}, "has no tests.reject"),
        (
            {
                "a": {"sentences": {"en": ["lock it"]}},
                "b": {"sentences": {"en": ["unlock it"]}, "safety": {"risk": "low"}},
            },
            {},
            "“lock it” and “unlock it” sound alike (en): have it confirmed, or rename",
        ),
        (
            {"a": {"sentences": {"en": ["use {a}", "{a} on"]}, "params": {"a": {"enum": ["press_2", "press_3"]}}}},
            {},
            "“press 2” and “press 3” sound alike (en): it is confirmed before it is done",
        ),
        (
            {
                "dim": {
                    "sentences": {"en": ["dim to {a}"]},
                    "params": {"a": {"type": "integer", "maximum": 30}},
                    "safety": {"risk": "low"},
                }
            },
            {},
            "“13” and “30” sound alike (en): have it confirmed, or rename",
        ),
    ],
)  # fmt: skip
def test_warnings(commands: dict[str, Any], words: dict[str, Any], message: str) -> None:
    assert message in messages(findings(words, **commands), "warning")


def test_a_pack_may_be_too_large_to_be_compared_with_a_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice, "MOST_LISTED", 1)
    assert any("everything is asked about" in finding.message for finding in lint(Grammar(press_line())))


def test_a_pack_is_unusable_by_its_own_tests_and_not_by_warnings() -> None:
    fails = press_line(lamp=LAMP | {"tests": {"reject": ["lamp now"]}})
    found = unusable(Grammar(fails))
    assert found is not None
    assert found.message == "“lamp now” should be rejected, but it is lamp()"
    assert unusable(Grammar(press_line(lamp={"name": "lamp", "sentences": {"en": ["lamp now"]}}))) is None


def test_many_pairs_are_counted() -> None:
    values = [f"{letter}a" for letter in "bdfgklmnprst"]
    params = {"a": {"enum": values}}
    found = messages(findings(a={"sentences": {"en": ["use the {a} one"]}, "params": params}), "warning")
    assert sum("sound alike" in message for message in found) == 6
    assert found[-1] == f"{len(values) * (len(values) - 1) // 2 - 5} more pairs sound alike (en)"
    said = {"en": [{"template": f"use {value}", "params": {"a": value}} for value in values]}
    found = messages(findings(a={"sentences": said, "params": params}), "warning")
    assert found[-1] == f"{len(values) * (len(values) - 1) // 2 - 5} more pairs sound alike (en)"


def test_a_list_that_commands_share_is_told_of_once() -> None:
    params = {"a": {"enum": ["press_2", "press_3"]}}
    said = {name: {"sentences": {"en": [f"{name} it {{a}}"]}, "params": params} for name in ("start", "weigh")}
    assert sum("“press 2” and “press 3”" in message for message in messages(findings(**said), "warning")) == 1


def test_findings_say_where() -> None:
    (found,) = findings(lamp={"tests": {"accept": ["lamp now"], "reject": ["lamp now"]}})
    assert found == Finding(
        "error", ("commands", "lamp", "tests", "reject", 0), "“lamp now” should be rejected, but it is lamp()"
    )
