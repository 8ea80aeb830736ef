"""Templates → a network: pieces of words as hassil has them become the whole words that are heard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations

from hassil.expression import (
    Alternative,
    Expression,
    Group,
    ListReference,
    Permutation,
    RuleReference,
    Sentence,
    TextChunk,
)

from streamd.core.commands.network import Network, Node, Slot, Source
from streamd.core.commands.spoken import SIGNS, is_figure, words

MOST_PERMUTED = 5  # parts of one permutation: 120 orders
DEEPEST = 24  # rules within rules
# Words that go on with a number, or begin one, and are none themselves.
_WITHIN_NUMBERS = frozenset(
    {"and", "a", "half", "point", "hundred", "thousand", "minus", "und", "ein", "halb", "komma", "hundert", "tausend"}
)
_BREAK = re.compile(r"(\s+)")


class TemplateError(ValueError):
    """A template that can't be compiled."""


def _spoken(piece: str) -> bool:
    """Punctuation alone is not."""
    return piece.isspace() or any(char.isalnum() or char in SIGNS for char in piece)


def _orders(items: list[Expression]) -> list[Expression]:
    if len(items) > MOST_PERMUTED:
        raise TemplateError(f"more than {MOST_PERMUTED} parts in any order: split it")
    return [Group(items=list(order)) for order in permutations(items)]


class Draft:
    """A network that is being made: pieces of words first, whole words when it is finished.

    An edge carries a piece of a word, the space between two words, a slot, or nothing.
    """

    def __init__(self, language: str, rules: Mapping[str, Sentence]) -> None:
        self._language, self._rules = language, rules
        self._edges: list[list[tuple[int, str | tuple[str, Source] | None]]] = [[]]
        self._ends: dict[int, list[object]] = {}

    def add(self, expression: Expression, meaning: object, source: Callable[[ListReference], Source]) -> None:
        """One more sentence; `source` knows what can be said for a {reference}. Raises TemplateError."""
        end = self._draw(expression, 0, source, 0)
        if end == 0:
            raise TemplateError("says nothing")
        self._ends.setdefault(end, []).append(meaning)

    def _node(self, start: int, label: str | tuple[str, Source] | None) -> int:
        self._edges.append([])
        self._edges[start].append((len(self._edges) - 1, label))
        return len(self._edges) - 1

    def _draw(self, expression: Expression, start: int, source: Callable[[ListReference], Source], depth: int) -> int:
        """Edges for an expression that begins at node `start`; the node at which it ends."""
        if depth > DEEPEST:
            raise TemplateError("its rules refer to each other without an end")
        match expression:
            case TextChunk():
                return self._write(expression.original_text, start)
            case Alternative():
                return self._either(expression.items, start, source, depth)
            case Permutation():
                return self._either(_orders(expression.items), start, source, depth)
            case Group():
                for item in expression.items:
                    start = self._draw(item, start, source, depth + 1)
                return start
            case RuleReference(rule_name=name) if name in self._rules:
                return self._draw(self._rules[name].expression, start, source, depth + 1)
            case ListReference():
                return self._node(start, (expression.slot_name, source(expression)))
        raise TemplateError(f"there is no expansion rule {expression}")

    def _write(self, text: str, start: int) -> int:
        for piece in filter(_spoken, _BREAK.split(text)):
            start = self._node(start, " " if piece.isspace() else piece.casefold())
        return start

    def _either(
        self, items: Sequence[Expression], start: int, source: Callable[[ListReference], Source], depth: int
    ) -> int:
        ends = [self._draw(item, start, source, depth + 1) for item in items]
        end = self._node(ends[0], None)
        for other in ends[1:]:
            self._edges[other].append((end, None))
        return end

    def finish(self) -> Network:
        """The network of what was added."""
        return _Joiner(self._edges, self._ends, self._language).network()


class _Joiner:
    """Pieces → words. A node of the network is a node of the draft at which a word may begin."""

    def __init__(
        self,
        edges: list[list[tuple[int, str | tuple[str, Source] | None]]],
        ends: dict[int, list[object]],
        language: str,
    ) -> None:
        self._edges, self._ends, self._language = edges, ends, language
        self._numbers: dict[tuple[int, bool], int] = {}
        self._todo: list[tuple[int, bool]] = []
        self._raw: list[dict[tuple[str, int], None]] = []  # words as written
        self._nodes: list[Node] = []

    def network(self) -> Network:
        self._boundary(0)
        for number, (drafted, slots_only) in enumerate(self._todo):  # which grows meanwhile
            self._nodes.append(Node())
            self._raw.append({})
            self._explore(number, drafted, "", slots_only=slots_only)
        for number in range(len(self._raw)):
            self._write(number)
        return Network(self._nodes)

    def _boundary(self, drafted: int, *, slots_only: bool = False) -> int:
        """The node of the network for one of the draft."""
        at = (drafted, slots_only)
        if at not in self._numbers:
            self._numbers[at] = len(self._todo)
            self._todo.append(at)
        return self._numbers[at]

    def _explore(self, number: int, drafted: int, word: str, *, slots_only: bool = False) -> None:
        """Edges of node `number` that go through `drafted`, where `word` has been written so far."""
        self._end(number, drafted, word)
        for to, label in self._edges[drafted]:
            if label is None:
                self._explore(number, to, word, slots_only=slots_only)
            elif isinstance(label, tuple):
                if word:  # a slot is whole words, so a word ends before it
                    self._raw[number][word, self._boundary(drafted, slots_only=True)] = None
                else:
                    self._nodes[number].slots.append(Slot(label[0], label[1], self._boundary(to)))
            elif slots_only:
                continue
            elif label == " ":
                if word:
                    self._raw[number][word, self._boundary(to)] = None
                else:
                    self._explore(number, to, "")
            else:
                self._explore(number, to, word + label)

    def _end(self, number: int, drafted: int, word: str) -> None:
        for meaning in self._ends.get(drafted, ()):
            if not word:
                self._nodes[number].ends += [meaning] if meaning not in self._nodes[number].ends else []
            else:
                end = self._boundary(drafted)
                self._raw[number][word, end] = None

    def _write(self, number: int) -> None:
        """Words as they are heard: several for one that is written with a hyphen, figures for number words."""
        for word, to in self._raw[number]:
            self._path(number, words(word, self._language), to)
            if self._in_number(word):
                for said, end in self._numbers_from(word, to):
                    self._path(number, (said,), end)

    def _path(self, number: int, said: tuple[str, ...], to: int) -> None:
        for word in said[:-1]:
            self._nodes.append(Node())
            self._nodes[number].words.setdefault(word, []).append(len(self._nodes) - 1)
            number = len(self._nodes) - 1
        if to not in (tos := self._nodes[number].words.setdefault(said[-1], [])):
            tos.append(to)

    def _in_number(self, word: str) -> bool:
        return word in _WITHIN_NUMBERS or any(map(is_figure, words(word, self._language)))

    def _numbers_from(self, text: str, node: int) -> Iterator[tuple[str, int]]:
        """Numbers of several words that begin with `text` and go on at `node`."""
        for word, to in self._raw[node]:
            if self._in_number(word):
                longer = f"{text} {word}"
                said = words(longer, self._language)
                if len(said) == 1:
                    yield said[0], to
                if len(said) == 1 or word in _WITHIN_NUMBERS:
                    yield from self._numbers_from(longer, to)
