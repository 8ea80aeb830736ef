"""How good live captions are: what was shown when, against what was said when. benchmarks/README.md defines it all.

Times are seconds since the first sample was captured; a delay is a moment minus the end of a word in the sound.
Literature: erasure is that of Arivazhagan et al. (arXiv 1912.03393), UPWR that of Shangguan et al. (arXiv 2006.01416).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamd.core.align import align, common_prefix
from streamd.core.words import bare

PAUSE_S = 1.0  # parts two utterances of a reference that names none
NEAR = 3  # words: where an utterance's last word was not recognised, one of its last three stands for it
FIFTHS = 5

Times = NDArray[np.float64]
"""Seconds, shape (n,); not a number where it never happened."""

_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_SPACELESS}][\u0300-\u036f\u0e31\u0e34-\u0e4e]*|[^\s{_SPACELESS}\-\u2013\u2014\u2026/]+")


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
    """Words without case and punctuation; where a language writes no spaces, characters."""
    return [token for piece in _TOKEN.findall(text) if (token := bare(piece))]


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


# --- several sessions as one ----------------------------------------------------------------------------------------

Figures = dict[str, float | None]
"""Name of a figure → its value; None where there is nothing that could be measured."""

RANKS = (50, 95, 99)


def summary(measured: Sequence[Measured], duration_s: float) -> Figures:
    """The figures of sessions that ran at once: rates over all words, percentiles over all delays.

    `duration_s` is the length of the sound, whose fifths are compared.
    """
    delays = _joined([one.delays for one in measured if one.delays])
    lasts = _joined([one.utterances for one in measured if one.utterances])
    figures: Figures = {
        "wer": _rate([one.wer for one in measured]),
        "raw_wer": _rate([one.raw_wer for one in measured]),
        "first_text_s": _median([one.first_text_s for one in measured]),
    }
    for name in ("seen", "stays", "committed", "final"):
        figures |= {f"{name}_p{rank}_s": percentile(getattr(delays, name), rank) for rank in RANKS}
    for name in ("committed", "final"):
        values = getattr(lasts, name)
        figures |= {f"utterance_{name}_p{rank}_s": percentile(values, rank) for rank in RANKS[:2]}
    figures["utterances_lost"] = float(np.isnan(lasts.final).mean()) if len(lasts.final) else None
    for prefix, unrests in (("", [one.unrest for one in measured]), ("raw_", [one.raw_unrest for one in measured])):
        words = sum(unrest.words for unrest in unrests)
        figures[f"{prefix}erasure"] = sum(unrest.erased for unrest in unrests) / words if words else None
        figures[f"{prefix}upwr"] = sum(unrest.changed for unrest in unrests) / words if words else None
    first, *_, last = by_fifths(delays, duration_s)
    return figures | {
        "behind_s": _most([one.behind_s for one in measured]),
        "worst_session_p95_s": _most([percentile(one.delays.stays, 95) for one in measured if one.delays]),
        "stays_growth_s": None if first is None or last is None else last - first,
        "covered": float(np.mean([one.covered for one in measured])) if len(delays.ends_s) else None,
    }


def by_fifths(delays: Delays, duration_s: float) -> list[float | None]:
    """Median delay until words stay, for each fifth of the sound."""
    edges = np.linspace(0, duration_s, FIFTHS + 1)
    edges[-1] = np.inf
    return [
        percentile(delays.stays[(delays.ends_s >= start) & (delays.ends_s < end)], 50) for start, end in pairwise(edges)
    ]


def percentile(values: Times, rank: float) -> float | None:
    """Of those that happened, linearly interpolated; None if none did."""
    known = values[~np.isnan(values)]
    return float(np.percentile(known, rank)) if len(known) else None


def _joined(parts: Sequence[Delays]) -> Delays:
    if not parts:
        return Delays()
    names = [each.name for each in fields(Delays)]
    return Delays(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _rate(errors: Sequence[Errors | None]) -> float | None:
    known = [one for one in errors if one]
    sums = Errors(*(sum(getattr(one, each.name) for one in known) for each in fields(Errors)))
    return sums.rate


def _median(values: Iterable[float | None]) -> float | None:
    return percentile(np.array([value for value in values if value is not None], float), 50)


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
