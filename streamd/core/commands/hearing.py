"""What goes between a grammar and an engine: the sentences that may be heard, and how well a sound bears them out."""

from __future__ import annotations

from dataclasses import dataclass, field

PRIOR = 0.4
"""Part of a sentence's prior that is taken from its log-probability: otherwise "sugar" is always likelier than
"sweetener". Of 81 recordings in noise as loud as the speech, 65 had the right meaning first without it, 71 with it;
0.3 to 0.6 were alike (McDermott et al. 2019, arXiv:2002.11268; Meng et al. 2020, arXiv:2011.01991)."""


LONGEST_S = 20.0
"""A longer sound is no command. What a comparison costs is bounded by this."""


@dataclass(frozen=True, slots=True)
class Arc:
    """A word as it may be written, and the node behind it."""

    word: str
    node: int


@dataclass(frozen=True, slots=True)
class Lattice:
    """A graph without cycles whose paths from node 0 to one of `ends` are the sentences."""

    arcs: tuple[tuple[Arc, ...], ...]
    ends: frozenset[int]


@dataclass(frozen=True, slots=True)
class Choices:
    """Sentences of which one may have been said."""

    name: str  # the same name stands for the same sentences: what an engine prepares for them, it keeps
    lattice: Lattice
    primer: str = ""  # some text in which their words occur
    language: str | None = None  # one of core.languages.TAGS; None: what an English-only model speaks


@dataclass(frozen=True, slots=True)
class Reading:
    """A text and how well the sound bears it out: the natural logarithm of its probability, and its length.

    `prior` is the same without any sound: what the engine would rather write because it is written more often.
    `ending` is how much more probable the sound makes it that nothing follows: little, where somebody said more.
    `shortfall` is by how much the least fitting word is behind whatever the engine would write in its place.
    """

    text: str
    log_probability: float
    tokens: int
    prior: float
    ending: float
    shortfall: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an engine makes of a sound: as one of some sentences, and freely. All are scored in the same way."""

    sentences: tuple[Reading, ...]  # the most probable first; the same one may be there in several ways to write it
    free: tuple[Reading, ...]
    no_speech: float  # probability that nobody spoke
    heard_s: float
    engine: str
    timings_ms: dict[str, float] = field(default_factory=dict)  # stage → milliseconds, for metrics


@dataclass(frozen=True, slots=True)
class Comparisons:
    """The same sound in every language that was asked for and that the engine speaks."""

    by_language: tuple[tuple[str, Comparison], ...]

    @property
    def timings_ms(self) -> dict[str, float]:
        return {
            f"compare_{stage}": sum(each.timings_ms.get(stage, 0.0) for _, each in self.by_language)
            for _, comparison in self.by_language
            for stage in comparison.timings_ms
        }
