"""What the model makes of the sound that it has read: a caption, or a transcript and its translation."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamd.core.words import HypothesisWord, join, spelled, spelled_along
from streamd.engines.gemma import timing
from streamd.engines.gemma.decoder import Cache, Decoder
from streamd.engines.gemma.greedy import Written, greedy
from streamd.engines.gemma.prompt import Ask, Prompt
from streamd.engines.gemma.text import Tokens
from streamd.engines.spans import TIMES, loop_length, words

TOKENS_PER_S = 12.0  # more than anyone can say in a second: what goes beyond is a loop
SPARE_TOKENS = 16
FRAME_S = 0.04

QUIET = -5.0
"""Mean log-mel of the loudest frame below which nothing was said. White noise of -68 dBFS has -5.0, speech of -60 dBFS
has -4.5, silence -6.9. Asked about nothing, the model makes something up."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A guess, and what the next one can make use of."""

    words: tuple[HypothesisWord, ...] = ()
    tokens: tuple[int, ...] = ()  # as the model wrote them, or was made to: the draft of the next guess
    chances: tuple[float, ...] = ()  # of each of these: its natural log-probability
    stops: tuple[int, ...] = ()  # of each word: how many tokens it and those before it take; empty where not known
    transcript: tuple[int, ...] = ()  # of a translation: tokens of what was said, up to where the translation begins
    is_forced: bool = False  # the model would not begin with what was committed, and was made to


@dataclass(frozen=True, slots=True)
class Sound:
    """What was heard."""

    cache: Cache  # the model's past, up to the sound's last token
    loudness: NDArray[np.float32]  # of each frame

    @property
    def seconds(self) -> float:
        return FRAME_S * len(self.loudness)

    @property
    def is_quiet(self) -> bool:
        """Can nothing be heard in it?"""
        return bool(self.loudness.max(initial=-np.inf) < QUIET)


class Captions:
    """Writes captions with one model. May be used from several threads at a time."""

    def __init__(self, decoder: Decoder, tokens: Tokens, prompt: Prompt) -> None:
        self._decoder, self._tokens, self._prompt = decoder, tokens, prompt

    def write(self, sound: Sound, ask: Ask, earlier: Caption, committed: str) -> Caption:
        """The caption of all that was heard. It begins with `committed`.

        It is the model's own greedy answer, as long as that says what was committed; tokens of committed words are not
        asked about again, but for the last one's. Where it says something else, the model is made to go on from what
        was committed, for the rest of the sound: its own way is given up. It is not asked about what can't be heard.
        """
        if sound.is_quiet:
            return replace(earlier, words=timed(in_words(committed), sound))
        transcript = self._transcript(sound, ask, earlier)
        own = self._own(sound, transcript, earlier, committed)
        return own[0] if own and not own[1] else self._forced(sound, transcript, earlier, committed)

    def write_ahead(self, sound: Sound, ask: Ask, earlier: Caption, committed: str) -> Caption | None:
        """The same where `committed` may be about later sound, too.

        None where the model says something else: nobody knows how much of it is about this sound.
        """
        if sound.is_quiet:
            return Caption()
        own = self._own(sound, self._transcript(sound, ask, earlier), earlier, committed)
        return own[0] if own else None

    def _own(
        self, sound: Sound, transcript: tuple[int, ...], earlier: Caption, committed: str
    ) -> tuple[Caption, str] | None:
        """What the model says by itself, and what is left of `committed`; None where it says something else."""
        if earlier.is_forced:
            return None
        kept = kept_tokens(earlier, committed)
        draft = earlier.tokens or self._encoded(committed)
        answer = self._go_on(sound, transcript, draft[:kept], earlier.chances[:kept], draft)
        along = spelled_along(answer.words, committed)
        if along is None:
            return None
        said, left = along
        return replace(answer, words=timed(said, sound)), left

    def _forced(self, sound: Sound, transcript: tuple[int, ...], earlier: Caption, committed: str) -> Caption:
        begin = self._encoded(committed)
        answer = self._go_on(sound, transcript, begin, (0.0,) * len(begin), earlier.tokens)
        said = spelled(answer.words, committed)
        if said is None:  # the vocabulary can't spell it
            said = (*in_words(committed), *self._words(answer.tokens, answer.chances, len(begin))[0])
        return replace(answer, words=timed(said, sound), is_forced=True)

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokens.encode(self._tokens.harmless(text)))

    def _transcript(self, sound: Sound, ask: Ask, earlier: Caption) -> tuple[int, ...]:
        """Tokens of what was said in its own language, up to where the translation begins."""
        if ask.task != "translate":
            return ()
        mark = f"\n{ask.target_name}:"
        written = self._continue(
            sound,
            (),
            earlier.transcript,
            lambda said: loop_length(said) > 0 or mark in self._tokens.decode(said[-2 * len(mark) :]),
        )
        if mark in self._tokens.decode(written.tokens):
            return written.tokens
        return (*_without_loop(written.tokens), *self._tokens.encode(mark))

    def _go_on(
        self,
        sound: Sound,
        transcript: tuple[int, ...],
        begin: tuple[int, ...],
        chances: tuple[float, ...],
        draft: tuple[int, ...],
    ) -> Caption:
        """The answer that begins with these tokens, of which the chances are known. Its words have no times."""
        rest = draft[len(begin) :] if draft[: len(begin)] == begin else ()
        written = self._continue(
            sound, (*transcript, *begin), rest, lambda said: loop_length((*begin, *said)) > 0, len(begin)
        )
        tokens, chances = (*begin, *written.tokens), (*chances, *written.chances)
        words, stops = self._words(tokens, chances)
        return Caption(words, tokens, chances, stops, transcript)

    def _continue(
        self,
        sound: Sound,
        begin: tuple[int, ...],
        draft: tuple[int, ...],
        enough: Callable[[Sequence[int]], bool],
        written: int = 0,
    ) -> Written:
        return greedy(
            self._decoder,
            sound.cache,
            (*self._prompt.behind, *begin),
            stop=self._tokens.stops,
            limit=max(SPARE_TOKENS, int(TOKENS_PER_S * sound.seconds) + SPARE_TOKENS - written),
            draft=draft,
            enough=enough,
        )

    def _words(
        self, tokens: Sequence[int], chances: Sequence[float], start: int = 0
    ) -> tuple[tuple[HypothesisWord, ...], tuple[int, ...]]:
        """Words of the tokens from `start` on, without times, and how many tokens there are up to each one's end."""
        said = _without_loop(tokens[start:])
        places = [start + place for place in self._tokens.spoken(said)]
        spans = [
            (self._tokens.harmless(_shown(span.text)), places[span.start : span.stop])
            for span in words([tokens[place] for place in places], self._tokens.decode)
        ]
        found = [(text, own) for text, own in spans if text.strip()]
        return (
            tuple(HypothesisWord(text, 0.0, 0.0, _confidence([chances[at] for at in own])) for text, own in found),
            tuple(own[-1] + 1 for _, own in found),
        )


def kept_tokens(earlier: Caption, committed: str) -> int:
    """How many tokens of an earlier caption can't change any more.

    They are those of the words that were committed, but for the last one: what follows it may be punctuation, and that
    may be another token.
    """
    whole = 0
    while whole < len(earlier.stops) and committed.startswith(join(earlier.words[: whole + 1])):
        whole += 1
    return earlier.stops[whole - 2] if whole > 1 else 0


def timed(said: Sequence[HypothesisWord], sound: Sound) -> tuple[HypothesisWord, ...]:
    """The words with the times that they may have been said at."""
    if not len(sound.loudness):
        return tuple(said)
    times = timing.spread([word.text for word in said], sound.loudness, FRAME_S)
    return tuple(
        replace(word, start_s=start_s, end_s=end_s) for word, (start_s, end_s) in zip(said, times, strict=True)
    )


def in_words(text: str) -> tuple[HypothesisWord, ...]:
    """Words of a text that was shown for good: there is no doubt in them any more, and no time."""
    return tuple(HypothesisWord(f" {word}", 0.0, 0.0) for word in text.split())


def _shown(text: str) -> str:
    """A caption has one line, no control characters, and no halves of characters, such as end it where it is cut."""
    line = " ".join(text.split("\n")).replace("\N{REPLACEMENT CHARACTER}", "")
    return "".join(char for char in line if unicodedata.category(char) != "Cc")


def _without_loop(tokens: Sequence[int]) -> tuple[int, ...]:
    """A loop that ends the tokens is kept once."""
    return tuple(tokens[: len(tokens) - (TIMES - 1) * loop_length(tokens)])


def _confidence(chances: Sequence[float]) -> float:
    """Geometric mean of the tokens' probabilities, from their logarithms."""
    return min(1.0, math.exp(sum(chances) / len(chances)))
