"""Replay: what was heard meets another pack, and what would differ is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamd.commands.replay import Replayed, replay
from streamd.core.commands import lattice
from streamd.core.commands.grammar import Grammar
from streamd.errors import ConfigError
from tests.packs import press_line

GRAMMAR = Grammar(press_line())


def row(heard: str, verdict: str, name: str | None = None, **note: Any) -> str:
    record = {"type": "command", "name": name, "params": note.pop("params", {}), "state": "proposed"}
    facts = {"heard": heard, "hypotheses": [heard], "language": "en", "verdict": verdict, "understood": None}
    return json.dumps({"id": 1, "record": record, "note": facts | note})


def replayed(*rows: str) -> list[Replayed]:
    return list(replay(GRAMMAR, rows, "audit.jsonl"))


def test_what_stays_as_it_was() -> None:
    speed = {"press": "press_2", "speed": 95}
    for utterance in replayed(
        row("set press two to 95", "confirm", "set_speed", params=speed),
        row("Licht an", "accept", "light", params={"on": True}, language="de"),
        row("hello", "reject", language="fr"),
        row("light one", "accept", "light", params={"on": True}, understood="light on", hypotheses=["light on"]),
    ):
        assert not utterance.differs, utterance


def test_what_would_differ() -> None:
    (utterance,) = replayed(
        row("set press two to 121", "confirm", "set_speed", params={"press": "press_2", "speed": 121})
    )
    assert utterance.differs
    assert utterance.in_words().splitlines() == [
        "“set press two to 121”",
        "    was       confirm set_speed(press=press_2, speed=121)",
        "    would be  reject  speed (rpm): 121 is greater than the maximum of 120",
    ]
    assert json.loads(utterance.as_json())["after"] == ["reject", None, {}]


def test_an_utterance_counts_once() -> None:
    """Whatever was written down later of the same command."""
    first, other = (json.loads(row("light on", "accept", "light", params={"on": True})) for _ in range(2))
    for entry, number in ((first, 1), (other, 2)):
        entry["record"]["command_id"] = f"c{number}"
    later = first | {"record": first["record"] | {"state": "expired"}, "note": other["note"] | {"heard": "fan on"}}
    assert len(replayed(*map(json.dumps, (first, later, other)))) == 2


def test_what_was_in_doubt_still_is() -> None:
    (utterance,) = replayed(row("light on", "confirm", "light", params={"on": True}, sure=False))
    assert (utterance.differs, utterance.reason) == (False, "it was not heard with certainty")


def test_what_was_compared_with_the_sound_may_not_be_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice, "MOST_LISTED", 1)
    rows = [
        row("light on", "accept", "light", params={"on": True}, scores=scores) for scores in ({}, {"certainty": 1.0})
    ]
    assert [utterance.after[0] for utterance in replayed(*rows)] == ["accept", "confirm"]


def test_objections_to_what_else_was_heard_count() -> None:
    (utterance,) = replayed(
        row("light on", "accept", "light", params={"on": True}, hypotheses=["light on", "no light on"])
    )
    assert utterance.after == ("reject", None, {})


def test_rows_of_later_steps_are_left_out() -> None:
    answered = json.dumps({"record": {"type": "command", "name": "light", "params": {}}, "note": {"heard": "yes"}})
    listened = json.dumps({"record": {"heard_ms": 5}, "note": {"verdict": "accept"}})
    assert replayed(answered, listened) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", "light on"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"audit.jsonl:1: no row of `streamd commands audit`"):
        replayed(text)
