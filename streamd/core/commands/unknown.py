"""Which value there is not: what keeps a text from being a sentence, where it is no more than what fills one slot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from string import punctuation

from rapidfuzz import fuzz, process

from streamd.core.commands.grammar import Grammar
from streamd.core.commands.network import Network, Slot, Value
from streamd.core.commands.reasons import Reason
from streamd.core.commands.sources import Listed
from streamd.core.commands.spoken import words

MOST_WORDS = 5  # that may stand where a value should: with more, it was meant to be something else
_NAMED = 4  # values that are told
_WRITTEN = 6  # words as which one number may be written
_COMPARED = 2_000  # ways to say a value, among which those are looked for


def unknown(grammar: Grammar, text: str, language: str | None = None) -> str | None:
    """Why `text` would be a command with another value; None if it says one. Without `language` all are tried."""
    for tag in (tag for tag in grammar.languages if language in (None, tag)):
        heard = words(text, tag)
        gaps = _gaps(grammar.network(tag), heard)
        if found := min(gaps, key=lambda gap: gap[1] - gap[0], default=None):
            start, end, slot = found
            strange, values = _strange(slot, heard[start:end])
            said = _as_written(strange, text, tag)
            if not values:
                return Reason("“{}” is no number for {}", said, slot.name)
            return Reason("“{}” is none of the values of {}: {}", said, slot.name, values)
    return None


def _gaps(network: Network, heard: Sequence[str]) -> Iterator[tuple[int, int, Slot]]:
    """Words, from one to before another one, that are no value of the slot where they stand, but all others fit."""

    @cache
    def goes_on(at: int, number: int) -> bool:
        """Whether the words from `at` on are the rest of a sentence from that node on."""
        node = network.nodes[number]
        if at == len(heard):
            return bool(node.ends)
        return any(goes_on(at + 1, to) for to in node.words.get(heard[at], ())) or any(
            goes_on(end, slot.to) for slot in node.slots for end, _ in slot.source.spans(heard, at)
        )

    if goes_on(0, 0):
        return
    reached: list[dict[int, None]] = [{0: None}, *({} for _ in heard)]
    for at, word in enumerate(heard):
        for number in reached[at]:
            node = network.nodes[number]
            reached[at + 1] |= dict.fromkeys(node.words.get(word, ()))
            for slot in node.slots:
                values = {end for end, _ in slot.source.spans(heard, at)}
                for end in values:
                    reached[end][slot.to] = None
                for end in range(at + 1, min(at + MOST_WORDS, len(heard)) + 1):
                    if end not in values and goes_on(end, slot.to):
                        yield at, end, slot


def _strange(slot: Slot, said: Sequence[str]) -> tuple[Sequence[str], str]:
    """The words that no value has, or all of them; and values of a list that are like what was said."""
    if not isinstance(slot.source, Listed):
        return said, ""
    known, ways = _said(slot.source)
    near = process.extract(" ".join(said), ways, scorer=fuzz.ratio, limit=_NAMED)
    values = ", ".join(way for way, _, _ in near) + (", …" if len(ways) > _NAMED else "")
    return [word for word in said if word not in known] or said, values


@lru_cache(maxsize=16)
def _said(source: Listed) -> tuple[frozenset[str], Mapping[Value, str]]:
    """Every word of a list, and a way to say each of its values."""
    known = frozenset(word for node in source.network.nodes for word in node.words)
    return known, {value: " ".join(way) for way, value in map(source.say, source.network.spread(_COMPARED))}


def _as_written(said: Sequence[str], text: str, language: str) -> str:
    """The part of `text` that these words are: four rather than 4."""
    parts = text.split()
    for length in range(min(len(parts), _WRITTEN * len(said)), 0, -1):
        for start in range(len(parts) - length + 1):
            part = " ".join(parts[start : start + length])
            if words(part, language) == tuple(said):
                return part.strip(punctuation)
    return " ".join(said)
