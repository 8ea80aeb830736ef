"""What a sound was understood as, and how certainly: readings of a sound → the one command, or why there is none.

The best meaning is compared with the second best: a likelihood ratio, without a part of what the recogniser would
write if there were no sound. It is compared with what would be written freely, as a whole and word by word: something
else may have been said, or more than that. And it is asked how well its words are borne out at all. None of these signs
knows the grammar, so what was learnt on one serves another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rapidfuzz.distance import Levenshtein

from streamd.core.commands.grammar import Grammar, Match, Rejection, shown
from streamd.core.commands.hearing import PRIOR, Comparison, Reading
from streamd.core.commands.reasons import Reason, either
from streamd.core.commands.spoken import words

NEAR = 1.0  # nats: what is heard freely, and not much less probable than the command, may object to it


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each sign counts for the certainty, and from where on a command is asked about, and done."""

    margin: float
    word: float
    stray: float
    constant: float
    askable: float  # a certainty …
    askable_gap: float
    askable_ending: float
    certain: float  # … and what a command that is done has to have beside
    least_margin: float
    most_gap: float
    most_shortfall: float
    least_ending: float


CALIBRATED = Weights(
    margin=0.5, word=2.0, stray=-3.0, constant=3.6,
    askable=0.2, askable_gap=10.0, askable_ending=-0.3,
    certain=0.98, least_margin=2.0, most_gap=5.0, most_shortfall=3.3, least_ending=0.05,
)  # fmt: skip
"""For the model base, from 120 orders at six levels of noise, the same with the value that was said taken out of the
grammar (1,042 orders of something that cannot be had), and 529 other sounds. docs/commands.md says what that is worth.
The limits keep back what only resembles an order: a word that something else would fit better, or words that go on."""

MUCH = 2.0  # nats, in explanations
MOST_MARGIN = 8.0
ALONE = 4.0  # the margin of a meaning beside which none was found: how far behind the next one is, is not known
MOST_GAP = 12.0
LEAST_WORD = -4.0
STRAYING = 0.2  # part of a sentence's letters that may be heard differently without a doubt


@dataclass(frozen=True, slots=True)
class Scores:
    """Signs of how certain the best meaning is, in nats where nothing else is said."""

    margin: float  # over the second best meaning
    gap: float  # of what would be written freely over it
    word: float  # log-probability a word
    shortfall: float  # of its least fitting word behind whatever would be written there
    ending: float  # how much the sound speaks for nothing more having been said
    stray: float  # part of its letters by which the least similar free reading differs
    certainty: float  # 0 … 1


@dataclass(frozen=True, slots=True)
class Weighed:
    """What `decide` takes."""

    found: Match | Rejection
    sure: bool
    texts: tuple[str, ...]  # what was heard freely, where it may be right
    scores: Scores | None = None
    limits: tuple[str, ...] = ()  # which of its scores keep it from being done, or even from being asked about

    @property
    def certainty(self) -> float:
        """0 … 1."""
        return self.scores.certainty if self.scores else 0.0


@dataclass(frozen=True, slots=True)
class _Meaning:
    match: Match
    log_probability: float
    score: float  # without what is likely anyway
    written: Reading  # the most probable way to write it


def weigh(heard: Comparison, grammar: Grammar, language: str, weights: Weights = CALIBRATED) -> Weighed:
    """The best meaning of a sound, if it can be told from every other and from anything else."""
    freely = tuple(reading.text.strip() for reading in heard.free)
    meanings = sorted(_meanings(heard, grammar, language), key=lambda meaning: -meaning.score)
    if not meanings:
        return Weighed(Rejection(Reason("no command sounds like this")), sure=False, texts=freely)
    best = meanings[0]
    scores = _scores(best, meanings[1:], heard, weights)
    near = tuple(r.text.strip() for r in heard.free if r.log_probability > best.log_probability - NEAR)
    if missed := tuple(_unaskable(scores, weights)):
        doubt = Rejection(_doubt(scores, meanings, weights))
        return Weighed(doubt, sure=False, texts=near, scores=scores, limits=missed)
    missed = tuple(_unsure(scores, weights))
    return Weighed(best.match, sure=not missed, texts=near, scores=scores, limits=missed)


def likeliest(weighed: Mapping[str, Weighed]) -> tuple[str, Weighed]:
    """Of what was weighed in several languages the one that is most certain; in doubt where another one contradicts."""
    tag = max(weighed, key=lambda tag: weighed[tag].certainty)
    best = weighed[tag]
    sure = {each.found.meaning for each in weighed.values() if each.sure and isinstance(each.found, Match)}
    if best.sure and len(sure) > 1:
        return tag, replace(best, sure=False, limits=("in another language it is sure to be another command",))
    return tag, best


def _unaskable(scores: Scores, weights: Weights) -> Iterator[str]:
    """Limits without which the best meaning is not even asked about."""
    yield from _below("certainty", scores.certainty, weights.askable)
    yield from _above("gap", scores.gap, weights.askable_gap)
    yield from _below("ending", scores.ending, weights.askable_ending)


def _unsure(scores: Scores, weights: Weights) -> Iterator[str]:
    """Limits without which it is not done at once."""
    yield from _below("certainty", scores.certainty, weights.certain)
    yield from _below("margin", scores.margin, weights.least_margin)
    yield from _above("gap", scores.gap, weights.most_gap)
    yield from _above("shortfall", scores.shortfall, weights.most_shortfall)
    yield from _below("ending", scores.ending, weights.least_ending)


def _below(sign: str, score: float, least: float) -> Iterator[str]:
    if not score >= least:
        yield f"{sign} {score:.4g} (at least {least:g})"


def _above(sign: str, score: float, most: float) -> Iterator[str]:
    if not score <= most:
        yield f"{sign} {score:.4g} (at most {most:g})"


def _doubt(scores: Scores, meanings: Sequence[_Meaning], weights: Weights) -> str:
    """Why the best meaning is not even asked about."""
    if scores.ending < weights.askable_ending:
        return Reason("more was said than “{}”", meanings[0].match.sentence)
    if len(meanings) > 1 and scores.margin < MUCH:
        return Reason("this could be {}", either(shown(meaning.match) for meaning in meanings[:2]))
    if scores.gap > MUCH:
        return Reason("something else was said")
    return Reason("it was not understood")


def _meanings(heard: Comparison, grammar: Grammar, language: str) -> Iterable[_Meaning]:
    """Every meaning of every reading: its ways to be written count together, its best way for what is likely anyway."""
    grouped: dict[object, tuple[Match, list[Reading]]] = {}
    for reading in (*heard.sentences, *heard.free):
        match = grammar.match(reading.text, language)
        if isinstance(match, Match):
            grouped.setdefault(match.meaning, (match, []))[1].append(reading)
    for match, readings in grouped.values():
        total = _log_sum({reading.text.strip(): reading.log_probability for reading in readings}.values())
        best = max(readings, key=lambda reading: reading.log_probability)
        yield _Meaning(match, total, total - PRIOR * best.prior, best)


def _scores(best: _Meaning, rest: Sequence[_Meaning], heard: Comparison, weights: Weights) -> Scores:
    margin = min(MOST_MARGIN, best.score - rest[0].score) if rest else ALONE
    free = max((reading.log_probability for reading in heard.free), default=best.log_probability)
    gap = min(MOST_GAP, max(0.0, free - best.log_probability))
    word = max(LEAST_WORD, min(0.0, best.log_probability / len(best.match.sentence.split())))
    stray = _stray(best.match, heard.free)
    logit = weights.constant + weights.margin * margin + weights.word * word
    logit += weights.stray * max(0.0, stray - STRAYING)
    certainty = 1 / (1 + math.exp(-logit))
    return Scores(margin, gap, word, best.written.shortfall, best.written.ending, stray, certainty)


def _stray(best: Match, free: Iterable[Reading]) -> float:
    """How differently the sound was heard at worst. In noise, one prompt hears what another does not."""
    letters = "".join(best.sentence.split())
    heard = ("".join(words(reading.text, best.language)) for reading in free)
    return max((min(1.0, Levenshtein.distance(text, letters) / len(letters)) for text in heard), default=0.0)


def _log_sum(values: Iterable[float]) -> float:
    known = list(values)
    highest = max(known)
    return highest + math.log(sum(math.exp(value - highest) for value in known))
