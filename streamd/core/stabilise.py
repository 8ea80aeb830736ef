"""Hypotheses in, committed and tentative text out. Committed text never changes.

LocalAgreement-2 (Liu et al. 2020, arXiv:2005.11185; Macháček et al. 2023, arXiv:2307.14743) commits a word when two
hypotheses in a row agree on it. Here agreement is one sign among others. How likely a guessed word is to be in the
final text is estimated from what is known of it at that moment, above all from the engine's confidence: a word of which
it is sure is right at its first appearance nearly always, another one is not even after several. Two limits on that
probability make the policy:

- A word is shown from `show` on, and committed from `commit` on; also if it has stood for long enough.
- A word that was shown stays as it is until other words have been guessed several times in a row, or surely.
- Nothing is shown after a word that is not, and nothing committed after one that is not.
- Words that lean on the newest sound are not committed: their end may not have been heard yet.
- What is committed never ends within a name that is expected: an engine that is told of the name would go on from its
  first half with the whole of it, and readers would see "Lase Lasecki".

Words are compared without case and punctuation. A word on whose punctuation the hypotheses differ holds up those after
it until it is old enough; the last word of what is committed is committed without its punctuation, since what follows
may change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log

from streamd.core.align import align
from streamd.core.policy import Policy
from streamd.core.words import HypothesisWord, bare, covering, join, letters, without_tail

SHORT_LETTERS = 3  # words of so many letters are mostly those that every sentence is full of


@dataclass(frozen=True, slots=True)
class Caption:
    """What readers see of an utterance: `text[:committed]` is shown for good."""

    text: str
    committed: int  # code points
    words: tuple[HypothesisWord, ...]


@dataclass(frozen=True, slots=True)
class _Standing:
    """How long a word has been guessed at its place."""

    since_s: float
    guesses: int = 1
    is_settled: bool = False  # the last two guesses have it with the same punctuation


def chance(confidence: float, guesses: int, age_s: float, *, newest: bool) -> float:
    """Probability that a guessed word is in the final text: 0 … 1.

    `guesses` in a row had it at its place, `age_s` is how long ago it was said, `newest` whether it is the last one.
    Logistic regression on 4,800 words that tiny.en guessed in clean speech, babble and pink noise; when each recording
    is left out in turn, what the others say of it holds within a few per cent, down to noise as loud as the speech.
    """
    sure = min(max(confidence, 0.001), 0.999)
    odds = 1.3 + 0.77 * log(sure / (1 - sure)) + 0.48 * min(3.0, log(guesses, 2))
    odds -= 0.9 * min(max(age_s, 0.0), 0.6) + 0.8 * newest  # words that are not committed yet have had their chance
    return 1 / (1 + exp(-odds))


class Stabiliser:
    """One utterance. Every engine guess goes in by `update`, the last one by `finish`."""

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy or Policy()
        self._committed = ""
        self._committed_end_s = 0.0
        self._shown: tuple[HypothesisWord, ...] = ()
        self._contradictions = 0  # guesses in a row that have something else than what is shown
        self._guess: tuple[HypothesisWord, ...] = ()  # the last one …
        self._covered_s = 0.0  # … what it has heard …
        self._standing: list[_Standing] = []  # … and how long its words have been guessed

    @property
    def committed(self) -> str:
        return self._committed

    @property
    def committed_end_s(self) -> float:
        """Where the last committed word ends in the utterance."""
        return self._committed_end_s

    def update(
        self, words: Sequence[HypothesisWord], covered_s: float, *, ended: bool = False, terms: Sequence[str] = ()
    ) -> Caption:
        """A new guess for the whole utterance, of which `covered_s` seconds have been heard.

        `ended`: nothing is being said any more, so that it shows all its words. `terms`: names that are expected.
        """
        guess = self._after_committed(words)
        before = self._guess
        self._standing = _stood(guess, before, self._standing, covered_s)
        self._guess, self._covered_s = guess, covered_s
        if ended:
            self._shown, self._contradictions = guess, 0
        else:
            self._show()
        if self._contradictions == 0:
            self._commit(terms)
        return self._caption(self._shown)

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
        return (*_first(self._shown, len(self._committed)), *rest)

    def _show(self) -> None:
        kept = _agreeing(self._guess, self._shown)
        if kept < len(self._shown):
            self._contradictions += 1
            sure = kept < len(self._guess) and self._chance(kept) >= self._policy.commit
            if not sure and self._contradictions < self._policy.replace_after:
                return
        self._contradictions = 0
        count = max(kept, covering(self._guess, self._committed))
        while count < len(self._guess) and self._may_show(count):
            count += 1
        self._shown = self._guess[:count]

    def _may_show(self, number: int) -> bool:
        policy, (stood_s, age_s) = self._policy, self._times(number)
        return self._chance(number) >= policy.show or stood_s >= policy.show_after_s or age_s >= policy.show_age_s

    def _commit(self, terms: Sequence[str]) -> None:
        ready = 0
        while ready < len(self._shown) and self._may_stay(ready):
            ready += 1
            if self._is_unsettled(ready - 1):
                break
        ready = _outside(terms, self._guess, ready)
        text = without_tail(join(self._guess[:ready]))
        if len(text) > len(self._committed) and text.startswith(self._committed):
            self._committed = text
            self._committed_end_s = self._guess[ready - 1].end_s

    def _is_unsettled(self, number: int) -> bool:
        """Is a word's punctuation still open, and worth waiting for?"""
        _, age_s = self._times(number)
        return age_s < self._policy.commit_age_s and not self._standing[number].is_settled

    def _may_stay(self, number: int) -> bool:
        policy, (stood_s, age_s) = self._policy, self._times(number)
        if age_s < policy.hold_s:
            return False
        return self._chance(number) >= policy.commit or stood_s >= policy.commit_after_s or age_s >= policy.commit_age_s

    def _times(self, number: int) -> tuple[float, float]:
        """For how much sound a word has stood, and how much has come since it was said."""
        return self._covered_s - self._standing[number].since_s, self._covered_s - self._guess[number].end_s

    def _chance(self, number: int) -> float:
        word, newest = self._guess[number], number == len(self._guess) - 1
        return chance(word.confidence, self._standing[number].guesses, self._covered_s - word.end_s, newest=newest)

    def _caption(self, words: tuple[HypothesisWord, ...]) -> Caption:
        return Caption(join(words), len(self._committed), words)


def _stood(
    guess: Sequence[HypothesisWord], before: Sequence[HypothesisWord], stood: Sequence[_Standing], covered_s: float
) -> list[_Standing]:
    """How long the words of a guess have been guessed, given the guess before it.

    A word that was guessed otherwise does not take away from those after it.
    """
    standings = [_Standing(covered_s)] * len(guess)
    pair = [bare(word.text) for word in before], [bare(word.text) for word in guess]
    for i, j in align(*pair).same:
        alike = before[i].text.casefold() == guess[j].text.casefold()
        standings[j] = replace(stood[i], guesses=stood[i].guesses + 1, is_settled=alike)
    return standings


def _agreeing(words: Sequence[HypothesisWord], previous: Sequence[HypothesisWord]) -> int:
    """How many leading words two guesses share."""
    pairs = enumerate(zip(words, previous, strict=False))
    return next((n for n, (a, b) in pairs if bare(a.text) != bare(b.text)), min(len(words), len(previous)))


def _outside(terms: Sequence[str], words: Sequence[HypothesisWord], count: int) -> int:
    """How many of the first `count` words there are before a term that they end within."""
    names = [letters(term) for term in terms]
    longest = max((len(name.casefold()) for name in names), default=0)
    start, said = count, ""
    while start and len(said) < longest:  # what is as long begins none of them
        start -= 1
        said = letters(words[start].text) + said
        if said and any(_begins(said, name) for name in names):
            count, said = start, ""  # what is before may end within another one
    return count


def _begins(said: str, name: str) -> bool:
    """Is this the beginning of a name, not all of it? Short words must be written alike: `and` begins no Andersson."""
    if len(said) > SHORT_LETTERS:
        said, name = said.casefold(), name.casefold()
    return name.startswith(said) and name != said


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
