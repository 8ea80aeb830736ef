"""Every sentence of a grammar as one graph of words, as they may be written: what a recogniser may hear.

Left out is what a graph can't hold: slots that take any text, and all but some thousand numbers of a slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from unicode_rbnf import RbnfEngine

from streamd.core.commands.grammar import Grammar
from streamd.core.commands.hearing import Arc, Choices, Lattice
from streamd.core.commands.network import Network, Source
from streamd.core.commands.sources import Listed, Number
from streamd.core.commands.spoken import figure, is_figure, value, words

MOST_LISTED = 100_000
"""Values of lists, at every place where they may be said, up to which sentences are compared with the sound: beyond it,
making that ready takes many seconds, and with a hundred times as many it takes minutes and gigabytes."""

MOST_NUMBERS = 3_000  # of one slot, spread over its range
MOST_PRIMING_WORDS = 60
_SPREAD = 400  # sentences among which those that prime are chosen


def too_large(grammar: Grammar) -> str | None:
    """Why a grammar's sentences are not compared with the sound, or None. Then the text counts, and all is asked."""
    largest = max(map(grammar.listed, grammar.languages))
    if largest <= MOST_LISTED:
        return None
    return (
        "sentences are not compared with the sound, so that everything is asked about: lists have "
        f"{largest} values where they may be said, of {MOST_LISTED} at the most; use them in fewer sentences"
    )


def choices(grammar: Grammar, languages: Iterable[str]) -> tuple[Choices, ...]:
    """What is compared with the sound, for each of these languages; nothing where the grammar is too large."""
    if too_large(grammar):
        return ()
    return tuple(
        Choices(f"{grammar.pack.version} {tag}", lattice(grammar, tag), primer(grammar, tag), tag) for tag in languages
    )


def lattice(grammar: Grammar, language: str) -> Lattice:
    """The sentences of one language."""
    draft = _Draft(language)
    root, end = draft.node(), draft.node()
    draft.add(grammar.network(language), root, end)
    return draft.finish(end)


def primer(grammar: Grammar, language: str) -> str:
    """A few sentences in which many of the grammar's words occur: what a recogniser may expect."""
    network = grammar.network(language)
    known: set[str] = set()
    chosen: list[str] = []
    told = [said for index in network.spread(_SPREAD) if (said := network.say(index)[0])]
    room = MOST_PRIMING_WORDS
    while told:
        best = max(told, key=lambda said: (len(set(said) - known) / len(said), len(said)))
        if len(best) > room or not set(best) - known:
            break
        known.update(best)
        room -= len(best)
        chosen.append(" ".join(best).capitalize() + ".")
    return " ".join(chosen)


@lru_cache(maxsize=10_000)
def written(word: str, language: str) -> tuple[tuple[str, ...], ...]:
    """Ways to write a word of a grammar: 95 may be ninety five, too."""
    if not is_figure(word):
        return ((word,),)
    exact = value(word)
    number = int(exact) if exact == exact.to_integral_value() else float(exact)
    shown = (figure(number, language),)
    try:
        spelled = _engine(language).format_number(number).text
    except ValueError:  # no language that it knows
        return (shown,)
    said = spelled.lower().replace("-", " ").replace("\N{SOFT HYPHEN}", "")
    if words(said, language) != (word,):  # -0.5 is spelled "minus"
        return (shown,)
    return shown, tuple(said.split())


@lru_cache(maxsize=8)
def _engine(language: str) -> RbnfEngine:
    return RbnfEngine.for_language(language)


@dataclass(slots=True)
class _Draft:
    """Nodes with arcs, and with steps on which nothing is said."""

    language: str
    arcs: list[list[Arc]] = field(default_factory=list)
    steps: list[list[int]] = field(default_factory=list)
    added: dict[tuple[int, int], int] = field(default_factory=dict)  # a slot's source and what follows → its root

    def node(self) -> int:
        self.arcs.append([])
        self.steps.append([])
        return len(self.arcs) - 1

    def add(self, network: Network, root: int, end: int) -> None:
        """The sentences of `network` from `root` to `end`."""
        numbers = [root, *(self.node() for _ in network.nodes[1:])]
        for number, node in zip(numbers, network.nodes, strict=True):
            for word, behind in node.words.items():
                for to in behind:
                    self._write(number, word, numbers[to])
            for slot in node.slots:
                self.steps[number].append(self._source(slot.source, numbers[slot.to]))
            if node.ends:
                self.steps[number].append(end)

    def _write(self, start: int, word: str, end: int) -> None:
        for way in written(word, self.language):
            at = start
            for part in way[:-1]:
                behind = self.node()
                self.arcs[at].append(Arc(part, behind))
                at = behind
            self.arcs[at].append(Arc(way[-1], end))

    def _source(self, source: Source, end: int) -> int:
        """The node from which what can be said in a slot leads to `end`."""
        key = id(source), end
        if key not in self.added:
            root = self.added[key] = self.node()
            if isinstance(source, Listed):
                self.add(source.network, root, end)
            elif isinstance(source, Number):
                self._number(source, root, end)
        return self.added[key]

    def _number(self, source: Number, root: int, end: int) -> None:
        counted = self.node()
        for number in source.numbers(MOST_NUMBERS):
            self._write(root, number, counted)
        self.steps[counted].append(end)
        for names in source.units:
            at = counted
            for name in names[:-1]:
                behind = self.node()
                self._write(at, name, behind)
                at = behind
            self._write(at, names[-1], end)

    def finish(self, end: int) -> Lattice:
        """The graph without silent steps, and without ways that lead nowhere."""
        closures = [list(self._silent(node)) for node in range(len(self.arcs))]
        ends = frozenset(number for number, nodes in enumerate(closures) if end in nodes)
        arcs = [dict.fromkeys(arc for node in nodes for arc in self.arcs[node]) for nodes in closures]
        useful = _leading_to(ends, arcs)
        return Lattice(tuple(tuple(arc for arc in one if arc.node in useful) for one in arcs), ends)

    def _silent(self, start: int) -> Iterator[int]:
        """The nodes that are reached without a word."""
        seen = {start}
        todo = [start]
        while todo:
            yield (node := todo.pop())
            fresh = set(self.steps[node]) - seen
            seen |= fresh
            todo += sorted(fresh)


def _leading_to(ends: frozenset[int], arcs: Sequence[Iterable[Arc]]) -> set[int]:
    """The nodes from which one of `ends` can be reached."""
    before: dict[int, list[int]] = {}
    for number, following in enumerate(arcs):
        for arc in following:
            before.setdefault(arc.node, []).append(number)
    useful = set(ends)
    todo = list(ends)
    while todo:
        for node in before.get(todo.pop(), ()):
            if node not in useful:
                useful.add(node)
                todo.append(node)
    return useful
