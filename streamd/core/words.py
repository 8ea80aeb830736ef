"""Timed words, as an engine guesses them and as captions are made of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class HypothesisWord:
    """A word of a hypothesis. Times are seconds from the utterance's first sample."""

    text: str  # as displayed, punctuation included, with a leading space where the language writes one
    start_s: float
    end_s: float
    confidence: float = 1.0  # 0 … 1


def join(words: Sequence[HypothesisWord]) -> str:
    """The words as one text, as displayed."""
    return "".join(word.text for word in words).strip()


def bare(text: str) -> str:
    """A word without case, spaces and punctuation; symbols that carry meaning (%, €, digits) stay."""
    return "".join(char for char in text.casefold() if not char.isspace() and not is_punctuation(char))


def is_punctuation(char: str) -> bool:
    """Does the character only structure the text? Signs that are read aloud do more than that."""
    return unicodedata.category(char).startswith("P") and char not in "%‰&@#"


def without_tail(text: str) -> str:
    """Text without the punctuation and the spaces at its end."""
    end = len(text)
    while end and (text[end - 1].isspace() or is_punctuation(text[end - 1])):
        end -= 1
    return text[:end]


def spelled(words: Sequence[HypothesisWord], text: str) -> tuple[HypothesisWord, ...] | None:
    """The words, the leading ones spelled as in `text`, which they must say; None where they say something else.

    Punctuation that follows the last of them is kept: `text` may end before it was known.
    """
    said: list[HypothesisWord] = []
    for number, word in enumerate(words):
        if not text:
            return (*said, *words[number:])
        length = _length_of(bare(word.text), text)
        if length is None:
            return None
        shown = word.text.strip()
        tail = "" if text[length:] else shown[len(without_tail(shown)) :]
        lead = " " if word.text.startswith(" ") else ""
        said.append(replace(word, text=lead + text[:length].strip() + tail))
        text = text[length:]
    return None if text else tuple(said)


def _length_of(wanted: str, text: str) -> int | None:
    """Code points of the start of `text` that says `wanted`, with the punctuation after it."""
    length = next((n for n in range(len(text) + 1) if bare(text[:n]) == wanted), None)
    while length is not None and length < len(text) and is_punctuation(text[length]):
        length += 1
    return length
