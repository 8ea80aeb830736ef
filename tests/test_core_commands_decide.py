"""Decisions: rejected before asked about, asked about before accepted."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.core.commands.decide import Verdict, decide, read, unsure
from streamd.core.commands.grammar import Grammar
from tests.packs import press_line

GRAMMAR = Grammar(press_line())


def lamp(**safety: Any) -> Grammar:
    return Grammar(press_line(lamp={"name": "lamp", "sentences": {"en": ["lamp"]}, "safety": safety}))


@pytest.mark.parametrize(
    ("heard", "verdict", "reason"),
    [
        (["light on"], Verdict.ACCEPT, "understood"),
        (["set press two to 95"], Verdict.CONFIRM, "it is read back first"),
        (["set press two to 121"], Verdict.REJECT, "speed (rpm): 121 is greater than the maximum of 120"),
        (["light on", "no light on"], Verdict.REJECT, "no order, retracted: “no”"),
        (["he said light on"], Verdict.REJECT, "no order, reported: “said”"),
    ],
)
def test_texts_are_judged(heard: list[str], verdict: Verdict, reason: str) -> None:
    decision = decide(GRAMMAR.match(heard[0], "en"), heard, "en")
    assert (decision.verdict, decision.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("safety", "verdict", "reason"),
    [
        ({"risk": "read"}, Verdict.ACCEPT, "understood"),
        ({"risk": "low"}, Verdict.ACCEPT, "understood"),
        ({"risk": "confirm", "confirm": "codeword"}, Verdict.CONFIRM, "it needs a code word"),
        ({"risk": "confirm", "confirm": "button"}, Verdict.CONFIRM, "it needs a button"),
        ({"risk": "two_person"}, Verdict.CONFIRM, "a second person has to confirm it"),
        ({"risk": "forbidden"}, Verdict.REJECT, "lamp is never done by voice"),
    ],
)
def test_the_risk_decides_who_is_asked(safety: dict[str, Any], verdict: Verdict, reason: str) -> None:
    decision = decide(lamp(**safety).match("lamp"), ["lamp"], "en")
    assert (decision.verdict, decision.reason) == (verdict, reason)
    assert decision.match is not None


def test_what_is_unsure_is_never_done_at_once() -> None:
    for text, verdict in (("light on", "confirm"), ("set press two to 95", "confirm"), ("no light on", "reject")):
        decision = unsure(read(GRAMMAR, text), "in doubt")
        assert (decision.verdict, decision.sure) == (verdict, False)
        assert (decision.reason == "in doubt") is (text == "light on")


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        ("Licht an", None, "understood"),
        ("Licht an", "en", "no command says this"),
        ("Licht nicht an", None, "no order, negated: “nicht”"),
        ("do not light on", None, "no order, negated: “not”"),
        ("hello", None, "no command says this"),
    ],
)
def test_a_text_is_read_in_every_language(text: str, language: str | None, reason: str) -> None:
    assert read(GRAMMAR, text, language).reason == reason


def test_what_was_not_heard_with_certainty_is_asked_about() -> None:
    decision = decide(GRAMMAR.match("light on"), ["light on"], "en", sure=False)
    assert (decision.verdict, decision.reason) == (Verdict.CONFIRM, "it was not heard with certainty")


@pytest.mark.parametrize(("text", "verdict"), [("note now oil", Verdict.ACCEPT), ("note now no", Verdict.REJECT)])
def test_a_word_in_free_text_is_not_excused_by_letters_of_the_sentence(text: str, verdict: Verdict) -> None:
    body = {"sentences": {"en": ["note now {text}"]}, "params": {"text": {"type": "string"}}, "safety": {"risk": "low"}}
    grammar = Grammar(press_line(note={"name": "note"} | body))
    assert decide(grammar.match(text), [text], "en").verdict is verdict
