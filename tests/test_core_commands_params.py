"""Parameters: only schemas that can be enforced, and no value outside them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.params import check_param, fault, is_number

SPEED = {"type": "number", "minimum": 0, "maximum": 120.5, "multipleOf": 0.1, "unit": "rpm"}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "string", "format": "date"}, "speed: format can't be enforced on what was said: use const, enum"),
        ({"type": "array"}, "speed: type 'array' can't be spoken: use one of boolean, integer, number, string"),
        ({"minimum": 0}, "speed: has neither type nor enum, so anything could be said: give one"),
        ({"type": "number", "minimum": "low"}, "speed: minimum: 'low' is not of type 'number'"),
        ({"type": "string", "pattern": "("}, "speed: pattern: '(' is not a 'regex'"),
        ({"type": "string", "optional": "yes"}, "speed: optional is true or false, not 'yes'"),
    ],
)
def test_what_can_not_be_enforced_is_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is compared
        check_param("speed", schema)
    assert reason in str(refused.value)


def test_what_can_be_enforced_is_taken() -> None:
    check_param("speed", SPEED | {"description": "of the press", "optional": True})
    check_param("press", {"enum": ["press_1", "press_2"]})
    check_param("mode", {"const": "auto"})
    assert is_number(SPEED)
    assert not is_number({"enum": [1, 2]})


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        (SPEED, 0.3, None),
        (SPEED, 120.5, None),
        (SPEED, 120.6, "120.6 is greater than the maximum of 120.5"),
        (SPEED, 0.35, "0.35 is not a multiple of 0.1"),
        (SPEED, True, "True is not of type 'number'"),
        (SPEED, "95", "'95' is not of type 'number'"),
        ({"enum": ["press_1", 2]}, 2, None),
        ({"enum": ["press_1", 0.1]}, "press_2", "'press_2' is not one of ['press_1', 0.1]"),
        ({"type": "string", "pattern": "^A[0-9]+$", "maxLength": 3}, "A12", None),
        ({"type": "string", "pattern": "^A[0-9]+$", "maxLength": 3}, "A123", "'A123' is too long"),
    ],
)
def test_values_obey_their_schema(schema: dict[str, Any], value: Any, reason: str | None) -> None:
    assert fault(schema, value) == reason


@given(st.decimals(0, 1_000, places=1), st.decimals(0, 1_000, places=1))
def test_bounds_hold_for_decimal_fractions(value: Decimal, maximum: Decimal) -> None:
    schema = {"type": "number", "maximum": float(maximum), "multipleOf": 0.1}
    assert (fault(schema, float(value)) is None) == (value <= maximum)
