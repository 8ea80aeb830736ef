"""Which words of a guess the sound bears out. Whisper invents words in silence and repeats itself at the end."""

from __future__ import annotations

from collections.abc import Sequence

from streamd.core.words import HypothesisWord, bare, covering

NO_SPEECH = 0.6  # above this probability of silence, words must be sure of themselves
SURE = 0.5  # mean confidence that is
LATE_S = 0.05  # a word may begin this much after the sound's end, no more
REPEATED_WORDS = 3  # so many words in a row that were said before are no chance
SQUEEZED_WORDS = 3  # so many words in a row …
SQUEEZED_S = 0.1  # … within so little sound were not spoken: a guess repeats itself
ECHO_WORDS = 2  # so many words that repeat those before them, and begin with one that …
SOUNDLESS_S = 0.01  # … has less sound than this, are an echo. A word that was said twice has 0.14 s or more each time.


def believable(
    words: Sequence[HypothesisWord], heard_s: float, no_speech: float, committed: str
) -> tuple[HypothesisWord, ...]:
    """The leading words that lie within the sound; none where the model itself heard nobody.

    What was committed is never taken back, whatever the evidence says now.
    """
    stop = max(_first_unheard(words, heard_s), covering(words, committed))
    kept = [_within(word, heard_s) for word in words[:stop]]
    if not committed and no_speech > NO_SPEECH and _mean_confidence(kept) < SURE:
        return ()
    return tuple(kept)


def _first_unheard(words: Sequence[HypothesisWord], heard_s: float) -> int:
    """The first word that lies beyond the sound or has none of its own; earlier, where a repetition leads up to it."""
    late = (n for n, word in enumerate(words) if word.start_s > heard_s + LATE_S or _has_no_sound(words, n))
    first = next(late, len(words))
    if first < len(words) and not _is_echo(words, first):  # an echo begins where it begins
        while _repeats(words, first - 1, first + REPEATED_WORDS - 1):
            first -= 1
    return first


def _repeats(words: Sequence[HypothesisWord], start: int, stop: int) -> bool:
    """Was this run of words said before?"""
    said = [bare(word.text) for word in words]
    run = said[start:stop]
    earlier = (said[n : n + len(run)] for n in range(start - len(run) + 1))
    return start > 0 and len(run) >= REPEATED_WORDS and run in earlier


def _has_no_sound(words: Sequence[HypothesisWord], number: int) -> bool:
    return _is_squeezed(words, number) or _is_echo(words, number)


def _is_echo(words: Sequence[HypothesisWord], number: int) -> bool:
    """Are what was said just before this word, and the pause after it, made into the same words again?"""
    if words[number].end_s - words[number].start_s >= SOUNDLESS_S:
        return False
    said = [bare(word.text) for word in words]
    lengths = range(ECHO_WORDS, number + 1)
    return any(said[number - length : number] == said[number : number + length] for length in lengths)


def _is_squeezed(words: Sequence[HypothesisWord], number: int) -> bool:
    """Do this word and those after it share a moment that is too short for them?"""
    run = words[number : number + SQUEEZED_WORDS]
    return len(run) == SQUEEZED_WORDS and run[-1].end_s - run[0].start_s < SQUEEZED_S


def _within(word: HypothesisWord, heard_s: float) -> HypothesisWord:
    start_s = min(word.start_s, heard_s)
    return HypothesisWord(word.text, start_s, max(start_s, min(word.end_s, heard_s)), word.confidence)


def _mean_confidence(words: Sequence[HypothesisWord]) -> float:
    return sum(word.confidence for word in words) / len(words) if words else 0.0
