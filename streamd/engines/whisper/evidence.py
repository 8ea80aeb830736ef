"""Which words of a guess the sound bears out. Whisper invents words in silence and repeats itself at the end."""

from __future__ import annotations

from collections.abc import Sequence

from streamd.engines.base import HypothesisWord

NO_SPEECH = 0.6  # above this probability of silence, words must be sure of themselves
SURE = 0.5  # mean confidence that is
LATE_S = 0.05  # a word may begin this much after the sound's end, no more
SQUEEZED_WORDS = 3  # so many words in a row …
SQUEEZED_S = 0.1  # … within so little sound were not spoken: a guess repeats itself


def believable(
    words: Sequence[HypothesisWord], heard_s: float, no_speech: float, committed: str
) -> tuple[HypothesisWord, ...]:
    """The leading words that lie within the sound; none where the model itself heard nobody.

    What was committed is never taken back, whatever the evidence says now.
    """
    kept: list[HypothesisWord] = []
    length = 0
    for number, word in enumerate(words):
        length += len(word.text) if kept else len(word.text.lstrip())
        if length > len(committed) and (word.start_s > heard_s + LATE_S or _is_squeezed(words, number)):
            break
        kept.append(_within(word, heard_s))
    if not committed and no_speech > NO_SPEECH and _mean_confidence(kept) < SURE:
        return ()
    return tuple(kept)


def _is_squeezed(words: Sequence[HypothesisWord], number: int) -> bool:
    """Do this word and those after it share a moment that is too short for them?"""
    run = words[number : number + SQUEEZED_WORDS]
    return len(run) == SQUEEZED_WORDS and run[-1].end_s - run[0].start_s < SQUEEZED_S


def _within(word: HypothesisWord, heard_s: float) -> HypothesisWord:
    start_s = min(word.start_s, heard_s)
    return HypothesisWord(word.text, start_s, max(start_s, min(word.end_s, heard_s)), word.confidence)


def _mean_confidence(words: Sequence[HypothesisWord]) -> float:
    return sum(word.confidence for word in words) / len(words) if words else 0.0
