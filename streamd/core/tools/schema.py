"""Which JSON Schemas a grammar can enforce, and what their values look like when they are written.

https://json-schema.org/draft/2020-12/json-schema-validation. What can't be enforced is refused, unknown keywords
included: a limit that is misspelt would be no limit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError as MalformedError

from streamd.core.tools import patterns
from streamd.core.tools.limits import LIMITS, LimitError, integers, numbers
from streamd.core.tools.tool import Tool

MOST_CHARACTERS = 200  # of a text without maxLength
MOST_ITEMS = 16  # of a list without maxItems
DEEPEST = 8

SAID = frozenset(
    ["title", "description", "default", "examples", "deprecated", "unit", "optional", "$comment", "$schema", "$id"]
)  # to people and to us, nothing to enforce
_KEYWORDS = {
    "string": frozenset(["type", "enum", "const", "pattern", "minLength", "maxLength"]),
    "integer": frozenset(["type", "enum", "const", *LIMITS]),
    "boolean": frozenset(["type", "enum", "const"]),
    "array": frozenset(["type", "items", "minItems", "maxItems"]),
    "object": frozenset(["type", "properties", "required", "additionalProperties"]),
}
_KEYWORDS["number"] = _KEYWORDS["integer"]
_NAME = re.compile(r"[\w.-]{1,64}")
_MARK = re.compile(r"<\||\|>|<(?:pad|eos|bos|unk|mask)>")


class SchemaError(ValueError):
    """A tool whose calls could not be kept to its schema: names the tool, the path into the schema, the keyword."""

    def __init__(self, tool: str, path: Sequence[str], keyword: str, why: str) -> None:
        self.tool, self.path, self.keyword = tool, ".".join(path), keyword
        super().__init__(f"tool {tool}: {'.'.join(['parameters', *path])}: {keyword}: {why}")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values. Texts stand in quotes, other values are written as they are in JSON."""

    written: tuple[str, ...]
    quoted: bool


@dataclass(frozen=True, slots=True)
class Numeral:
    expression: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is left open: one line of plain characters, as in streamd.core.tools.patterns."""

    expression: str  # of the whole text
    may_be_empty: bool


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Shape
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    shape: Shape
    required: bool


@dataclass(frozen=True, slots=True)
class Record:
    fields: tuple[Field, ...]  # in the order in which they are written


Shape = Choice | Numeral | Text | ListOf | Record


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in which tool's schema."""

    tool: str
    path: tuple[str, ...] = ()

    def below(self, *names: str) -> _Place:
        return _Place(self.tool, (*self.path, *names))

    def refuse(self, keyword: str, why: str) -> SchemaError:
        return SchemaError(self.tool, self.path, keyword, why)


def shape(tool: Tool) -> Record:
    """How the arguments of `tool` are written. Raises SchemaError."""
    place = _Place(tool.name)
    if not _NAME.fullmatch(tool.name):
        raise place.refuse("name", f"{tool.name!r} can't be called: use at most 64 letters, digits, _, - and .")
    _check_written(tool.description, place, "description")
    _check_written(tool.parameters, place, "schema")
    try:
        Draft202012Validator.check_schema(dict(tool.parameters))
    except MalformedError as error:
        *path, keyword = [str(step) for step in error.path if step != "properties"] or [str(error.validator)]
        raise SchemaError(tool.name, path, keyword, error.message) from error
    found = _read(tool.parameters, place)
    if not isinstance(found, Record):
        raise place.refuse("type", "parameters are an object")
    return found


def written_order(names: Mapping[str, Any]) -> list[str]:
    """The order in which Gemma's template writes keys: Jinja's dictsort."""
    return sorted(names, key=str.lower)


def _read(schema: Any, place: _Place) -> Shape:
    if not isinstance(schema, Mapping):
        raise place.refuse("schema", f"{schema!r} allows anything or nothing: give a type")
    if len(place.path) > DEEPEST:
        raise place.refuse("schema", f"is nested more than {DEEPEST} deep")
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in _KEYWORDS:
        raise place.refuse("type", f"{kind!r} can't be enforced: use one of {', '.join(sorted(_KEYWORDS))}")
    for keyword in schema:
        if keyword not in _KEYWORDS[kind] | SAID and not keyword.startswith("x-"):
            known = ", ".join(sorted(_KEYWORDS[kind]))
            raise place.refuse(keyword, f"can't be enforced for type {kind}: use {known}, or leave it out")
    if "enum" in schema or "const" in schema:
        return _choice(schema, kind, place)
    return _READ[kind](schema, place)


def _check_written(value: Any, place: _Place, keyword: str) -> None:
    """Everything in a schema may be written into the prompt."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_written(name, place, keyword)
            _check_written(item, place if keyword in ("schema", "properties") else place.below(keyword), name)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_written(item, place, keyword)
    elif isinstance(value, str) and _MARK.search(value):
        raise place.refuse(keyword, f"{value!r} reads like a control token of the model")
    elif isinstance(value, float) and not math.isfinite(value):
        raise place.refuse(keyword, f"{value} is no number of JSON")


def _choice(schema: Mapping[str, Any], kind: str, place: _Place) -> Choice:
    keyword = "const" if "const" in schema else "enum"
    if other := set(schema) & _KEYWORDS[kind] - {"type", keyword}:
        raise place.refuse(keyword, f"beside {', '.join(sorted(other))} can't be enforced: keep one of them")
    values = [schema["const"]] if keyword == "const" else schema["enum"]
    validator = Draft202012Validator({"type": kind})
    for value in values:
        if not validator.is_valid(value):
            raise place.refuse(keyword, f"{value!r} is no {kind}")
    return Choice(tuple(dict.fromkeys(_written(value, keyword, place) for value in values)), kind == "string")


def _written(value: Any, keyword: str, place: _Place) -> str:
    if isinstance(value, str):
        if bad := next((char for char in value if ord(char) < 32 or 127 <= ord(char) < 160), None):
            raise place.refuse(keyword, f"{value!r} holds {bad!r}, which can't be written")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _boolean(_schema: Mapping[str, Any], _place: _Place) -> Choice:
    return Choice(("true", "false"), quoted=False)


def _text(schema: Mapping[str, Any], place: _Place) -> Shape:
    if "pattern" in schema:
        return _pattern(schema, place)
    least = int(schema.get("minLength", 0))
    most = int(schema.get("maxLength", max(least, MOST_CHARACTERS)))
    if least > most:
        raise place.refuse("minLength", f"{least} is more than maxLength, {most}")
    if most == 0:
        return Choice(("",), quoted=True)
    return Text(f"{patterns.PLAIN}{{{max(least, 1)},{most}}}", may_be_empty=least == 0)


def _pattern(schema: Mapping[str, Any], place: _Place) -> Text:
    if other := sorted({"minLength", "maxLength"} & schema.keys()):
        raise place.refuse("pattern", f"beside {other[0]} can't be enforced: say the length in the pattern, a{{2,5}}")
    try:
        expression = patterns.whole(schema["pattern"])
    except ValueError as error:
        raise place.refuse("pattern", str(error)) from error
    return Text(expression, may_be_empty=re.fullmatch(expression, "") is not None)


def _numeral(within: Callable[[Mapping[str, Any]], str], schema: Mapping[str, Any], place: _Place) -> Numeral:
    try:
        return Numeral(within(schema))
    except LimitError as error:
        raise place.refuse(error.keyword, str(error)) from error


def _array(schema: Mapping[str, Any], place: _Place) -> ListOf:
    least = int(schema.get("minItems", 0))
    most = int(schema.get("maxItems", max(least, MOST_ITEMS)))
    if least > most:
        raise place.refuse("minItems", f"{least} is more than maxItems, {most}")
    if "items" not in schema:
        raise place.refuse("items", "is missing, so anything could stand in the list: give it")
    return ListOf(_read(schema["items"], place.below("items")), least, most)


def _object(schema: Mapping[str, Any], place: _Place) -> Record:
    if place.path and "properties" not in schema:
        raise place.refuse("properties", "is missing, so anything could stand there: give it")
    properties = schema.get("properties", {})
    if isinstance(schema.get("additionalProperties", False), Mapping):
        raise place.refuse("additionalProperties", "can't be enforced as a schema: name the properties")
    required = set(schema.get("required", ()))
    if unknown := required - set(properties):
        raise place.refuse("required", f"{', '.join(sorted(unknown))}: not among the properties")
    for name in properties:
        if not _NAME.fullmatch(name):
            raise place.below(name).refuse("name", "can't be written: use at most 64 letters, digits, _, - and .")
    return Record(
        tuple(
            Field(name, _read(properties[name], place.below(name)), name in required)
            for name in written_order(properties)
        )
    )


_READ: dict[str, Callable[[Mapping[str, Any], _Place], Shape]] = {
    "string": _text,
    "integer": partial(_numeral, integers),
    "number": partial(_numeral, numbers),
    "boolean": _boolean,
    "array": _array,
    "object": _object,
}
