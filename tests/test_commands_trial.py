"""Trials: what would be done and why, as one line of JSON or in words."""

from __future__ import annotations

import json

import pytest

from streamd.commands.trial import Trial, one_of, try_text
from streamd.core.commands import lattice
from streamd.core.commands.decide import Verdict
from streamd.core.commands.grammar import Grammar
from streamd.errors import UsageError
from tests.packs import press_line

GRAMMAR = Grammar(press_line())


def test_an_accepted_text() -> None:
    tried = try_text(GRAMMAR, "switch off the lights")
    assert json.loads(tried.as_json()) == {
        "input": "switch off the lights",
        "decision": "accept",
        "name": "light",
        "params": {"on": False},
        "reason": "understood",
        "nearest": "switch off the lights",
        "scores": {},
        "limits": [],
        "heard": None,
        "answer": None,
    }
    assert tried.in_words() == "accept  light(on=False): understood\n        “switch off the lights”"


def test_a_text_that_is_asked_about() -> None:
    tried = try_text(GRAMMAR, "Set press two to ninety", "en")
    assert (tried.decision, tried.name, tried.params) == ("confirm", "set_speed", {"press": "press_2", "speed": 90})
    assert tried.in_words().splitlines()[-1] == "        nearest: “set press 2 to 90”"


@pytest.mark.parametrize(
    ("text", "reason", "nearest"),
    [
        ("turn off lights please", "no command says this", "turn off lights"),
        ("set press two to 121", "speed (rpm): 121 is greater than the maximum of 120", None),
        ("don't turn off lights", "no order, negated: “don't”", "turn off lights"),
        ("Licht nicht an", "no order, negated: “nicht”", "licht an"),
    ],
)
def test_a_rejected_text_has_a_reason_and_a_neighbour(text: str, reason: str, nearest: str | None) -> None:
    tried = try_text(GRAMMAR, text)
    assert (tried.decision, tried.name, tried.params, tried.reason) == ("reject", None, {}, reason)
    assert nearest in (None, tried.nearest)


def test_a_language_is_one_of_the_packs() -> None:
    assert [one_of(GRAMMAR, tag) for tag in ("de", "DE", "de-DE", "en_US")] == ["de", "de", "de", "en"]
    for tag in ("fr", "xx", "english", ""):
        with pytest.raises(UsageError, match=rf"--language {tag}: .* in de, en: give one of them, or leave it out"):
            one_of(GRAMMAR, tag)


def test_of_a_very_large_grammar_everything_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice, "MOST_LISTED", 1)
    assert (try_text(GRAMMAR, "light on").decision, try_text(GRAMMAR, "light").decision) == ("confirm", "reject")


def test_a_value_that_there_is_not_is_named() -> None:
    assert try_text(GRAMMAR, "set press four to 95", "en").reason == (
        "no command says this: “four” is none of the values of press: press 1, press 2, press 3, press 21"
    )
    assert try_text(GRAMMAR, "set press never to 95", "en").reason == "no order, negated: “never”"


@pytest.mark.parametrize("text", ["Undo that.", "mach das rückgängig"])
def test_what_takes_back_is_no_sentence_of_the_pack(text: str) -> None:
    tried = try_text(GRAMMAR, text)
    assert (tried.decision, tried.name, tried.answer, tried.nearest) == ("reject", None, "undo", None)
    assert "no command of the pack has an undo" in tried.reason
    pack = press_line(lift={"name": "lift", "sentences": {"en": ["lift it"]}, "undo": {"http": {"url": "http://x/"}}})
    tried = try_text(Grammar(pack), text)
    assert (tried.decision, tried.name, tried.answer) == ("confirm", None, "undo")
    assert tried.reason == "takes back what was sent last, if that was lift and in the last 60 s"
    assert tried.in_words().splitlines()[-1] == "        as an answer: calls off what has not been sent yet"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", "yes"),
        ("ja bitte", "yes"),
        ("Code word amber.", "codeword"),
        ("stop", "no"),
        ("Abbruch!", "no"),
        ("don't turn off lights", "no"),
        ("turn lights", None),
    ],
)
def test_what_answers_a_question_is_told(text: str, answer: str | None) -> None:
    tried = try_text(GRAMMAR, text)
    assert (tried.decision, tried.answer) == ("reject", answer)
    assert ("as an answer: " in tried.in_words()) == (answer is not None)
    assert (tried.nearest is None) == (answer is not None and "lights" not in text), "which is no order at all"


def test_a_command_with_a_no_in_it_voids_what_was_asked_before_as_every_command_does() -> None:
    tried = try_text(GRAMMAR, "stop line now")
    assert (tried.decision, tried.answer) == ("accept", None)


def test_what_stands_behind_a_decision_is_shown() -> None:
    scores, limits = {"margin": 1.14159, "gap": 0.0}, ("margin 1.142 (at least 2)",)
    tried = Trial("a.flac", Verdict.CONFIRM, "stop", {}, "it is asked", "stop line", scores, limits, heard="Stop line.")
    assert tried.in_words().splitlines() == [
        "confirm stop(): it is asked",
        "        “a.flac”",
        "        heard: “Stop line.”",
        "        nearest: “stop line”",
        "        margin 1.14, gap 0",
        "        kept back by: margin 1.142 (at least 2)",
    ]
