"""The patterns of JSON Schema that a grammar can enforce, said in the dialect of the grammar.

A pattern is an ECMA 262 expression that is searched for in a text. What dialects understand differently is refused, or
narrowed to what all of them allow: \\d and \\w are ASCII here, \\s is a space. Expressions are made of plain characters
only, instead of being intersected with all texts of such: where the two run out at different lengths, llguidance
1.9 panics.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Range = tuple[int, int]  # code points, both included

_PLAIN: tuple[Range, ...] = (
    *((0x20, 0x7B), (0x7D, 0x7E)),  # no control characters, and no |, which every control token of a call has
    *((0xA0, 0x2027), (0x202A, 0xD7FF), (0xE000, 0x10FFFF)),  # no line ends, no surrogates
)
_CLASSES: dict[str, tuple[Range, ...]] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x20, 0x20),),
}
_TOKEN = re.compile(
    r"""(?P<escape>\\.) | (?P<set>\[(?:\\.|[^\]\\])*\]) | (?P<group>\((?:\?:)?) | (?P<end>\)) | (?P<either>\|)
      | (?P<times>[*+?]|\{\d+(?:,\d*)?\}) | (?P<any>\.) | (?P<anchor>[\^$]) | (?P<literal>.)""",
    re.VERBOSE | re.DOTALL,
)
_MEMBER = re.compile(r"(?P<first>\\.|.)(?:-(?P<last>\\.|[^\\]))?", re.DOTALL)


def whole(pattern: str) -> str:
    """An expression that matches those plain texts, as a whole, in which `pattern` is found.

    Raises ValueError that names the construct which can't be said.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    tokens = [(str(token.lastgroup), token[0]) for token in _TOKEN.finditer(pattern)]
    before = after = f"{PLAIN}*"
    if tokens and tokens[0] == ("anchor", "^"):
        tokens, before = tokens[1:], ""
    if tokens and tokens[-1] == ("anchor", "$"):
        tokens, after = tokens[:-1], ""
    if not (before and after) and _has_alternatives(tokens):
        raise ValueError("^ and $ beside | belong to one alternative only: put the alternatives into a group")
    return f"{before}({_said(tokens)}){after}"


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


def _anchor(text: str) -> str:
    raise ValueError(f"{text} can stand at an end of the pattern only")


def _literal(text: str) -> str:
    if text in "?{}":  # what _TOKEN leaves over of (?=…), {…} and the like
        raise ValueError(f"{text} means different things to different readers here: write \\{text} for the character")
    return _one_of([(ord(text), ord(text))], text)


def _escape(text: str) -> str:
    return _one_of(_meant(text), text)


def _set(text: str) -> str:
    inner = text[1:-1]
    negated, members = inner.startswith("^"), inner.removeprefix("^")
    if not members:
        raise ValueError(f"{text} is a set of nothing to some readers: escape the bracket")
    ranges = [found for member in _MEMBER.finditer(members) for found in _ranges(member)]
    if not negated:
        return _one_of(ranges, text)
    if r"\d" in members or r"\w" in members or r"\s" in members:
        raise ValueError(f"{text} can't be enforced: name the characters that it leaves out")
    return _one_of(_without(_PLAIN, ranges), text)


def _ranges(member: re.Match[str]) -> Iterable[Range]:
    first, last = _meant(member["first"]), _meant(member["last"] or member["first"])
    return first if first == last else [(first[0][0], last[0][1])]


def _meant(text: str) -> tuple[Range, ...]:
    """What a character, or one behind a backslash, stands for."""
    if len(text) == 1:
        return ((ord(text), ord(text)),)
    if text[1] in _CLASSES:
        return _CLASSES[text[1]]
    if text[1].isalnum():
        raise ValueError(f"{text} can't be enforced: name the characters")
    return ((ord(text[1]), ord(text[1])),)


def _one_of(ranges: Iterable[Range], text: str) -> str:
    """An expression of one plain character within `ranges`."""
    plain = sorted(
        (max(start, low), min(stop, high))
        for start, stop in ranges
        for low, high in _PLAIN
        if start <= high and low <= stop
    )
    if not plain:
        raise ValueError(f"{text} can't stand in a text that is left open: use enum")
    return f"[{''.join(f'{_character(low)}-{_character(high)}' for low, high in plain)}]"


def _without(ranges: Iterable[Range], removed: list[Range]) -> list[Range]:
    left = list(ranges)
    for start, stop in removed:
        left = [
            part
            for low, high in left
            for part in ((low, min(high, start - 1)), (max(low, stop + 1), high))
            if part[0] <= part[1]
        ]
    return left


def _character(point: int) -> str:
    """In a set, to Rust and to Python."""
    return chr(point) if chr(point).isalnum() or point > 0x7F else f"\\x{point:02X}"


_SAY: dict[str, Callable[[str], str]] = {
    "escape": _escape,
    "set": _set,
    "group": str,
    "end": str,
    "either": str,
    "times": str,
    "any": lambda text: _one_of(_PLAIN, text),
    "anchor": _anchor,
    "literal": _literal,
}

PLAIN = _one_of(_PLAIN, ".")
"""Any one character of a text that is left open."""
