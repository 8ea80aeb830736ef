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


def test_scores_are_shown() -> None:
    tried = Trial("a.flac", Verdict.ACCEPT, "stop", {}, "understood", "stop line", {"margin": 3.14159})
    assert tried.in_words() == "accept  stop(): understood, margin 3.14\n        “a.flac”\n        nearest: “stop line”"
