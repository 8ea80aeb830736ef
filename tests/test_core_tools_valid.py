from __future__ import annotations

from typing import Any

import pytest

from streamd.core.tools.tool import Tool, ToolCall
from streamd.core.tools.valid import CallError, check

TOOL = Tool(
    "set_speed",
    "",
    {
        "type": "object",
        "properties": {
            "rpm": {"type": "number", "multipleOf": 0.1, "exclusiveMaximum": 120.5},
            "zones": {"type": "array", "items": {"type": "object", "properties": {"n": {"enum": ["a"]}}}},
        },
        "required": ["rpm"],
    },
)


@pytest.mark.parametrize("arguments", [{"rpm": 0.3}, {"rpm": 120, "zones": [{"n": "a"}, {}]}, {"rpm": 120.4}])
def test_calls_within_the_schema(arguments: dict[str, Any]) -> None:
    check(ToolCall("set_speed", arguments), [Tool("other", ""), TOOL])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rpm": 120.5}, "set_speed: arguments.rpm: 120.5 is greater than or equal to the maximum of 120.5"),
        ({"rpm": 0.35}, "set_speed: arguments.rpm: 0.35 is not a multiple of 0.1"),
        ({"rpm": 1, "zones": [{}, {"n": "b"}]}, "set_speed: arguments.zones.1.n: 'b' is not one of ['a']"),
        ({}, "set_speed: arguments: 'rpm' is a required property"),
        ({"rpm": 1, "rmp": 2}, "set_speed: arguments: Additional properties are not allowed ('rmp' was unexpected)"),
    ],
)
def test_calls_against_the_schema(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CallError) as caught:
        check(ToolCall("set_speed", arguments), [TOOL])
    assert str(caught.value) == message


def test_unknown_tools() -> None:
    with pytest.raises(CallError, match="stop is not among the tools"):
        check(ToolCall("stop", {}), [TOOL])
