"""From where on an open utterance is heard again: what was committed long ago is not, so that each call costs the same.

A few committed words stay in the window. They are the forced beginning of what is decoded, so that the decoder knows
where in the sound it is. (Whisper on its own goes by the text before the window; that text would cost as much to read
as the words themselves.)
"""

from __future__ import annotations

from collections.abc import Sequence

from streamd.core.words import HypothesisWord, join

KEPT_S = 3.0  # committed sound in the window, at the least …
KEPT_WORDS = 3  # … and committed words
EMPTY_S = 4.0  # so much sound without any word is not heard again, …
ONSET_S = 2.0  # … but for the newest part of it
MARGIN_S = 0.1  # a word's first sound lies this much before the moment that attention gives it


def settled(words: Sequence[HypothesisWord], committed: str) -> int:
    """How many leading words of the last guess need not be heard again."""
    stop = 0
    while stop < len(words) and len(join(words[: stop + 1])) <= len(committed):
        stop += 1
    if not stop or not committed.startswith(join(words[:stop])):
        return 0
    end_s = words[stop - 1].end_s
    fit = (n for n in range(stop - KEPT_WORDS, 0, -1) if end_s - words[n].start_s >= KEPT_S)
    return next(fit, 0)


def start_s(words: Sequence[HypothesisWord], count: int) -> float:
    """Where the window begins that leaves `count` words out, in seconds of the utterance."""
    return max(words[count - 1].start_s, words[count].start_s - MARGIN_S) if count else 0.0


def empty_s(heard_s: float, before_s: float) -> float:
    """Where the window begins where no word has been found yet, given where it began before."""
    return heard_s - ONSET_S if heard_s - before_s > EMPTY_S else before_s
