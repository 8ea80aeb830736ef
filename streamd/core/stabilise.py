"""Hypotheses in, committed and tentative text out. Committed text never changes.

LocalAgreement-2 (Liu et al. 2020, arXiv:2005.11185; Macháček et al. 2023, arXiv:2307.14743): a word is committed when
two hypotheses in a row agree on it. Words that lean on the newest sound are held back, however often they agree: their
end may not have been heard yet. So are words of which the engine is not sure, until they have stood for a while.
Agreement ignores case and punctuation; a word on whose punctuation the hypotheses differ, and the last word of what is
committed, are committed without it, since what follows may change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamd.core.words import HypothesisWord, bare, join, without_tail


@dataclass(frozen=True, slots=True)
class Caption:
    """What readers see of an utterance: `text[:committed]` is shown for good."""

    text: str
    committed: int  # code points
    words: tuple[HypothesisWord, ...]


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """When a word is shown for good."""

    hold_s: float = 0.3  # a word that ends within the newest sound waits
    sure: float = 0.5  # a word of this confidence needs two guesses that agree
    patience_s: float = 1.0  # any other must have stood while this much sound came in


class Stabiliser:
    """One utterance. Every engine guess goes in by `update`, the last one by `finish`."""

    def __init__(self, policy: CommitPolicy | None = None) -> None:
        self._policy = policy or CommitPolicy()
        self._committed = ""
        self._committed_end_s = 0.0
        self._previous: tuple[HypothesisWord, ...] = ()
        self._since_s: list[float] = []  # for each of these: when it was first guessed at its place

    @property
    def committed(self) -> str:
        return self._committed

    @property
    def committed_end_s(self) -> float:
        """Where the last committed word ends in the utterance."""
        return self._committed_end_s

    def update(self, words: Sequence[HypothesisWord], covered_s: float) -> Caption:
        """A new guess for the whole utterance, of which `covered_s` seconds have been heard."""
        words = self._after_committed(words)
        standing = _agreeing(words, self._previous)
        self._since_s = [*self._since_s[:standing], *[covered_s] * (len(words) - standing)]
        self._commit(words, standing, covered_s)
        self._previous = tuple(words)
        return self._caption(words)

    def finish(self, words: Sequence[HypothesisWord]) -> Caption:
        """The last guess: all of it is final. It begins with everything that was committed."""
        caption = self._caption(self._after_committed(words))
        self._committed = caption.text
        return Caption(caption.text, len(caption.text), caption.words)

    def _after_committed(self, words: Sequence[HypothesisWord]) -> tuple[HypothesisWord, ...]:
        """`words`, made to begin with the committed text, whatever the engine thinks of it now."""
        if _begin_with(words, self._committed):
            return tuple(words)
        rest = [word for word in words if (word.start_s + word.end_s) / 2 > self._committed_end_s]
        spaced = rest and not rest[0].text.startswith(" ") and any(word.text.startswith(" ") for word in words)
        if spaced:
            rest[0] = replace(rest[0], text=" " + rest[0].text)
        return (*_first(self._previous, len(self._committed)), *rest)

    def _commit(self, words: Sequence[HypothesisWord], standing: int, covered_s: float) -> None:
        ready = 0
        while ready < standing and self._may_stay(words[ready], covered_s, self._since_s[ready]):
            ready += 1
            if words[ready - 1].text.casefold() != self._previous[ready - 1].text.casefold():
                break  # the punctuation is still open
        text = without_tail(join(words[:ready]))
        if len(text) > len(self._committed) and text.startswith(self._committed):
            self._committed = text
            self._committed_end_s = words[ready - 1].end_s

    def _may_stay(self, word: HypothesisWord, covered_s: float, since_s: float) -> bool:
        if word.end_s > covered_s - self._policy.hold_s:
            return False
        return word.confidence >= self._policy.sure or covered_s - since_s >= self._policy.patience_s

    def _caption(self, words: tuple[HypothesisWord, ...]) -> Caption:
        return Caption(join(words), len(self._committed), words)


def _agreeing(words: Sequence[HypothesisWord], previous: Sequence[HypothesisWord]) -> int:
    """How many leading words two guesses share."""
    pairs = enumerate(zip(words, previous, strict=False))
    return next((n for n, (a, b) in pairs if bare(a.text) != bare(b.text)), min(len(words), len(previous)))


def _begin_with(words: Sequence[HypothesisWord], text: str) -> bool:
    """Do the words begin with `text`, and does a word end where it ends?"""
    if not text:
        return True
    starts = (join(words[:count]) for count in range(1, len(words) + 1))
    return any(without_tail(start) == text for start in starts)


def _first(words: Sequence[HypothesisWord], length: int) -> tuple[HypothesisWord, ...]:
    """The words that make up the first `length` code points of their text, the last one cut."""
    kept: list[HypothesisWord] = []
    for word in words:
        if length <= 0:
            break
        text = word.text if any(before.text for before in kept) else word.text.lstrip()
        kept.append(replace(word, text=text[:length]))
        length -= len(text)
    return tuple(kept)
