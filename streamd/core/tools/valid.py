"""Calls against what was declared, once more: by a validator that knows nothing of grammars."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from streamd.core.tools.tool import Tool, ToolCall


class CallError(ValueError):
    """A call of an unknown tool, or one whose arguments are against its schema. Names the tool and the path."""


def check(call: ToolCall, tools: Iterable[Tool]) -> None:
    """Raises CallError for a call that must not be carried out."""
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        raise CallError(f"{call.name} is not among the tools")
    schema = {"additionalProperties": False, **tool.parameters}
    error = best_match(Draft202012Validator(_exact(schema)).iter_errors(_exact(call.arguments)))
    if error is not None:
        path = ".".join(["arguments", *map(str, error.absolute_path)])
        message = re.sub(r"Decimal\('([^']*)'\)", r"\1", error.message)
        raise CallError(f"{call.name}: {path}: {message}")


def _exact(value: Any) -> Any:
    """Numbers as they are written: binary fractions would make 0.3 no multiple of 0.1."""
    match value:
        case Mapping():
            return {name: _exact(item) for name, item in value.items()}
        case list() | tuple():
            return [_exact(item) for item in value]
        case float():
            return Decimal(str(value))
    return value
