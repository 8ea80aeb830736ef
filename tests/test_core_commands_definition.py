"""Definitions: what is missing is assumed to be the worst, what contradicts itself is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from streamd.core.commands.definition import Accept, Command, Confirm, Dispatch, Pack, Risk, Safety

SPEED: dict[str, Any] = {
    "name": "set_speed",
    "sentences": {"en": ["set {press} to {speed}"], "de": ["stelle {press} auf {speed}"]},
    "params": {
        "press": {"enum": ["press_1", "press_2"]},
        "speed": {"type": "number", "maximum": 120, "unit": "rpm", "optional": True},
    },
    "dispatch": {"http": {"url": "http://plc.local/speed"}},
    "tests": {"accept": ["set press one to 50", {"text": "set press two to 60", "params": {"speed": 60}}]},
}


def command(**changes: Any) -> Command:
    return Command.model_validate(SPEED | changes)


def test_a_command_says_all_of_itself() -> None:
    set_speed = command()
    assert set_speed.tests.accept == (
        Accept(text="set press one to 50"),
        Accept(text="set press two to 60", params={"speed": 60}),
    )
    assert set_speed.schema_object == {
        "type": "object",
        "properties": {
            "press": {"enum": ["press_1", "press_2"]},
            "speed": {"type": "number", "maximum": 120, "unit": "rpm"},
        },
        "required": ["press"],
        "additionalProperties": False,
    }
    assert set_speed.dispatch is not None
    assert set_speed.dispatch.kind == "http"
    assert set_speed.dispatch.target == set_speed.dispatch.http


def test_what_is_missing_is_assumed_to_be_the_worst() -> None:
    safety = command().safety
    assert (safety.risk, safety.confirm, safety.idempotent) == (Risk.CONFIRM, Confirm.READBACK, False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shell": "rm"}, "Extra inputs are not permitted"),
        ({"sentences": {}}, "has no sentence: nothing could ever be said"),
        ({"sentences": {"en": []}}, "has no sentence: nothing could ever be said"),
        ({"sentences": {"en": ["go", " "]}}, "String should have at least 1 character"),
        ({"sentences": {"en": "go"}}, "Input should be a valid tuple"),
        ({"sentences": "go"}, "Input should be a valid"),
        ({"params": {"speed": {"type": "array"}}}, "speed: type 'array' can't be spoken"),
        ({"dispatch": {}}, "a command goes to one target: give one of python, http, mqtt, mcp, opcua"),
        ({"dispatch": {"http": None}}, "a command goes to one target"),
        ({"dispatch": {"shell": {"run": "rm"}}}, "Extra inputs are not permitted"),
        ({"dispatch": {"mqtt": {"topic": "press/#"}}}, "String should match pattern"),
        ({"safety": {"risk": "two_person", "confirm": "codeword"}}, "two_person is confirmed by button, not by"),
        ({"tests": {"accept": "go"}}, "Input should be a valid tuple"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        command(**changes)
    assert reason in str(refused.value)


def test_a_second_person_needs_no_other_word() -> None:
    assert Safety(risk=Risk.TWO_PERSON).confirm is Confirm.READBACK  # to show what is asked; the button answers
    assert Safety(risk=Risk.TWO_PERSON, confirm=Confirm.BUTTON).confirm is Confirm.BUTTON


def test_a_pack_is_known_by_its_version() -> None:
    pack = Pack(commands={"set_speed": command()})
    assert pack.languages == ("de", "en")
    assert pack.version == Pack(commands={"set_speed": command()}).version
    assert pack.version != Pack(commands={"set_speed": command(safety={"cooldown_s": 3})}).version


def test_a_command_has_one_name() -> None:
    with pytest.raises(ValidationError, match="stop is called set_speed in its definition"):
        Pack(commands={"stop": command()})


@pytest.mark.parametrize(
    ("target", "verify", "reason"),
    [
        ({"http": {"url": "http://a"}}, {"url": "http://b"}, "equals\n  Field required"),
        (
            {"http": {"url": "http://a"}},
            {"url": "http://b", "equals": None},
            "null is no value that could be read back",
        ),
        ({"http": {"url": "http://a"}}, {"equals": 5}, "verify has no place; here it needs url"),
        ({"mqtt": {"topic": "a"}}, {"url": "http://b", "equals": 5}, "verify has url; here it needs topic"),
        ({"python": {"callable": "a"}}, {"equals": 5}, "verify has no place; nothing is read back here"),
    ],
)
def test_what_could_not_be_read_back_is_refused(target: dict[str, Any], verify: dict[str, Any], reason: str) -> None:
    ((kind, fields),) = target.items()
    with pytest.raises(ValidationError, match=reason):
        Dispatch.model_validate({kind: fields | {"verify": verify}})


def test_a_target_is_one() -> None:
    with pytest.raises(ValidationError, match="one target"):
        Dispatch.model_validate({"http": {"url": "http://a"}, "python": {"callable": "speed"}})
