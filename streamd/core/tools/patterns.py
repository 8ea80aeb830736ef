"""The patterns of JSON Schema that a grammar can enforce, said in the dialect of the grammar.

A pattern is an ECMA 262 expression that is searched for in a text. What dialects understand differently is refused, or
narrowed to what all of them allow: \\d and \\w are ASCII here, \\s is a space.
"""

from __future__ import annotations

import re
from collections.abc import Callable

CLASSES = {"d": "0-9", "w": "0-9A-Z_a-z", "s": " "}

_TOKEN = re.compile(
    r"""(?P<escape>\\.) | (?P<set>\[(?:\\.|[^\]\\])*\]) | (?P<group>\((?:\?:)?) | (?P<end>\)) | (?P<either>\|)
      | (?P<times>[*+?]|\{\d+(?:,\d*)?\}) | (?P<any>\.) | (?P<anchor>[\^$]) | (?P<literal>.)""",
    re.VERBOSE | re.DOTALL,
)
_MEMBER = re.compile(r"\\.|.", re.DOTALL)


def whole(pattern: str) -> str:
    """An expression that must match a whole text, for one that is searched for in it.

    Raises ValueError that names the construct which can't be said.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    tokens = [(str(token.lastgroup), token[0]) for token in _TOKEN.finditer(pattern)]
    before = after = "(?s:.*)"
    if tokens and tokens[0] == ("anchor", "^"):
        tokens, before = tokens[1:], ""
    if tokens and tokens[-1] == ("anchor", "$"):
        tokens, after = tokens[:-1], ""
    if not (before and after) and _has_alternatives(tokens):
        raise ValueError("^ and $ beside | belong to one alternative only: put the alternatives into a group")
    return before + f"({_said(tokens)})" + after


def _has_alternatives(tokens: list[tuple[str, str]]) -> bool:
    depth = 0
    for kind, _ in tokens:
        depth += (kind == "group") - (kind == "end")
        if kind == "either" and depth == 0:
            return True
    return False


def _said(tokens: list[tuple[str, str]]) -> str:
    said, last = "", "group"
    for kind, text in tokens:
        if kind == "times" and last in ("times", "group", "either"):
            raise ValueError(f"{text} can stand only behind what it repeats: (?…), *? and the like can't be enforced")
        said += _SAY[kind](text)
        last = kind
    return said


def _group(text: str) -> str:
    return "(" if text == "(" else "(?:"


def _anchor(text: str) -> str:
    raise ValueError(f"{text} can stand at an end of the pattern only")


def _literal(text: str) -> str:
    if text in "?{}":  # what _TOKEN leaves over of (?=…), {…} and the like
        raise ValueError(f"{text} means different things to different readers here: write \\{text} for the character")
    return character(text)


def _escape(text: str) -> str:
    name = text[1]
    if name in CLASSES:
        return f"[{CLASSES[name]}]"
    if name.isalnum():
        raise ValueError(f"{text} can't be enforced: use a set of characters")
    return character(name)


def _set(text: str) -> str:
    inner = text[1:-1]
    if inner in ("", "^"):
        raise ValueError(f"{text} is a set of nothing to some readers: escape the bracket")
    negated = inner.startswith("^")
    members = [_member(token[0], negated) for token in _MEMBER.finditer(inner.removeprefix("^"))]
    return f"[{'^' if negated else ''}{''.join(members)}]"


def _member(text: str, negated: bool) -> str:
    if text == "-":
        return text  # a range, or, at either end, itself: all dialects agree
    if text[0] != "\\":
        return character(text)
    if text[1] in CLASSES and not negated:
        return CLASSES[text[1]]
    if text[1].isalnum():
        raise ValueError(f"{text} in a set can't be enforced: name the characters")
    return character(text[1])


def character(text: str) -> str:
    """One character that means itself in every dialect, in a set and outside."""
    return text if text.isalnum() or text in " _" or text > "\x7f" else f"\\x{ord(text):02X}"


_SAY: dict[str, Callable[[str], str]] = {
    "escape": _escape,
    "set": _set,
    "group": _group,
    "end": str,
    "either": str,
    "times": str,
    "any": lambda _: ".",
    "anchor": _anchor,
    "literal": _literal,
}
