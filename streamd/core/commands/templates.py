"""A pack's templates, lists and rules as hassil reads them. https://github.com/OHF-Voice/hassil, pinned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from hassil.errors import HassilError
from hassil.expression import Expression
from hassil.intents import Intents
from hassil.parse_expression import parse_sentence
from hassil.parser import ParseError

from streamd.core.commands.definition import Command, Pack, Words
from streamd.core.commands.params import is_number

# What hassil raises for what isn't written as it wants it.
_FAULTS = (ParseError, HassilError, ValueError, TypeError, KeyError, AttributeError, AssertionError)


class GrammarError(ValueError):
    """A pack whose sentences can't be compiled. `place` is the way to the culprit in the pack."""

    def __init__(self, place: tuple[str, ...], reason: str) -> None:
        super().__init__(f"{'.'.join(place)}: {reason}")
        self.place = place
        self.reason = reason


def template(text: str, command: str, language: str) -> Expression:
    """A sentence template, parsed. Raises GrammarError."""
    try:
        return parse_sentence(text).expression
    except _FAULTS as error:
        place = ("commands", command, "sentences", language, text)
        raise GrammarError(place, f"brackets don't match, or something like it: {error}") from error


def intents(pack: Pack, language: str) -> Intents:
    """The grammar of one language as hassil's object: an intent for every command, a list for every parameter.

    A parameter without a list of its name has one made: of its enum, or of the whole numbers within its limits.
    """
    said = pack.words.get(language, Words())
    lists = _lists(pack.commands.values()) | {name: dict(item) for name, item in said.lists.items()}
    commands = {
        command.name: {"data": [{"sentences": [sentence.template for sentence in command.sentences[language]]}]}
        for command in pack.commands.values()
        if language in command.sentences
    }
    made: dict[str, Any] = {"language": language, "intents": {}, "lists": {}, "expansion_rules": {}}
    for kind, items in (("lists", lists), ("expansion_rules", said.expansion_rules)):
        for name, item in items.items():
            try:
                Intents.from_dict({**made, kind: {name: item}})
            except _FAULTS as error:
                raise GrammarError(("words", language, kind, name), f"not as hassil writes it: {error!r}") from error
            made[kind][name] = item
    return Intents.from_dict({**made, "intents": commands})


def _lists(commands: Iterator[Command] | Any) -> dict[str, Any]:
    ranges: dict[str, Any] = {}
    lists: dict[str, Any] = {}
    for command in commands:
        for name, schema in command.params.items():
            if is_number(schema):
                ranges |= _range(name, schema)
            elif isinstance(values := schema.get("enum", [schema["const"]] if "const" in schema else None), list):
                taken = lists.setdefault(name, {"values": []})
                spoken = [{"in": str(value).replace("_", " "), "out": value} for value in values]
                taken["values"] += [value for value in spoken if value not in taken["values"]]
    return ranges | lists  # another command's number of the same name is read without a list


def _range(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None or high is None:
        return {}
    first = int(Decimal(str(low)).to_integral_value(ROUND_CEILING))
    last = int(Decimal(str(high)).to_integral_value(ROUND_FLOOR))
    return {name: {"range": {"from": first, "to": max(first, last)}}}
