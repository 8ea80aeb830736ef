"""Timed words, as an engine guesses them and as captions are made of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


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
