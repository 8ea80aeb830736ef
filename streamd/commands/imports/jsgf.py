"""Templates of Rhasspy's, which are JSGF's with substitutions: text → words, groups and rules with their tags.

https://rhasspy.readthedocs.io/en/latest/training/#sentencesini
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_GROUPS = {"(": ")", "[": "]"}
_WORD = re.compile(r"[^\s()\[\]{}<>|:]+")
_RULE = re.compile(r"<([^<>]+)>")
_GIVES = re.compile(r":(?:\(([^()]*)\)|([^\s()\[\]{}<>|]*))")
_TAG = re.compile(r"\s*\{([A-Za-z]\w*)(?::([^{}!]*))?(?:!(\w+))?\}")


@dataclass(frozen=True, slots=True)
class Tag:
    """The slot that an item fills; with its `value`, if that is not what was said."""

    name: str
    value: str | None = None
    converter: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """Something that may be said. `gives` is written in its place."""

    gives: str | None = None
    tag: Tag | None = None


@dataclass(frozen=True, slots=True)
class Word(Item):
    text: str = ""


@dataclass(frozen=True, slots=True)
class Rule(Item):
    name: str = ""


@dataclass(frozen=True, slots=True)
class Group(Item):
    """One of the options; or none of them, if it is optional."""

    options: tuple[tuple[Item, ...], ...] = ()
    optional: bool = False


def parse(text: str) -> Group:
    """A whole template. Raises ValueError."""
    options, end = _options(text, 0, "")
    assert end == len(text)
    return Group(options=options)


def _options(text: str, at: int, closing: str) -> tuple[tuple[tuple[Item, ...], ...], int]:
    """What stands between brackets, and where the closing one is."""
    options: list[tuple[Item, ...]] = []
    items: list[Item] = []
    while at < len(text):
        if text[at] == "|":
            options.append(tuple(items))
            items, at = [], at + 1
        elif text[at].isspace():
            at += 1
        elif text[at] in _GROUPS.values():
            break
        else:
            item, at = _item(text, at)
            items.append(item)
    if text[at : at + 1] != closing:
        raise ValueError(f"brackets don't match at {text[at:] or 'the end'!r}")
    return (*options, tuple(items)), at


def _item(text: str, at: int) -> tuple[Item, int]:
    """One item with all that belongs to it."""
    item, at = _bare(text, at)
    if gives := _GIVES.match(text, at):
        item, at = replace(item, gives=gives[2] if gives[1] is None else gives[1]), gives.end()
    if tag := _TAG.match(text, at):
        item, at = replace(item, tag=Tag(tag[1], tag[2], tag[3])), tag.end()
    return item, at


def _bare(text: str, at: int) -> tuple[Item, int]:
    if closing := _GROUPS.get(text[at]):
        options, end = _options(text, at + 1, closing)
        return Group(options=options, optional=closing == "]"), end + 1
    if rule := _RULE.match(text, at):
        return Rule(name=rule[1]), rule.end()
    if word := _WORD.match(text, at):
        return Word(text=word[0]), word.end()
    if text[at] == ":":
        return Word(), at
    raise ValueError(f"not understood from {text[at:]!r} on")
