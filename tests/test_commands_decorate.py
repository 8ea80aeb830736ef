"""Decorated functions: the same definitions, from what their signatures say."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from streamd.commands.decorate import Commands, Unit
from streamd.commands.files import load
from streamd.core.commands.definition import Risk
from streamd.core.commands.grammar import Match

press_line = Commands(words={"de": {"lists": {"press": {"values": [{"in": "eins", "out": "press_1"}]}}}})


@press_line.command(
    en=["set {press} to {speed} [slowly]"], de=["stell Presse {press} auf {speed}"], safety={"risk": "low"}
)
def set_speed(
    press: Literal["press_1", "press_2"],
    speed: Annotated[float, Field(ge=0, le=120), Unit("rpm")],
    shift: Literal["day", "night"] = "day",
) -> str:
    """Sets how fast a press runs."""
    return f"{press} {speed} {shift}"


def test_a_function_says_what_its_command_is() -> None:
    command = press_line.pack.commands["set_speed"]
    assert command.description == "Sets how fast a press runs."
    assert command.params == {
        "press": {"enum": ["press_1", "press_2"], "type": "string"},
        "speed": {"maximum": 120, "minimum": 0, "type": "number", "unit": "rpm"},
        "shift": {"enum": ["day", "night"], "type": "string", "optional": True},
    }
    assert command.safety.risk is Risk.LOW
    assert command.dispatch is not None
    assert command.dispatch.python is not None
    assert command.dispatch.python.callable == "set_speed"
    assert set_speed("press_1", 2, "night") == "press_1 2 night"


def test_a_module_is_a_pack() -> None:
    found = load([f"{__name__}:press_line"])
    assert found.pack.version == press_line.pack.version
    match = found.grammar().match("Stell Presse eins auf fünf")
    assert isinstance(match, Match)
    assert match.params == {"press": "press_1", "speed": 5}


def test_what_can_not_be_spoken_is_refused_where_it_is_decorated() -> None:
    def shelves(numbers: list[int]) -> None:
        """Nobody speaks a list."""

    with pytest.raises(ValidationError, match="numbers: items can't be enforced"):
        Commands().command(en=["shelves {numbers}"])(shelves)
