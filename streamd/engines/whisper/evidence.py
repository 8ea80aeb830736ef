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
    """The leading words that lie within the sound, without echoes; none where the model itself heard nobody.

    What was committed is never taken back, whatever the evidence says now, and says nothing against what follows it.
    """
    start = covering(words, committed)
    words = _without_echoes(words, start)
    kept = [_within(word, heard_s) for word in words[: _first_unheard(words, start, heard_s)]]
    if not committed and no_speech > NO_SPEECH and not is_sure(kept):
        return ()
    return tuple(kept)


def is_sure(words: Sequence[HypothesisWord]) -> bool:
    """Are there words, of which the model is sure on the whole?"""
    return bool(words) and sum(word.confidence for word in words) >= SURE * len(words)


def _without_echoes(words: Sequence[HypothesisWord], start: int) -> Sequence[HypothesisWord]:
    """The words without those from `start` on that are an echo, where the speaker goes on behind it."""
    said, number = list(words), start
    while number < len(said):
        behind = number + _echo(said, number)
        if behind > number and _goes_on(said, number, behind):
            del said[number:behind]
        else:
            number += 1
    return said


def _goes_on(words: Sequence[HypothesisWord], echo: int, behind: int) -> bool:
    """Was what is behind an echo spoken? It may be more of the echo, or invented as well."""
    rest = words[behind:]
    if not rest or _is_soundless(rest[0]) or not is_sure(rest):
        return False
    return any(bare(word.text) != bare(again.text) for word, again in zip(words[echo:], rest, strict=False))


def _first_unheard(words: Sequence[HypothesisWord], start: int, heard_s: float) -> int:
    """The first from `start` on that lies beyond the sound or has none; earlier, where a repetition leads up to it."""
    numbers = range(start, len(words))
    first = next((n for n in numbers if words[n].start_s > heard_s + LATE_S or _has_no_sound(words, n)), len(words))
    if first < len(words) and not _echo(words, first):  # an echo begins where it begins
        while first > start and _repeats(words, first - 1, first + REPEATED_WORDS - 1):
            first -= 1
    return first


def _repeats(words: Sequence[HypothesisWord], start: int, stop: int) -> bool:
    """Was this run of words said before?"""
    said = [bare(word.text) for word in words]
    run = said[start:stop]
    earlier = (said[n : n + len(run)] for n in range(start - len(run) + 1))
    return start > 0 and len(run) >= REPEATED_WORDS and run in earlier


def _has_no_sound(words: Sequence[HypothesisWord], number: int) -> bool:
    return _is_squeezed(words, number) or _echo(words, number) > 0


def _echo(words: Sequence[HypothesisWord], number: int) -> int:
    """How many words from here on say again what was said just before them, made of that and of the pause after it."""
    if not _is_soundless(words[number]):
        return 0
    said = [bare(word.text) for word in words]
    lengths = range(number, ECHO_WORDS - 1, -1)
    return next((n for n in lengths if said[number - n : number] == said[number : number + n]), 0)


def _is_soundless(word: HypothesisWord) -> bool:
    return word.end_s - word.start_s < SOUNDLESS_S


def _is_squeezed(words: Sequence[HypothesisWord], number: int) -> bool:
    """Do this word and those after it share a moment that is too short for them?"""
    run = words[number : number + SQUEEZED_WORDS]
    return len(run) == SQUEEZED_WORDS and run[-1].end_s - run[0].start_s < SQUEEZED_S


def _within(word: HypothesisWord, heard_s: float) -> HypothesisWord:
    start_s = min(word.start_s, heard_s)
    return HypothesisWord(word.text, start_s, max(start_s, min(word.end_s, heard_s)), word.confidence)
