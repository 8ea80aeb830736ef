"""Limits of numbers as expressions: what they let through and what not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.tools.limits import LimitError, integers, numbers


def allowed(schema: dict[str, Any]) -> re.Pattern[str]:
    return re.compile((integers if schema["type"] == "integer" else numbers)(schema))


@pytest.mark.parametrize(
    ("schema", "inside", "outside"),
    [
        ({"type": "integer"}, "-9007199254740991 0 9007199254740991", "9007199254740992 1.0 -0"),
        ({"type": "integer", "minimum": 0.5, "maximum": 120.9}, "1 120", "0 121 1.5"),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}, "1 2", "0 3"),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": 0, "maximum": 9}, "1 9", "0 10"),
        ({"type": "integer", "multipleOf": 7, "minimum": -7, "maximum": 20}, "-7 0 7 14", "21 -14 3"),
        ({"type": "integer", "multipleOf": 1e2}, "100 -1200", "150"),
        ({"type": "number"}, "100000000 -0.000001 0.5", "100000000.1 0.0000001 1e3"),
        ({"type": "number", "minimum": -0.25, "exclusiveMaximum": 0.1}, "-0.25 0.099999", "0.1 -0.250001"),
        ({"type": "number", "maximum": 1e12, "minimum": 0}, "0.99 1000000000000", "0.999 1000000000000.1"),
        ({"type": "number", "minimum": 1e20, "maximum": 1e21}, "100000000000000000001", "1.5"),
        ({"type": "number", "multipleOf": 0.1, "minimum": 0, "maximum": 1}, "0.3 1", "0.35 1.1"),
        ({"type": "number", "multipleOf": 50, "minimum": 0}, "0 150", "75 150.5"),
    ],
)
def test_limits_of_numbers(schema: dict[str, Any], inside: str, outside: str) -> None:
    expression = allowed(schema)
    assert [text for text in inside.split() if not expression.fullmatch(text)] == []
    assert [text for text in outside.split() if expression.fullmatch(text)] == []


def test_written_decimals_stay_apart_when_they_are_read_as_doubles() -> None:
    """0.99999999999999999 would be 1.0, which an exclusive limit forbids."""
    expression = allowed({"type": "number", "exclusiveMaximum": 10**12})
    assert expression.fullmatch("999999999999.99")
    assert not expression.fullmatch("999999999999.99999")


@given(st.integers(-300, 300), st.integers(0, 300), st.integers(1, 12), st.integers(-700, 700), st.booleans())
def test_integers_keep_their_limits(low: int, width: int, step: int, number: int, exclusive: bool) -> None:
    high = low + width
    lower, upper = ("exclusiveMinimum", "exclusiveMaximum") if exclusive else ("minimum", "maximum")
    inside = range(low + exclusive, high + 1 - exclusive)
    schema = {"type": "integer", lower: low, upper: high, "multipleOf": step}
    if not any(value % step == 0 for value in inside):
        with pytest.raises(LimitError, match="there is no such number"):
            allowed(schema)
        return
    assert bool(allowed(schema).fullmatch(str(number))) == (number in inside and number % step == 0)


@pytest.mark.parametrize(
    ("schema", "keyword", "why"),
    [
        ({"type": "number", "maximum": -2e9}, "maximum", "from -100000000 to -2000000000.0: there is no such number"),
        ({"type": "integer", "multipleOf": 0.5}, "multipleOf", "0.5 is no integer"),
        ({"type": "integer", "multipleOf": 7}, "multipleOf", "from -9007199254740991 to 9007199254740991: there are"),
        ({"type": "number", "multipleOf": 1e-7}, "multipleOf", "needs over 15 digits from -100000000 to 100000000"),
    ],
)
def test_limits_that_can_t_be_kept_name_their_keyword(schema: dict[str, Any], keyword: str, why: str) -> None:
    with pytest.raises(LimitError) as refused:
        allowed(schema)
    assert refused.value.keyword == keyword
    assert str(refused.value).startswith(why)
