"""What every importer says of what it makes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from streamd.errors import ConfigError

Data = dict[str, Any]
"""A pack as its file says it."""

AT_ONCE = {"risk": "low"}  # where it came from asked nobody either

_REFERENCE = re.compile(r"\{([^{}:]+)(?::([^{}:@]+))?\}")
_RULE = re.compile(r"<([^<>]+)>")
_MAYBE = re.compile(r"\[[^\[\]()]*\]|\([^\[\]()]*\|[^\[\]()]*\)")  # what needn't be said: [a], and (a|b) in part
_ALWAYS = re.compile(r"\(([^\[\]()|]*)\)")


def title_of(name: str) -> str:
    """A command's name that is as near to another system's as may be."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:64]


def by_title(items: Iterable[tuple[str, Any]], file: str) -> Data:
    """Items by the titles of their names. Raises ConfigError for two names of which one would be lost."""
    names: dict[str, str] = {}
    found: Data = {}
    for name, item in items:
        title = title_of(name)
        if title in names:
            raise ConfigError(f"{file}: {names[title]!r} and {name!r} would both be called {title}: rename one")
        names[title], found[title] = name, item
    return found


def slots_of(template: str, rules: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, str]]:
    """Slot and list of every reference in a template of hassil's, and in the rules that it refers to."""
    for title, slot in _REFERENCE.findall(template):
        yield slot or title, title
    for rule in _RULE.findall(template) if depth <= len(rules) else ():
        yield from slots_of(str(rules.get(rule, "")), rules, depth + 1)


def mark_optional(params: Data, said: Iterable[tuple[str, Mapping[str, Any]]], rules: Mapping[str, Any]) -> None:
    """`optional` for every parameter without which one of the sentences (template, fixed parameters) can be said."""
    for template, fixed in said:
        certain = {slot for slot, _ in slots_of(_certain(template), {key: _certain(str(rules[key])) for key in rules})}
        for slot in params.keys() - certain - fixed.keys():
            params[slot]["optional"] = True


def _certain(template: str) -> str:
    """What of a template is always said."""
    before = ""
    while before != template:
        before = template
        template = _ALWAYS.sub(r" \1 ", _MAYBE.sub(" ", template))
    return template
