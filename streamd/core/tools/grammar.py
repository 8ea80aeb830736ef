"""The grammar of all calls of some tools, in llguidance's dialect of Lark.

https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md. Lower case names are rules, upper case ones are
terminals: what a terminal matches is one lexeme, its expression is matched as long as it can be.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from streamd.core.tools.schema import Choice, ListOf, Numeral, Record, Shape, Text, shape
from streamd.core.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class Marks:
    """Ids of the control tokens that calls are written with."""

    call: int  # <|tool_call>
    call_end: int  # <tool_call|>
    quote: int  # <|"|>
    turn_end: int  # <turn|>


def grammar(tools: Sequence[Tool], marks: Marks) -> str:
    """One call of one of `tools`, or none: the turn ends at once, or after the word none. Raises SchemaError."""
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise ValueError(f"two tools have one name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    writer = _Writer(marks)
    calls = [f"{_literal(f'call:{tool.name}')} {writer.value(shape(tool))}" for tool in tools]
    call = f"call: <[{marks.call}]> ({' | '.join(calls)}) <[{marks.call_end}]>"
    start = "start: call | none" if tools else "start: none"
    return "\n".join([start, *([call] if tools else []), f'none: "none"? <[{marks.turn_end}]>', *writer.lines, ""])


class _Writer:
    """Writes each different rule and terminal once."""

    def __init__(self, marks: Marks) -> None:
        self._quote = f"<[{marks.quote}]>"
        self._names: dict[str, str] = {}

    @property
    def lines(self) -> list[str]:
        return [f"{name}: {body}" for body, name in self._names.items()]

    def value(self, of: Shape) -> str:
        match of:
            case Choice(written, quoted):
                return self._choice(written, quoted)
            case Numeral(expression):
                return self._terminal(f"/{expression}/")
            case Text():
                return self._text(of)
            case ListOf():
                return self._list(of)
        return self._record(of)

    def _choice(self, written: tuple[str, ...], quoted: bool) -> str:
        texts = [_literal(text) for text in written if text]
        value = self._terminal(" | ".join(texts)) if texts else ""
        optional = "?" if texts and "" in written else ""
        return f"{self._quote} {value}{optional} {self._quote}" if quoted else value

    def _text(self, text: Text) -> str:
        optional = "?" if text.may_be_empty else ""
        return f"{self._quote} {self._terminal(f'/{text.expression}/')}{optional} {self._quote}"

    def _list(self, of: ListOf) -> str:
        if not of.most:
            return '"[" "]"'
        item = self._rule(self.value(of.item))
        items = f'{item} ("," {item}){{{max(of.least, 1) - 1},{of.most - 1}}}' if of.most > 1 else item
        return self._rule(f'"[" {items} "]"' if of.least else f'"[" ({items})? "]"')

    def _record(self, record: Record) -> str:
        """Fields in their order; of each, one rule for when it is the first that is written and one for later."""
        first = later = '"}"'
        for field in reversed(record.fields):
            value = self.value(field.shape)
            alone = f"{_literal(field.name + ':')} {value} {later}"
            behind = f"{_literal(',' + field.name + ':')} {value} {later}"
            first = self._rule(alone if field.required else f"{alone} | {first}")
            later = self._rule(behind if field.required else f"{behind} | {later}")
        return f'"{{" {first}'

    def _rule(self, body: str) -> str:
        return self._names.setdefault(body, f"r{len(self._names)}")

    def _terminal(self, body: str) -> str:
        return self._names.setdefault(body, f"T{len(self._names)}")


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
