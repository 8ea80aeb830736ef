"""Rhasspy's sentences.ini. https://rhasspy.readthedocs.io/en/latest/training/#sentencesini

`(a | b:c){name}` becomes a list of what may be said and what it gives; `{name!int}` makes numbers of it (also float and
bool). `a:b` without a tag has nowhere to go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

from streamd.commands.imports.hassil import params_of_lists
from streamd.commands.imports.jsgf import Group, Item, Rule, Tag, Word, parse
from streamd.commands.imports.shared import AT_ONCE, Data, by_title, title_of
from streamd.core.commands.definition import Scalar
from streamd.errors import ConfigError

MOST_VALUES = 2_000  # that one slot may have
DEEPEST = 24  # rules within rules
_SECTION = re.compile(r"\[([\w.:/ -]+)\]")
_RULE = re.compile(r"([\w.]+)\s*=\s*(.+)")
_SPAN = re.compile(r"\d+\.\.\d+(?:,\d+)?")
_CONVERTERS: Mapping[str | None, Callable[[str], Scalar]] = {
    None: str,
    "int": int,
    "float": float,
    "bool": lambda text: text.lower() in ("true", "yes", "on", "1"),
}


def rhasspy(text: str, name: str) -> Data:
    """Intents as a pack's data."""
    sections = _sections(text, name)
    dialect = _Dialect(
        {f"{title}.{rule}": body for title, (rules, _) in sections.items() for rule, body in rules.items()}
    )
    said = [
        (title, [_told(dialect, title, sentence, name) for sentence in sentences])
        for title, (_, sentences) in sections.items()
        if sentences
    ]
    commands = by_title(((title, {"sentences": templates, "safety": AT_ONCE}) for title, templates in said), name)
    bodies = [
        (f"{title}.{rule}", _told(dialect, title, body, name))
        for title, (bodies, _) in sections.items()
        for rule, body in bodies.items()
    ]
    rules = by_title(bodies, name)
    for command in commands.values():
        command["params"] = params_of_lists(command["sentences"], dialect.lists, rules)
    return {"language": "en", "commands": commands, "lists": dialect.lists, "expansion_rules": rules}


def _sections(text: str, name: str) -> dict[str, tuple[dict[str, str], list[str]]]:
    """Of each intent: its rules and its sentences."""
    sections: dict[str, tuple[dict[str, str], list[str]]] = {}
    rules: dict[str, str] = {}
    sentences: list[str] = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith(("#", ";")):
            continue
        if section := _SECTION.fullmatch(line):
            rules, sentences = sections.setdefault(section[1], ({}, []))
        elif not sections:
            raise ConfigError(f"{name}:{number}: no sentences.ini: a sentence before the first [Intent]")
        elif "$" in line or "!" in re.sub(r"\{[^{}]*\}", "", line):
            raise ConfigError(f"{name}:{number}: slot files and converters are not in this file: write the values out")
        elif rule := _RULE.fullmatch(line):
            rules[rule[1]] = rule[2]
        else:
            sentences.append(line.removeprefix("\\"))
    return sections


def _told(dialect: _Dialect, section: str, text: str, name: str) -> str:
    """A template as hassil's. Raises ConfigError that names it."""
    try:
        return dialect.template(section, parse(text).options)
    except ValueError as error:
        raise ConfigError(f"{name}: [{section}] {text}: {error}") from error


class _Dialect:
    """Rhasspy's templates as hassil's. `rules` are those of all sections; `lists` holds what slots may be."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._rules = rules
        self.lists: Data = {}

    def template(self, section: str, options: Sequence[Sequence[Item]]) -> str:
        """Options that a section writes. Raises ValueError."""
        told = (" ".join(filter(None, (self._item(section, item) for item in items))) for items in options)
        return "|".join(told) if len(options) == 1 else f"({'|'.join(told)})"

    def _item(self, section: str, item: Item) -> str:
        if item.tag is not None:
            return self._slot(section, item, item.tag)
        match item:
            case Word(text=text):
                return text
            case Rule(name=name):
                return f"<{title_of(self._rule(section, name)[1])}>"
            case Group(options=options, optional=optional):
                inner = self.template(section, options)
                return f"[{inner}]" if optional else inner if inner.startswith("(") else f"({inner})"
        raise AssertionError(item)

    def _rule(self, section: str, name: str) -> tuple[str, str]:
        """The section of a rule, and its name with it. A rule without one is of the section that refers to it."""
        full = name if name in self._rules else f"{section}.{name}"
        if full not in self._rules:
            raise ValueError(f"there is no rule <{name}>")
        return full.rpartition(".")[0], full

    def _slot(self, section: str, item: Item, tag: Tag) -> str:
        """{tag:value} gives one value for all of it."""
        if tag.converter not in _CONVERTERS:
            raise ValueError(f"the converter {tag.converter} of {tag.name} is not known: int, float and bool are")
        if isinstance(item, Group) and item.optional:
            return f"[{self._slot(section, Group(gives=item.gives, options=item.options), tag)}]"
        if span := self._span(section, item, 0):
            return f"{{{span}:{tag.name}}}"
        body = {"values": list(self._values_of(section, item, tag, _CONVERTERS[tag.converter]))}
        title = tag.name
        while self.lists.setdefault(title, body) != body:
            title += "_"
        return f"{{{title}}}" if title == tag.name else f"{{{title}:{tag.name}}}"

    def _span(self, section: str, item: Item, depth: int) -> str | None:
        """The numbers that an item is, and nothing else."""
        match item:
            case Group(options=((only,),), gives=None, optional=False) if only.tag is None:
                return self._span(section, only, depth)
            case Rule(name=name, gives=None) if depth < DEEPEST:
                within, full = self._rule(section, name)
                return self._span(within, parse(self._rules[full]), depth + 1)
            case Word(text=text, gives=None) if _SPAN.fullmatch(text):
                return text
            case _:
                return None

    def _values_of(
        self, section: str, item: Item, tag: Tag, convert: Callable[[str], Scalar]
    ) -> Iterator[dict[str, Scalar]]:
        for said, gives in self._values(section, item, 0):
            if not said:
                raise ValueError(f"{tag.name} may be said without a word")
            yield {"in": said, "out": convert(gives if tag.value is None else tag.value)}

    def _values(self, section: str, item: Item, depth: int) -> list[tuple[str, str]]:
        """Ways to say an item, and what is written: `big:large lamp` is said "big lamp" and gives "large lamp"."""
        match item:
            case Word(text=text, gives=gives):
                if _SPAN.fullmatch(text) or text == "*":
                    raise ValueError(f"{text} beside other words has no list of values: write them out")
                return [(text, text if gives is None else gives)]
            case Rule(name=name) if depth < DEEPEST:
                within, full = self._rule(section, name)
                found = self._choice(within, parse(self._rules[full]).options, depth + 1)
            case Group(options=options, optional=optional):
                found = self._choice(section, options, depth) + ([("", "")] if optional else [])
            case _:
                raise ValueError("its rules refer to each other without an end")
        return found if item.gives is None else [(said, item.gives) for said, _ in found]

    def _choice(self, section: str, options: Sequence[Sequence[Item]], depth: int) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for items in options:
            if any(item.tag for item in items):
                raise ValueError("a tag within a tag")
            for parts in product(*(self._values(section, item, depth) for item in items)):
                found.append((_joined(said for said, _ in parts), _joined(gives for _, gives in parts)))
                if len(found) > MOST_VALUES:
                    raise ValueError(f"a slot of more than {MOST_VALUES} values")
        return found


def _joined(words: Iterable[str]) -> str:
    return " ".join(filter(None, words))
