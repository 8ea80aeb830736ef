"""What a sound was understood as, and how certainly: readings of a sound → the one command, or why there is none.

Three things are compared. The best meaning with the second best: a likelihood ratio, from which a part of what the
recogniser would write without any sound is taken (McDermott et al. 2019, arXiv:2002.11268; Meng et al. 2021,
arXiv:2011.01991: otherwise "sugar" is always likelier than "sweetener"). The best meaning with what would be written
freely: something else may have been said. And how well each of its words is borne out at all. A logistic regression of
the three says how certain it is. None of them knows the grammar, so what was learnt on one serves another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamd.core.commands.grammar import Grammar, Match, Rejection, shown
from streamd.core.commands.hearing import Comparison, Reading

NEAR = 3.0  # nats: what is heard freely, and not much less probable than the command, may object to it


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each sign counts, and from which certainty on a command is done or asked about."""

    prior: float  # part of the log-probability without sound that is taken away
    margin: float
    gap: float
    word: float
    constant: float
    certain: float
    askable: float


CALIBRATED = Weights(prior=0.4, margin=1.0, gap=-0.5, word=2.0, constant=0.0, certain=0.99, askable=0.2)

MUCH = 2.0  # nats, in explanations
MOST_MARGIN = 8.0
MOST_GAP = 12.0
LEAST_WORD = -4.0


@dataclass(frozen=True, slots=True)
class Scores:
    """Signs of how certain the best meaning is, in nats."""

    margin: float  # over the second best meaning
    gap: float  # of what would be written freely over it
    word: float  # log-probability a word
    certainty: float  # 0 … 1


@dataclass(frozen=True, slots=True)
class Weighed:
    """What `decide` takes."""

    found: Match | Rejection
    sure: bool
    texts: tuple[str, ...]  # what was heard freely, where it may be right
    scores: Scores | None = None

    @property
    def certainty(self) -> float:
        """0 … 1."""
        return self.scores.certainty if self.scores else 0.0


@dataclass(frozen=True, slots=True)
class _Meaning:
    match: Match
    log_probability: float
    score: float  # without what is likely anyway


def weigh(heard: Comparison, grammar: Grammar, language: str, weights: Weights = CALIBRATED) -> Weighed:
    """The best meaning of a sound, if it can be told from every other and from anything else."""
    freely = tuple(reading.text.strip() for reading in heard.free)
    meanings = sorted(_meanings(heard, grammar, language, weights), key=lambda meaning: -meaning.score)
    if not meanings:
        return Weighed(Rejection("no command sounds like this"), sure=False, texts=freely)
    best = meanings[0]
    scores = _scores(best, meanings[1:], heard, weights)
    near = tuple(r.text.strip() for r in heard.free if r.log_probability > best.log_probability - NEAR)
    if scores.certainty < weights.askable:
        return Weighed(Rejection(_doubt(scores, meanings)), sure=False, texts=near, scores=scores)
    return Weighed(best.match, sure=scores.certainty >= weights.certain, texts=near, scores=scores)


def _doubt(scores: Scores, meanings: Sequence[_Meaning]) -> str:
    """Why the best meaning is not even asked about."""
    if len(meanings) > 1 and scores.margin < MUCH:
        return f"this could be {shown(meanings[0].match)} or {shown(meanings[1].match)}"
    if scores.gap > MUCH:
        return "something else was said"
    return "it was not understood"


def _meanings(heard: Comparison, grammar: Grammar, language: str, weights: Weights) -> Iterable[_Meaning]:
    """Every meaning of every reading: its ways to be written count together, its best way for what is likely anyway."""
    grouped: dict[object, tuple[Match, list[Reading]]] = {}
    for reading in (*heard.sentences, *heard.free):
        match = grammar.match(reading.text, language)
        if isinstance(match, Match):
            grouped.setdefault(match.meaning, (match, []))[1].append(reading)
    known = [reading.prior for _, readings in grouped.values() for reading in readings if reading.prior is not None]
    for match, readings in grouped.values():
        priors = [reading.prior for reading in readings if reading.prior is not None]
        # One that was too improbable to be given a prior may owe little to it: assume the least.
        prior = priors[0] if priors else min(known, default=0.0)
        total = _log_sum({reading.text.strip(): reading.log_probability for reading in readings}.values())
        yield _Meaning(match, total, total - weights.prior * prior)


def _scores(best: _Meaning, rest: Sequence[_Meaning], heard: Comparison, weights: Weights) -> Scores:
    margin = min(MOST_MARGIN, best.score - rest[0].score) if rest else MOST_MARGIN
    free = max((reading.log_probability for reading in heard.free), default=best.log_probability)
    gap = min(MOST_GAP, max(0.0, free - best.log_probability))
    word = max(LEAST_WORD, min(0.0, best.log_probability / len(best.match.sentence.split())))
    logit = weights.constant + weights.margin * margin + weights.gap * gap + weights.word * word
    return Scores(margin, gap, word, 1 / (1 + math.exp(-logit)))


def _log_sum(values: Iterable[float]) -> float:
    known = list(values)
    highest = max(known)
    return highest + math.log(sum(math.exp(value - highest) for value in known))
