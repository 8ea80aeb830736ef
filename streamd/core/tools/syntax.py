"""How Gemma 4 writes tools and calls: what its chat template makes of them, and calls read back.

    <|tool>declaration:NAME{description:<|"|>…<|"|>,parameters:{…}}<tool|>
    <|tool_call>call:NAME{key:<|"|>text<|"|>,n:3,on:true,xs:[1,2],o:{a:1}}<tool_call|>

https://ai.google.dev/gemma/docs/core/prompt-formatting-gemma4. Texts stand between quotes that are one token and escape
nothing. Of a schema the template shows descriptions, types, the enums of texts, items, properties and what is
required; limits reach the model through descriptions only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from streamd.core.tools.schema import written_order
from streamd.core.tools.tool import Tool, ToolCall

QUOTE = '<|"|>'
CALL, CALL_END = "<|tool_call>", "<tool_call|>"
DEEPEST = 16
_NAME = re.compile(r"[\w.-]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class CallSyntaxError(ValueError):
    """Text that is no call. Says where, and what was expected there."""


def declaration(tool: Tool) -> str:
    """The tool as the chat template writes it into the system turn."""
    parameters, parts = tool.parameters, []
    if parameters.get("properties"):
        parts.append(f"properties:{{{_properties(parameters['properties'])}}}")
    if parameters.get("required"):
        parts.append(_required(parameters["required"]))
    parts.append(f"type:{_quoted(parameters['type'].upper())}")
    said = f"description:{_quoted(tool.description)},parameters:{{{','.join(parts)}}}"
    return f"<|tool>declaration:{tool.name}{{{said}}}<tool|>"


def _properties(properties: Mapping[str, Any]) -> str:
    return ",".join(f"{name}:{{{_property(properties[name])}}}" for name in written_order(properties))


def _property(schema: Mapping[str, Any]) -> str:
    kind, parts = schema["type"], []
    if schema.get("description"):
        parts.append(f"description:{_quoted(schema['description'])}")
    if kind == "string" and schema.get("enum"):
        parts.append(f"enum:{_value(schema['enum'], quoted_keys=True)}")
    if kind == "array" and schema.get("items"):
        parts.append(f"items:{{{_items(schema['items'])}}}")
    if kind == "object":
        parts.append(f"properties:{{{_properties(schema['properties'])}}}")
        if schema.get("required"):
            parts.append(_required(schema["required"]))
    return ",".join([*parts, f"type:{_quoted(kind.upper())}"])


def _items(schema: Mapping[str, Any]) -> str:
    """What lists hold is written in full, every keyword of it."""
    return ",".join(_item(name, schema[name]) for name in written_order(schema) if schema[name] is not None)


def _item(keyword: str, value: Any) -> str:
    match keyword:
        case "properties":
            return f"properties:{{{_properties(value)}}}"
        case "required":
            return _required(value)
        case "type":
            return f"type:{_quoted(value.upper())}"
    return f"{keyword}:{_value(value, quoted_keys=True)}"


def _required(names: Sequence[str]) -> str:
    return f"required:[{','.join(map(_quoted, names))}]"


def written(call: ToolCall) -> str:
    """The call as Gemma writes it. Raises ValueError for a text that holds its quote, or a value that JSON hasn't."""
    return f"{CALL}call:{call.name}{_value(call.arguments, quoted_keys=False)}{CALL_END}"


def _quoted(text: str) -> str:
    if QUOTE in text:
        raise ValueError(f"{text!r} holds {QUOTE}, which nothing can escape")
    return f"{QUOTE}{text}{QUOTE}"


def _value(value: Any, *, quoted_keys: bool) -> str:
    match value:
        case str():
            return _quoted(value)
        case bool() | int() | float():
            return json.dumps(value, allow_nan=False)
        case Mapping():
            pairs = ((_quoted(name) if quoted_keys else name, value[name]) for name in written_order(value))
            return "{" + ",".join(f"{name}:{_value(item, quoted_keys=quoted_keys)}" for name, item in pairs) + "}"
        case Sequence():
            return "[" + ",".join(_value(item, quoted_keys=quoted_keys) for item in value) + "]"
    if value is None and quoted_keys:
        return "None"  # in a schema: what the template makes of it
    raise ValueError(f"{value!r} can't be written in a call")


def read(text: str) -> ToolCall:
    """The call that `text` is, whole and with nothing around it. Raises CallSyntaxError."""
    reader = _Reader(text)
    reader.expect(f"{CALL}call:")
    name = reader.name()
    arguments = reader.record(0)
    reader.expect(CALL_END)
    if reader.at != len(text):
        raise reader.fault("the end")
    return ToolCall(name, arguments)


class _Reader:
    """A recursive descent over one call: each method reads what it is named after and moves on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def fault(self, expected: str) -> CallSyntaxError:
        found = self._text[self.at : self.at + 20] or "the end"
        return CallSyntaxError(f"no tool call: {expected} expected at character {self.at}, found {found!r}")

    def take(self, text: str) -> bool:
        if not self._text.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.fault(text)

    def name(self) -> str:
        found = _NAME.match(self._text, self.at)
        if not found:
            raise self.fault("a name")
        self.at = found.end()
        return found[0]

    def record(self, depth: int) -> dict[str, Any]:
        self.expect("{")
        found: dict[str, Any] = {}
        while not self.take("}"):
            if found:
                self.expect(",")
            name = self.name()
            if name in found:
                raise self.fault(f"a name other than {name}, which was given,")
            self.expect(":")
            found[name] = self.value(depth + 1)
        return found

    def list_(self, depth: int) -> list[Any]:
        self.expect("[")
        found: list[Any] = []
        while not self.take("]"):
            if found:
                self.expect(",")
            found.append(self.value(depth + 1))
        return found

    def value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise self.fault(f"at most {DEEPEST} levels")
        if self._text.startswith("{", self.at):
            return self.record(depth)
        if self._text.startswith("[", self.at):
            return self.list_(depth)
        if self.take(QUOTE):
            return self.rest_of_text()
        for word, value in (("true", True), ("false", False)):
            if self.take(word):
                return value
        return self.number()

    def rest_of_text(self) -> str:
        end = self._text.find(QUOTE, self.at)
        if end < 0:
            raise self.fault(f"{QUOTE} somewhere")
        found, self.at = self._text[self.at : end], end + len(QUOTE)
        return found

    def number(self) -> int | float:
        found = _NUMBER.match(self._text, self.at)
        if not found:
            raise self.fault("a value")
        self.at = found.end()
        return float(found[0]) if found[1] or found[2] else int(found[0])
