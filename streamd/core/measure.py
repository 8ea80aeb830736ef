"""How good live captions are: what was shown when, against what was said when. benchmarks/README.md defines it all.

Times are seconds since the first sample was captured; a delay is a moment minus the end of a word in the sound.
Literature: erasure is that of Arivazhagan et al. (arXiv 1912.03393), UPWR that of Shangguan et al. (arXiv 2006.01416).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamd.core.align import align, common_prefix
from streamd.core.words import bare, is_attached, is_unspaced

PAUSE_S = 1.0  # parts two utterances of a reference that names none
NEAR = 3  # words: where an utterance's last word was not recognised, one of its last three stands for it

Times = NDArray[np.float64]
"""Seconds, shape (n,); not a number where it never happened."""

_GAP = re.compile(r"[\s\-\u2013\u2014\u2026/]+")  # spaces, hyphens, dashes, an ellipsis, a slash
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)}  # both ways of writing them are common


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a reader sees from `at_s` on, and the parts of it that are said to stay."""

    at_s: float
    shown: str
    committed: str
    final: str


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of the reference; the end may be unknown."""

    text: str
    end_s: float | None


@dataclass(frozen=True, slots=True)
class Reference:
    """What was said. `text` is None where nobody knows, `words` empty where nobody knows when."""

    text: str | None
    words: tuple[SpokenWord, ...] = ()
    last_words: tuple[int, ...] = ()  # of each utterance: position in `words`
    language: str | None = None


def last_words(words: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Positions of the words before each long pause, and of the last one. `words` are starts and ends in seconds."""
    pauses = [n for n, (one, two) in enumerate(pairwise(words)) if two[0] - one[1] >= PAUSE_S]
    return (*pauses, len(words) - 1) if words else ()


def tokens(text: str) -> list[str]:
    """Words without case and punctuation, small numbers as digits; where a language writes no spaces, characters."""
    return [token for piece in _GAP.split(text) for token in _tokens(piece)]


@lru_cache(maxsize=10_000)
def _tokens(piece: str) -> tuple[str, ...]:
    parts = [""]
    for before, char in zip(" " + piece, piece, strict=False):
        if (is_unspaced(char) and not is_attached(char)) or (is_unspaced(before) and not is_unspaced(char)):
            parts.append("")
        parts[-1] += char
    words = (bare(part) for part in parts)
    return tuple(_DIGITS.get(word, word) for word in words if word)


@dataclass(frozen=True, slots=True)
class Errors:
    """Word errors against a reference of `words` words."""

    substituted: int = 0
    deleted: int = 0
    inserted: int = 0
    words: int = 0

    @classmethod
    def of(cls, reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
        found = align(reference, hypothesis)
        return cls(len(found.substituted), found.deleted, found.inserted, len(reference))

    @property
    def rate(self) -> float | None:
        return (self.substituted + self.deleted + self.inserted) / self.words if self.words else None


@dataclass(frozen=True, slots=True)
class Unrest:
    """Words of what was shown that did not stay, and how many words there were in the end."""

    erased: int  # from the first word that changed on
    changed: int  # only those that are not in the next text any more
    words: int

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]]) -> Unrest:
        erased = changed = 0
        shown: Sequence[str] = ()
        for text in texts:
            kept = common_prefix(shown, text)
            if kept < len(shown):
                erased += len(shown) - kept
                changed += len(shown) - len(align(shown, text).same)
            shown = text
        return cls(erased, changed, len(shown))


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from the end of each word that has a place in the reference, shape (n,) each."""

    ends_s: Times = field(default_factory=lambda: np.empty(0))  # in the sound
    seen: Times = field(default_factory=lambda: np.empty(0))  # first there
    stays: Times = field(default_factory=lambda: np.empty(0))  # there for good
    committed: Times = field(default_factory=lambda: np.empty(0))  # said to stay
    final: Times = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class Measured:
    """What one session measured. Several can be summarised together."""

    wer: Errors | None  # None: nobody knows what was said
    raw_wer: Errors | None  # case and punctuation count, as readers see them
    unrest: Unrest
    raw_unrest: Unrest
    delays: Delays | None  # None: nobody knows when it was said
    utterances: Delays | None  # their last words
    covered: float  # part of the words shown that have a time
    first_text_s: float | None  # from the end of the first word
    behind_s: float | None  # from the end of the last word to the last change


def measure(snapshots: Sequence[Snapshot], reference: Reference, normalise: Callable[[str], str] = str) -> Measured:
    """Score what one session showed. `normalise` prepares texts for the word error rate."""
    shown = [snapshot.shown for snapshot in snapshots]
    text = shown[-1] if shown else ""
    said = reference.text
    delays, utterances, covered = _delays(snapshots, reference) if reference.words else (None, None, 0.0)
    ends = [word.end_s for word in reference.words if word.end_s is not None]
    pairs = zip(snapshots, ["", *shown], strict=False)
    changes = [snapshot.at_s for snapshot, before in pairs if snapshot.shown != before]
    return Measured(
        wer=None if said is None else Errors.of(normalise(said).split(), normalise(text).split()),
        raw_wer=None if said is None else Errors.of(said.split(), text.split()),
        unrest=Unrest.of(map(tokens, _distinct(shown))),
        raw_unrest=Unrest.of(piece.split() for piece in _distinct(shown)),
        delays=delays,
        utterances=utterances,
        covered=covered,
        first_text_s=changes[0] - ends[0] if changes and ends else None,
        behind_s=changes[-1] - max(ends) if changes and ends else None,
    )


def _distinct(texts: Iterable[str]) -> Iterator[str]:
    """Without those that only repeat the one before."""
    before = None
    for text in texts:
        if text != before:
            yield text
        before = text


def _delays(snapshots: Sequence[Snapshot], reference: Reference) -> tuple[Delays, Delays, float]:
    """Of all words, of utterances' last ones, and the part of the words shown that have a time."""
    final = tokens(snapshots[-1].shown) if snapshots else []
    ends_s, place = _places(final, reference)
    texts = {
        name: [(snapshot.at_s, getattr(snapshot, name)) for snapshot in snapshots]
        for name in ("shown", "committed", "final")
    }
    seen, stays = _moments(texts["shown"], final)
    moments = {"seen": seen, "stays": stays}
    moments |= {name: _moments(texts[name], final)[1] for name in ("committed", "final")}
    timed = ~np.isnan(ends_s)
    delays = Delays(ends_s[timed], **{name: (at - ends_s)[timed] for name, at in moments.items()})
    lasts = [_last(last, reference, place) for last in reference.last_words]
    of_lasts = {name: np.array([_delay(at, spot) for spot in lasts], float) for name, at in moments.items()}
    utterances = Delays(np.array([end_s for _, end_s in lasts], float), **of_lasts)
    return delays, utterances, float(timed.mean()) if len(final) else 0.0


def _places(final: Sequence[str], reference: Reference) -> tuple[Times, dict[int, int]]:
    """When each word of the final text was said, shape (n,), and the place of each word of the reference in it."""
    said = [(token, number) for number, word in enumerate(reference.words) for token in tokens(word.text)]
    found = align([token for token, _ in said], final)
    ends_s = np.full(len(final), np.nan)
    place = {}
    for i, j in sorted((*found.same, *found.substituted)):
        number = said[i][1]
        end_s = reference.words[number].end_s
        ends_s[j] = np.nan if end_s is None else end_s
        place[number] = j
    return ends_s, place


def _last(number: int, reference: Reference, place: dict[int, int]) -> tuple[int | None, float]:
    """Where an utterance's last word stands in the final text, and when it ended in the sound."""
    end_s = reference.words[number].end_s
    near = [place[n] for n in range(number, max(-1, number - NEAR), -1) if n in place]
    return (near[0] if near else None), (np.nan if end_s is None else end_s)


def _delay(at: Times, spot: tuple[int | None, float]) -> float:
    position, end_s = spot
    return np.nan if position is None else float(at[position]) - end_s


def _moments(texts: Sequence[tuple[float, str]], final: Sequence[str]) -> tuple[Times, Times]:
    """When each word of the final text was first at its place, and when it was there for good, shape (n,) each."""
    seen, stays = np.full(len(final), np.nan), np.full(len(final), np.nan)
    lasting = np.ones(len(final), bool)
    there, before = np.zeros(len(final), bool), None
    for at_s, text in reversed(texts):
        if text != before:
            there = _there(tokens(text), final)
            before = text
        lasting &= there
        stays[lasting] = at_s
        seen[there] = at_s
    return seen, stays


def _there(text: Sequence[str], final: Sequence[str]) -> NDArray[np.bool_]:
    """Which words of the final text a text that goes less far has, shape (n,)."""
    there = np.zeros(len(final), bool)
    there[[i for i, _ in align(final, text, unfinished=True).same]] = True
    return there
