"""What takes a command back, and when nothing does."""

from __future__ import annotations

import pytest

from streamd.core.commands.definition import Command
from streamd.core.commands.machine import Desk
from streamd.core.commands.request import Person, Request
from streamd.core.commands.undo import WITHIN_MS, Past, takes_back

SPEAKER = Person(None, "speaker")


def request(risk: str = "low", *, undo: bool = True) -> Request:
    light = {
        "name": "light",
        "sentences": {"de": ["Licht an"]},
        "params": {"on": {"type": "boolean"}},
        "safety": {"risk": risk, "retract_ms": 0, "cooldown_s": 10},
        "dispatch": {"python": {"callable": "on"}},
        "prompt": {"de": "Soll es hell werden?"},
    }
    command = Command.model_validate(light | ({"undo": {"python": {"callable": "off"}}} if undo else {}))
    return Request("c1", command, {"on": True}, 1, "licht an", 0, SPEAKER, language="de")


@pytest.mark.parametrize(
    "text",
    ["Undo that.", "take that back", "Rückgängig!", "Mach das rückgängig.", "And do that.", "Undo that. Undo that."],
)
def test_said_alone_it_takes_back(text: str) -> None:
    assert takes_back(text)


@pytest.mark.parametrize("text", ["don't undo that", "undo that thing", "zurück", "he said undo that", ""])
def test_anything_else_does_not(text: str) -> None:
    assert not takes_back(text)


def test_the_last_command_is_taken_back_by_its_undo() -> None:
    past = Past()
    past.sent(request(), 1_000)
    found = past.undo(2_000)
    assert isinstance(found, Request)
    assert found.command.name == "light.undo"
    assert found.command.dispatch == request().command.undo
    assert found.params == {"on": True}


@pytest.mark.parametrize("risk", ["read", "low", "confirm", "two_person"])
def test_it_is_always_asked_first(risk: str) -> None:
    past = Past()
    past.sent(request(risk), 0)
    found = past.undo(1)
    assert isinstance(found, Request)
    told = Desk({"light": 0}).propose(found, 1)
    assert [each.state for each in told] == ["proposed", "awaiting_confirmation"], "its own cooldown is none"
    assert told[-1].prompt == "„licht an“ zurücknehmen? (light.undo: on = True)"
    assert told[-1].confirm == ("two_person" if risk == "two_person" else "readback")


def test_what_can_not_be_taken_back() -> None:
    past = Past()
    assert past.undo(0) == "no command of the last 60 s is known that could be taken back"
    past.sent(request(undo=False), 0)
    assert past.undo(1) == "the definition of light has no undo"
    past.sent(request(), 0)
    assert isinstance(past.undo(WITHIN_MS), Request)
    assert isinstance(past.undo(WITHIN_MS + 1), str), "nobody is sure any more what it is about"


def test_what_failed_need_not_be_taken_back() -> None:
    past = Past()
    past.failed("c1")
    past.sent(request(), 0)
    past.failed("c0")
    assert isinstance(past.undo(1), Request)
    past.failed("c1")
    assert isinstance(past.undo(1), str)


def test_an_undo_is_not_taken_back() -> None:
    past = Past()
    past.sent(request(), 0)
    found = past.undo(1)
    assert isinstance(found, Request)
    past.sent(found, 2)
    assert past.undo(3) == "the definition of light.undo has no undo"
