"""The sentences of a lattice that a sound bears out best: a beam search in which only the grammar's words may follow.

Every sentence is scored like any other text: by the log-probabilities that the model gives to its tokens among all
tokens, and to ending there. So it can be compared with what the model would write freely. The model is asked behind
several prompts, and the mean of their log-probabilities counts: what one of them talks it into, the other does not
bear out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamd.core.commands.hearing import PRIOR, Lattice, Reading
from streamd.engines.whisper.decoder import NOTHING, Decoder, Part, Sound, Texts
from streamd.engines.whisper.text import Tokens
from streamd.engines.whisper.weights import Float32

JOINS = (" ", "-", ", ")
"""What may stand between two words: Whisper writes "a double-shot latte, with milk"."""

ENDINGS = (".", "?", "!")
ABBREVIATED = 4  # letters: so short a word may be written in capitals, as RPM is

BEAM = 12  # paths that are followed at a time
WITHIN = 10.0  # nats: so far may a path be behind the best one of its length …
SPELLED = 4.0  # … and behind one with the same words, which are only written in another way
SPELLINGS = 2  # of the same words that are followed
KEPT = 16.0  # nats: so far may a sentence be behind the best one
MOST = 100  # sentences

_BETWEEN = re.compile(r"[\s,-]+")

State = frozenset[tuple[tuple[int, ...], int]]
"""Where a sentence may stand: tokens that the present word still needs, and the node behind it."""


class Speller:
    """The tokens in which a lattice's sentences may be written. What follows a state is computed once."""

    start: State = frozenset([((), -1)])

    def __init__(self, lattice: Lattice, tokens: Tokens) -> None:
        self._lattice = lattice
        self._tokens = tokens
        self._following: dict[State, dict[int, State]] = {}
        self._words: dict[int, tuple[tuple[tuple[int, ...], int], ...]] = {}
        self._said: dict[int, tuple[str, bool]] = {}

    def is_end(self, state: State) -> bool:
        """May the sentence end here?"""
        return any(not left and node in self._lattice.ends for left, node in state)

    def following(self, state: State) -> dict[int, State]:
        """The tokens that may follow, and the state behind each."""
        known = self._following.get(state)
        if known is None:
            found: dict[int, set[tuple[tuple[int, ...], int]]] = {}
            for left, node in state:
                for tokens, to in [(left, node)] if left else self._spelled(node):
                    found.setdefault(tokens[0], set()).add((tokens[1:], to))
            known = self._following[state] = {token: frozenset(places) for token, places in found.items()}
        return known

    def said(self, token: int) -> tuple[str, bool]:
        """The letters of a token, with a space for whatever stands between words, and whether it begins a word."""
        known = self._said.get(token)
        if known is None:
            text = self._tokens.decode([token])
            # A part of a letter is told by its number.
            said = f"<{token}>" if "\N{REPLACEMENT CHARACTER}" in text else _BETWEEN.sub(" ", text.lower())
            known = self._said[token] = said, text.startswith(" ")
        return known

    def _spelled(self, node: int) -> tuple[tuple[tuple[int, ...], int], ...]:
        """Words that may follow a node; -1 is where a sentence begins, with a capital."""
        known = self._words.get(node)
        if known is None:
            arcs = self._lattice.arcs[max(node, 0)]
            if node < 0:
                written = {(" " + arc.word[:1].upper() + arc.word[1:], arc.node) for arc in arcs}
            else:
                written = {
                    (join + form, arc.node) for arc in arcs for form in _forms(arc.word) for join in _joins(arc.word)
                }
            words = ((tuple(self._tokens.pieces(text)), to) for text, to in sorted(written))
            known = self._words[node] = tuple(words)
        return known


def _joins(word: str) -> tuple[str, ...]:
    """A sign may follow a number at once, as in 50%."""
    return JOINS if word[0].isalnum() else ("", *JOINS)


def _forms(word: str) -> set[str]:
    """Ways to write a word within a sentence: nouns, names and abbreviations have capitals."""
    forms = {word, word[:1].upper() + word[1:]}
    return forms | {word.upper()} if len(word) <= ABBREVIATED else forms


@dataclass(frozen=True, slots=True)
class _Path:
    score: float
    prior: float
    tokens: tuple[int, ...]
    said: str  # its words, however they are written
    state: State
    row: int  # of the texts that have been read
    word: float  # by how much its last word is behind whatever else might stand there
    shortfall: float  # the same of the word that is behind most

    @property
    def rank(self) -> float:
        return self.score - PRIOR * self.prior


class _Views:
    """A sound behind several prompts and none behind the first, and what has been read behind each: silence first."""

    def __init__(self, decoder: Decoder, sound: Sound, prompts: Sequence[Sequence[int]]) -> None:
        self._decoder = decoder
        self._sounds = [decoder.silence, *[sound] * len(prompts)]
        parts = [Part(each, [prompt]) for each, prompt in zip(self._sounds, [prompts[0], *prompts], strict=True)]
        read = decoder.read_together(parts)
        self._prompts = [texts for _, texts in read]
        self.first = decoder.log_probabilities(
            np.stack([states[:, -1] for states, _ in read])
        )  # (views, 1, vocabulary)
        self._texts: list[Texts] = []
        self.restart()

    def restart(self) -> None:
        self._texts = [NOTHING] * len(self._sounds)

    def extend(self, rows: Sequence[int], tokens: Sequence[int]) -> Float32:
        """The texts in `rows` with one more token each: log-probabilities of what follows, (views, n, vocabulary)."""
        added = [[token] for token in tokens]
        read = self._decoder.read_together(
            [
                Part(sound, added, prompt, texts.pick(rows))
                for sound, prompt, texts in zip(self._sounds, self._prompts, self._texts, strict=True)
            ]
        )
        self._texts = [texts for _, texts in read]
        return self._decoder.log_probabilities(np.stack([states[:, 0] for states, _ in read]))

    def rows(self, texts: Sequence[Sequence[int]]) -> Iterator[Float32]:
        """For each text: log-probabilities of what follows the prompt and each token, (views, 1 + t, vocabulary)."""
        longest = max(map(len, texts))
        padded = [[*text, *[0] * (longest - len(text))] for text in texts]  # what stands behind a token is not seen
        views = zip(self._sounds, self._prompts, strict=True)
        read = self._decoder.read_together([Part(sound, padded, prompt) for sound, prompt in views])
        for number, text in enumerate(texts):
            behind = np.stack([states[number, : len(text)] for states, _ in read])
            yield np.concatenate([self.first, self._decoder.log_probabilities(behind)], axis=1)


class Scorer:
    """One encoded sound, as one model hears it behind several prompts; and what it makes of none behind the first."""

    def __init__(self, decoder: Decoder, tokens: Tokens, sound: Sound, prompts: Sequence[Sequence[int]]) -> None:
        self._longest = decoder.longest - max(map(len, prompts))
        self._tokens = tokens
        self._views = _Views(decoder, sound, prompts)
        self._endings = np.array([tokens.end, *(tokens.pieces(mark)[0] for mark in ENDINGS)])

    def score(self, texts: Sequence[str]) -> list[Reading]:
        """What texts are worth that begin with a word, marks at their ends left out."""
        if not texts:
            return []
        spelled = [self._tokens.encode(text.rstrip("".join(ENDINGS) + " "))[: self._longest] for text in texts]
        scored: list[Reading] = []
        for text, tokens, views in zip(texts, spelled, self._views.rows(spelled), strict=True):
            priors, rows = _parted(views)
            at = np.arange(len(tokens)), np.asarray(tokens, np.intp)
            spoken, silent = float(rows[at].sum()), float(priors[at].sum())
            ending, silent_ending = self._ending(rows[-1]), self._ending(priors[-1])
            behind = self._shortfall(tokens, rows.max(1)[: len(tokens)] - rows[at])
            signs = silent + silent_ending, ending - silent_ending, behind
            scored.append(Reading(text, spoken + ending, len(tokens), *signs))
        return scored

    def search(self, speller: Speller, floor: float = -np.inf) -> list[Reading]:
        """The most probable sentences, in several ways to write each, the best first.

        What is less probable than `floor` is of no interest: where nothing reaches it, the search ends early.
        """
        self._views.restart()
        priors, rows = _parted(self._views.first)
        paths = [_Path(0.0, 0.0, (), "", speller.start, 0, 0.0, 0.0)]
        finished: list[Reading] = []
        best = -np.inf
        for _ in range(self._longest):
            finished += [
                self._finished(path, row, prior)
                for path, row, prior in zip(paths, rows, priors, strict=True)
                if speller.is_end(path.state)
            ]
            best = max((reading.log_probability for reading in finished), default=best)
            paths = _best(_onward(speller, paths, rows, priors), max(best - KEPT, floor))
            if not paths:
                break
            numbers, tokens = [path.row for path in paths], [path.tokens[-1] for path in paths]
            priors, rows = _parted(self._views.extend(numbers, tokens))
        found = [reading for reading in finished if reading.log_probability > best - KEPT]
        return sorted(found, key=lambda reading: -reading.log_probability)[:MOST]

    def _finished(self, path: _Path, row: Float32, prior: Float32) -> Reading:
        text = self._tokens.decode(path.tokens).strip()
        ending, silent = self._ending(row), self._ending(prior)
        signs = path.prior + silent, ending - silent, path.shortfall
        return Reading(text, path.score + ending, len(path.tokens), *signs)

    def _shortfall(self, tokens: Sequence[int], behind: Float32) -> float:
        """By how much the word that is behind most is behind whatever else might stand there."""
        words = [0.0]
        for token, nats in zip(tokens, behind, strict=True):
            begins = self._tokens.decode([token]).startswith(" ")
            words.append(float(nats) + (0.0 if begins else words.pop()))
        return max(words)

    def _ending(self, row: Float32) -> float:
        """Log-probability of ending here, with or without a mark."""
        return float(np.logaddexp.reduce(row[self._endings]))


def _parted(views: Float32) -> tuple[Float32, Float32]:
    """Without sound, and the mean of the others."""
    return views[0], np.asarray(views[1:].mean(0), np.float32)


def _onward(speller: Speller, paths: Sequence[_Path], rows: Float32, priors: Float32) -> Iterator[_Path]:
    """Every path with every token that may follow it."""
    for number, (path, row, prior) in enumerate(zip(paths, rows, priors, strict=True)):
        likeliest = float(row.max())
        for token, state in speller.following(path.state).items():
            chance = float(row[token])
            letters, begins = speller.said(token)
            word = likeliest - chance + (0.0 if begins else path.word)
            yield _Path(
                path.score + chance,
                path.prior + float(prior[token]),
                (*path.tokens, token),
                _joined(path.said, letters),
                state,
                number,
                word,
                max(path.shortfall, word),
            )


def _joined(said: str, more: str) -> str:
    return said + (more.lstrip() if said.endswith(" ") else more)


def _best(paths: Iterator[_Path], floor: float) -> list[_Path]:
    """The paths to go on with. What is below the floor already is only going to fall further."""
    ranked = sorted(paths, key=lambda path: -path.rank)
    spellings: dict[str, list[float]] = {}
    chosen: list[_Path] = []
    for path in ranked:
        if path.rank <= ranked[0].rank - WITHIN or len(chosen) == BEAM:
            break
        ranks = spellings.setdefault(path.said, [])
        if len(ranks) == SPELLINGS or (ranks and path.rank <= ranks[0] - SPELLED):
            continue
        ranks.append(path.rank)
        if path.score > floor:
            chosen.append(path)
    return chosen
