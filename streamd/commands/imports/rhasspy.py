"""Rhasspy's sentences.ini. https://rhasspy.readthedocs.io/en/latest/training/#sentencesini

`(a | b:c){name}` becomes a list of what may be said and what it gives; `{name!int}` makes numbers of it (also float and
bool). `a:b` without a tag has nowhere to go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from streamd.commands.imports.hassil import params_of_lists
from streamd.commands.imports.shared import AT_ONCE, Data
from streamd.core.commands.definition import Scalar
from streamd.errors import ConfigError

_SECTION = re.compile(r"\[([\w.:/ -]+)\]")
_RULE = re.compile(r"([\w.]+)\s*=\s*(.+)")
_TAG = re.compile(r"\{(\w+)(?::([^{}!]*))?(?:!(int|float|bool))?\}")
_CONVERTERS: dict[str | None, Callable[[str], Scalar]] = {
    None: str,
    "int": int,
    "float": float,
    "bool": lambda text: text.lower() in ("true", "yes", "on", "1"),
}
_LAST_WORD = re.compile(r"(?:<[\w.]+>|[^\s()\[\]{}|]+)$")
_CHOICE = re.compile(r"\((?:[^()\[\]<>{}]|\([^()\[\]<>{}]*\))*\)$")  # of words, or of groups of words
_SUBSTITUTED = re.compile(r"(?<=[\w)]):[\w-]*")


def rhasspy(text: str, name: str) -> Data:
    """Intents as a pack's data."""
    sections = _sections(text, name)
    bodies = {f"{title}.{rule}": body for title, (rules, _) in sections.items() for rule, body in rules.items()}
    lists: Data = {}
    commands: Data = {}
    for title, (_, sentences) in sections.items():
        templates = [_Dialect(title, bodies, lists, name).template(sentence) for sentence in sentences]
        if templates:
            commands[title] = {"sentences": templates, "safety": AT_ONCE}
    rules = {
        rule: _Dialect(rule.partition(".")[0], bodies, lists, name).template(body) for rule, body in bodies.items()
    }
    for command in commands.values():
        command["params"] = params_of_lists(command["sentences"], lists, rules)
    return {"language": "en", "commands": commands, "lists": lists, "expansion_rules": rules}


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
        elif rule := _RULE.fullmatch(line):
            rules[rule[1]] = rule[2]
        elif "$" in line or "!" in _TAG.sub("", line):
            raise ConfigError(f"{name}:{number}: slot files and converters are not in this file: write the values out")
        else:
            sentences.append(line.removeprefix("\\"))
    return sections


class _Dialect:
    """Rhasspy's templates of one section as hassil's."""

    def __init__(self, section: str, rules: dict[str, str], lists: Data, name: str) -> None:
        self._section, self._rules, self._lists, self._name = section, rules, lists, name

    def template(self, text: str) -> str:
        text = re.sub(r"<([\w.]+)>", lambda found: f"<{self._rule(found[1])}>", text)
        return "".join(self._pieces(text))

    def _pieces(self, text: str) -> Iterator[str]:
        """Words between slots, and slots: what stands before a tag is what is said for it."""
        at = 0
        for tag in _TAG.finditer(text):
            before = text[at : tag.start()]
            body = _CHOICE.search(before) or _LAST_WORD.search(before)
            if body is None:
                raise ConfigError(
                    f"{self._name}: [{self._section}] {text}: {tag[0]} is a tag on more than a choice of words"
                )
            yield _SUBSTITUTED.sub("", before[: body.start()])
            try:
                yield self._list(body[0], tag[1], tag[2], _CONVERTERS[tag[3]])
            except ValueError as error:
                raise ConfigError(f"{self._name}: [{self._section}] {text}: {tag[0]}: {error}") from error
            at = tag.end()
        yield _SUBSTITUTED.sub("", text[at:])

    def _rule(self, title: str) -> str:
        return title if "." in title else f"{self._section}.{title}"

    def _list(self, body: str, tag: str, fixed: str | None, convert: Callable[[str], Scalar]) -> str:
        """The slot that a group, word or rule with a tag becomes. {tag:value} gives one value for all of it."""
        if body.startswith("<"):
            body = self._rules.get(body[1:-1], "")
        inner = body.strip()
        inner = inner[1:-1].strip() if inner.startswith("(") and inner.endswith(")") else inner
        if span := re.fullmatch(r"(\d+)\.\.(\d+)", inner):
            return f"{{{span[0]}:{tag}}}"
        body_of_list = {"values": [_value(part.strip(), fixed, convert) for part in inner.split("|")]}
        title = tag
        while self._lists.setdefault(title, body_of_list) != body_of_list:
            title += "_"
        return f"{{{title}}}" if title == tag else f"{{{title}:{tag}}}"


def _value(part: str, fixed: str | None, convert: Callable[[str], Scalar]) -> dict[str, Any]:
    """`big:large lamp` is said "big lamp" and gives "large lamp"; `(big lamp):lamp_1` gives lamp_1."""
    group = re.fullmatch(r"\((.*)\)(?::(\S*))?", part)
    words = [word.partition(":") for word in (group[1] if group else part).split()]
    spoken = " ".join(said for said, _, _ in words if said)
    written = " ".join(filter(None, (gives if colon else said for said, colon, gives in words)))
    if group and group[2] is not None:
        written = group[2]
    return {"in": spoken, "out": convert(written if fixed is None else fixed)}
