from __future__ import annotations

import re
from typing import Any

import pytest

from streamd.core.tools.patterns import PLAIN
from streamd.core.tools.schema import Choice, Field, ListOf, Record, SchemaError, Shape, Text, shape
from streamd.core.tools.tool import Tool

ANY = Text(f"{PLAIN}{{1,200}}", may_be_empty=True)


def of(schema: dict[str, Any]) -> Shape:
    """The shape of the one parameter `x`."""
    return shape(Tool("go", "", {"type": "object", "properties": {"x": schema}})).fields[0].shape


def test_fields_are_written_in_the_template_s_order() -> None:
    properties = {"b": {"type": "boolean"}, "A": {"type": "boolean"}, "C": {"type": "boolean"}}
    boolean = Choice(("true", "false"), quoted=False)
    assert shape(Tool("go", "", {"type": "object", "properties": properties, "required": ["C"]})) == Record(
        (Field("A", boolean, False), Field("b", boolean, False), Field("C", boolean, True))
    )


def test_a_tool_may_take_nothing() -> None:
    assert shape(Tool("go", "")) == Record(())
    assert shape(Tool("go", "", {"type": "object"})) == Record(())


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, ANY),
        ({"type": "string", "minLength": 300.0}, Text(f"{PLAIN}{{300,300}}", may_be_empty=False)),
        ({"type": "string", "maxLength": 0}, Choice(("",), quoted=True)),
        ({"type": "string", "pattern": "^a$"}, Text("([a-a])", may_be_empty=False)),
        ({"type": "string", "pattern": "^a*$"}, Text("([a-a]*)", may_be_empty=True)),
        ({"type": "string", "enum": ["b", "a", ""]}, Choice(("b", "a", ""), quoted=True)),
        ({"type": "integer", "enum": [3, 1]}, Choice(("3", "1"), quoted=False)),
        ({"type": "number", "const": 1e21}, Choice(("1e+21",), quoted=False)),
        ({"type": "boolean", "const": True}, Choice(("true",), quoted=False)),
        (
            {"type": "boolean", "description": "d", "x-note": [1], "unit": "rpm"},
            Choice(("true", "false"), quoted=False),
        ),
        ({"type": "array", "items": {"type": "string"}, "minItems": 20}, ListOf(ANY, 20, 20)),
        ({"type": "array", "items": {"type": "string"}}, ListOf(ANY, 0, 16)),
        ({"type": "object", "properties": {}, "additionalProperties": True}, Record(())),
    ],
)
def test_shapes(schema: dict[str, Any], expected: Shape) -> None:
    assert of(schema) == expected


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "format": "date"}, "x: format: can't be enforced for type string: use const, enum, maxL"),
        ({"type": "string", "minimum": 1}, "x: minimum: can't be enforced for type string"),
        ({"type": "integer", "maximun": 1}, "x: maximun: can't be enforced for type integer"),
        (
            {"anyOf": [{"type": "string"}]},
            "x: type: None can't be enforced: use one of array, boolean, integer",
        ),
        ({"type": ["string", "null"]}, "x: type: ['string', 'null'] can't be enforced"),
        ({"type": "null"}, "x: type: 'null' can't be enforced"),
        ({"type": "text"}, "x: type: 'text' is not valid under any of the given schemas"),
        ({"type": "integer", "minimum": "1"}, "x: minimum: '1' is not of type 'number'"),
        ({"type": "array"}, "x: items: is missing"),
        ({"type": "array", "items": True}, "x.items: schema: True allows anything or nothing: give a type"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "x: uniqueItems: can't be enforced"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 1}, "x: minItems: 2 is more than"),
        ({"type": "object"}, "x: properties: is missing"),
        ({"type": "object", "properties": {}, "required": ["y"]}, "x: required: y: not among the properties"),
        ({"type": "object", "properties": {"a b": {"type": "string"}}}, "x.a b: name: can't be written"),
        (
            {"type": "object", "properties": {}, "additionalProperties": {}},
            "x: additionalProperties: can't be enforced",
        ),
        ({"type": "string", "minLength": 2, "maxLength": 1}, "x: minLength: 2 is more than maxLength, 1"),
        ({"type": "string", "pattern": "a", "maxLength": 9}, "x: pattern: beside maxLength can't be enforced: say the"),
        ({"type": "string", "pattern": "(?=a)"}, "x: pattern: ? can stand only behind what it repeats"),
        ({"type": "string", "enum": ["a"], "minLength": 1}, "x: enum: beside minLength can't be enforced"),
        ({"type": "string", "enum": ["a"], "const": "a"}, "x: const: beside enum can't be enforced"),
        ({"type": "string", "enum": ["a", 1]}, "x: enum: 1 is no string"),
        ({"type": "boolean", "const": 1}, "x: const: 1 is no boolean"),
        ({"type": "string", "enum": ["a\nb"]}, "x: enum: 'a\\nb' holds '\\n', which can't be written"),
        ({"type": "string", "enum": ['<|"|>']}, "x: enum: '<|\"|>' reads like a control token of the model"),
        ({"type": "string", "description": "<turn|>"}, "x: description: '<turn|>' reads like"),
        ({"type": "number", "minimum": float("nan")}, "x: minimum: nan is no number of JSON"),
        (
            {"type": "number", "maximum": -2e9},
            "x: maximum: from -100000000 to -2000000000.0: there is no such number: change",
        ),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "x: minimum: from 2 to 1: there is no such number"),
        ({"type": "integer", "multipleOf": 0.5}, "x: multipleOf: 0.5 is no integer"),
        ({"type": "integer", "multipleOf": 7}, "x: multipleOf: from -9007199254740991 to 9007199254740991: there are"),
        ({"type": "number", "multipleOf": 1e-7}, "x: multipleOf: needs over 15 digits from -100000000 to 100000000"),
    ],
)
def test_what_cannot_be_enforced_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        of(schema)
    assert str(caught.value).startswith(f"tool go: parameters.{message}")
    assert caught.value.tool == "go"


def test_errors_name_the_path_and_the_keyword() -> None:
    inner = {"type": "array", "items": {"type": "object", "properties": {"y": {"type": "string", "format": "date"}}}}
    with pytest.raises(SchemaError) as caught:
        of(inner)
    assert (caught.value.path, caught.value.keyword) == ("x.items.y", "format")


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        (Tool("a b", ""), "tool a b: parameters: name: 'a b' can't be called: use at most 64 letters"),
        (Tool("a", "<|tool>"), "tool a: parameters: description: '<|tool>' reads like a control"),
        (Tool("a", "", {"type": "string"}), "tool a: parameters: type: parameters are an object"),
        (Tool("a", "", {}), "tool a: parameters: type: None can't be enforced"),
    ],
)
def test_what_is_no_tool(tool: Tool, message: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(message)):
        shape(tool)


def test_schemas_end_somewhere() -> None:
    schema: dict[str, Any] = {"type": "boolean"}
    for _ in range(9):
        schema = {"type": "array", "items": schema}
    with pytest.raises(SchemaError, match="is nested more than 8 deep"):
        of(schema)
