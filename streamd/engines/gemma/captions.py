"""What the model makes of the sound that it has read: a caption, or a transcript and its translation."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamd.core.words import HypothesisWord, spelled
from streamd.engines.gemma import timing
from streamd.engines.gemma.decoder import Cache, Decoder
from streamd.engines.gemma.greedy import Written, greedy
from streamd.engines.gemma.prompt import Ask, Prompt
from streamd.engines.gemma.text import Tokens
from streamd.engines.spans import TIMES, loop_length, words

TOKENS_PER_S = 12.0  # more than anyone can say in a second: what goes beyond is a loop
SPARE_TOKENS = 16
FRAME_S = 0.04


@dataclass(frozen=True, slots=True)
class Caption:
    """A guess, and what the next one can make use of."""

    words: tuple[HypothesisWord, ...] = ()
    tokens: tuple[int, ...] = ()  # as the model wrote them: the draft of the next guess
    is_forced: bool = False  # the model would not begin with what was committed, and was made to


@dataclass(frozen=True, slots=True)
class Sound:
    """What was heard."""

    cache: Cache  # the model's past, up to the sound's last token
    loudness: NDArray[np.float32]  # of each frame

    @property
    def seconds(self) -> float:
        return FRAME_S * len(self.loudness)


class Captions:
    """Writes captions with one model. May be used from several threads at a time."""

    def __init__(self, decoder: Decoder, tokens: Tokens, prompt: Prompt) -> None:
        self._decoder, self._tokens, self._prompt = decoder, tokens, prompt

    def write(self, sound: Sound, ask: Ask, earlier: Caption, committed: str) -> Caption:
        """The caption of all that was heard. It begins with `committed`.

        It is the model's own greedy answer, as long as that says what was committed. From then on where it does not,
        the model is made to go on from there, for the rest of the utterance: its own way is given up.
        """
        head = self._transcript(sound, ask, earlier) if ask.task == "translate" else ()
        if not earlier.is_forced:
            written = self._go_on(sound, head, earlier)
            said = spelled(self._words(written, len(head)), committed)
            if said is not None:
                return Caption(timed(said, sound), written.tokens)
        begin = (*head, *self._tokens.encode(self._tokens.harmless(committed)))
        written = self._go_on(sound, begin, earlier)
        said = spelled(self._words(written, len(head)), committed)
        if said is None:  # the vocabulary can't spell it
            said = (*in_words(committed), *self._words(written, len(begin)))
        return Caption(timed(said, sound), written.tokens, is_forced=True)

    def _transcript(self, sound: Sound, ask: Ask, earlier: Caption) -> tuple[int, ...]:
        """Tokens of what was said in its own language, up to where the translation begins."""
        mark = f"\n{ask.target_name}:"
        written = self._go_on(sound, (), earlier, lambda said: mark in self._tokens.decode(said[-2 * len(mark) :]))
        if mark in self._tokens.decode(written.tokens):
            return written.tokens
        return (*_without_loop(written.tokens), *self._tokens.encode(mark))

    def _go_on(
        self,
        sound: Sound,
        begin: Sequence[int],
        earlier: Caption,
        enough: Callable[[Sequence[int]], bool] = lambda _: False,
    ) -> Written:
        return greedy(
            self._decoder,
            sound.cache,
            self._prompt.behind,
            stop=self._tokens.stops,
            limit=int(TOKENS_PER_S * sound.seconds) + SPARE_TOKENS,
            begin=begin,
            draft=earlier.tokens,
            enough=lambda said: loop_length(said[len(begin) :]) > 0 or enough(said),
        )

    def _words(self, written: Written, start: int) -> tuple[HypothesisWord, ...]:
        """Words of the tokens from `start` on, without times."""
        said = _without_loop(written.tokens[start:])
        places = [start + place for place in self._tokens.spoken(said)]
        spans = words([written.tokens[place] for place in places], self._tokens.decode)
        return tuple(
            HypothesisWord(text, 0.0, 0.0, _confidence([written.chances[place] for place in places[start:stop]]))
            for text, start, stop in ((_shown(span.text), span.start, span.stop) for span in spans)
            if text.strip()
        )


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
