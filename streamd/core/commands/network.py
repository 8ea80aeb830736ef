"""Sentences as a network of words: nodes, an edge for each word or slot, and what a sentence means at its end.

A text is followed in one pass; the sentences can be counted, and any one of them be named by its number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Protocol

from streamd.core.commands.spoken import is_figure

Value = bool | int | float | str
Params = tuple[tuple[str, Value], ...]


class Free(str):
    """Words that are nobody's but the speaker's."""


class Source(Protocol):
    """What can be said in a slot."""

    @property
    def size(self) -> int:
        """How many ways there are to say it; each has a number below this."""

    def spans(self, heard: Sequence[str], start: int) -> Iterator[tuple[int, Value]]:
        """Where what is said from word `start` may end, and the value that it gives."""

    def say(self, index: int) -> tuple[tuple[str, ...], Value]:
        """One way to say it, and its value."""


@dataclass(frozen=True, slots=True)
class Slot:
    """An edge on which a value is said."""

    name: str
    source: Source
    to: int


@dataclass(slots=True)
class Node:
    """Where a sentence may stand, and how it goes on."""

    words: dict[str, list[int]] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    ends: list[object] = field(default_factory=list)  # what a sentence that ends here means


@dataclass(frozen=True)
class Network:
    """Paths from node 0 to any node with an end. It has no cycles."""

    nodes: list[Node]

    def walk(self, heard: Sequence[str], start: int = 0) -> Iterator[tuple[int, object, Params, tuple[str, ...]]]:
        """Everything that `heard` may be from word `start` on.

        The word after it, what it means, the slots' values, and the words without those that are Free.
        """
        reached: list[dict[tuple[int, Params], tuple[str, ...]]] = [{} for _ in range(len(heard) + 1)]
        reached[start][0, ()] = ()
        spans: dict[tuple[int, int], list[tuple[int, Value]]] = {}
        for at in range(start, len(heard) + 1):
            for (number, params), literal in reached[at].items():
                node = self.nodes[number]
                for meaning in node.ends:
                    yield at, meaning, params, literal
                if at == len(heard):
                    continue
                for to in node.words.get(heard[at], ()):
                    reached[at + 1][to, params] = (*literal, heard[at])
                for slot in node.slots:
                    key = (id(slot.source), at)
                    if key not in spans:
                        spans[key] = list(slot.source.spans(heard, at))
                    for end, value in spans[key]:
                        own = () if isinstance(value, Free) else heard[at:end]
                        reached[end][slot.to, (*params, (slot.name, value))] = (*literal, *own)

    @cached_property
    def _sizes(self) -> dict[int, int]:
        """Node → how many sentences go on from there."""
        sizes: dict[int, int] = {}
        todo = [0]
        while todo:
            number = todo[-1]
            node = self.nodes[number]
            after = [to for tos in node.words.values() for to in tos] + [slot.to for slot in node.slots]
            if missing := [to for to in after if to not in sizes]:
                todo += missing
                continue
            sizes[number] = len(node.ends) + sum(size for _, size in self._ways(number, sizes))
            todo.pop()
        return sizes

    @cached_property
    def _fans(self) -> dict[int, tuple[list[tuple[tuple[str | Slot, int], int]], list[int]]]:
        """Node → its edges as `_ways` has them, and how many sentences take each or one before it; kept once asked."""
        return {}

    def _ways(self, number: int, sizes: dict[int, int]) -> Iterator[tuple[tuple[str | Slot, int], int]]:
        """The edges of a node, with the node that they lead to, and how many sentences take them."""
        node = self.nodes[number]
        for word, tos in node.words.items():
            for to in tos:
                yield (word, to), sizes[to]
        for slot in node.slots:
            yield (slot, slot.to), slot.source.size * sizes[slot.to]

    def spread(self, count: int) -> Iterator[int]:
        """Numbers of about `count` sentences, as unlike each other as the network allows."""
        todo = [(0, count, 0)]
        while todo:
            number, share, first = todo.pop()
            size = self._sizes[number]
            if share >= size or share == 1:
                yield from range(first, first + min(size, share))
                continue
            first += len(self.nodes[number].ends)
            ways = list(self._ways(number, self._sizes))
            for (edge, to), size in ways:
                part = max(1, share // len(ways))
                if isinstance(edge, str):
                    todo.append((to, part, first))
                else:
                    yield from range(first, first + size, max(1, size // part))
                first += size

    def _way(self, number: int, index: int) -> tuple[str | Slot, int, int]:
        """The edge that sentence `index` of a node takes, where it leads to, and the sentence's number there."""
        if number not in self._fans:
            ways = list(self._ways(number, self._sizes))
            self._fans[number] = ways, list(accumulate(size for _, size in ways))
        ways, upto = self._fans[number]
        taken = bisect_right(upto, index)
        (edge, to), size = ways[taken]
        return edge, to, index - upto[taken] + size

    @property
    def vocabulary(self) -> set[str]:
        """Every word of the sentences, slots and numbers left out."""
        return {word for node in self.nodes for word in node.words if not is_figure(word)}

    @property
    def size(self) -> int:
        """How many sentences there are."""
        return self._sizes[0]

    def say(self, index: int) -> tuple[tuple[str, ...], object, Params]:
        """Sentence number `index`: its words, what it means, the slots' values. Raises IndexError beyond the last."""
        if not 0 <= index < self.size:
            raise IndexError(f"there are {self.size} sentences")
        said: list[str] = []
        params: list[tuple[str, Value]] = []
        number = 0
        while index >= len(self.nodes[number].ends):
            index -= len(self.nodes[number].ends)
            edge, to, index = self._way(number, index)
            if isinstance(edge, Slot):
                index, way = divmod(index, edge.source.size)
                spoken, value = edge.source.say(way)
                said += spoken
                params.append((edge.name, value))
            else:
                said.append(edge)
            number = to
        return tuple(said), self.nodes[number].ends[index], tuple(params)
