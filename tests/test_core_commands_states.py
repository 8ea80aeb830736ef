"""An interlock holds unless somebody has said lately that it may not."""

from __future__ import annotations

import pytest

from streamd.core.commands.definition import Scalar
from streamd.core.commands.reasons import in_language
from streamd.core.commands.states import MOST, States, parse


def test_what_is_as_it_must_be_blocks_nothing() -> None:
    states = States(10_000)
    states.tell({"guard": "closed", "speed": 0, "ready": True}, 0)
    assert states.blocked({}, 0) is None
    assert states.blocked({"guard": "closed", "speed": (0, 5), "ready": True}, 10_000) is None


@pytest.mark.parametrize(
    ("interlock", "reason"),
    [
        ({"guard": "closed"}, "interlock: guard is open and must be closed"),
        ({"speed": (1, 2)}, "interlock: speed is 0 and must be 1 or 2"),
        ({"speed": False}, "interlock: speed is 0 and must be false"),
        ({"door": "closed"}, "interlock: nobody has told door lately, and it must be closed"),
    ],
)
def test_what_is_not_blocks_with_a_reason(interlock: dict[str, Scalar | tuple[Scalar, ...]], reason: str) -> None:
    states = States(10_000)
    states.tell({"guard": "open", "speed": 0}, 0)
    assert states.blocked(interlock, 0) == reason


def test_numbers_that_block_are_told_in_german() -> None:
    states = States(10_000)
    states.tell({"bar": 0.5}, 0)
    reason = states.blocked({"bar": 1.5}, 0)
    assert reason is not None
    assert in_language(reason, "de") == "Verriegelung: bar ist 0,5 und muss 1,5 sein"


def test_what_was_told_long_ago_is_not_known() -> None:
    states = States(10_000)
    states.tell({"guard": "closed"}, 0)
    assert states.current(10_000) == {"guard": "closed"}
    assert states.blocked({"guard": "closed"}, 10_001) is not None
    states.tell({"guard": "closed"}, 10_001)
    assert states.blocked({"guard": "closed"}, 20_000) is None


def test_memory_is_bounded() -> None:
    states = States(10_000)
    states.tell({f"s{number}": number for number in range(MOST + 5)}, 0)
    assert len(states.current(0)) == MOST
    assert "s0" not in states.current(0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            ("true", True),
            ("5", 5),
            ("0.5", 0.5),
            ("open", "open"),
            ('"5"', "5"),
            ("null", "null"),
            ("[1]", "[1]"),
            ("[" * 7_000,) * 2,
        )
    ],
)
def test_values_in_an_address(text: str, value: Scalar) -> None:
    assert parse(text) == value
    assert type(parse(text)) is type(value)
