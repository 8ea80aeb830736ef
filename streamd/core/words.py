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


def covering(words: Sequence[HypothesisWord], text: str) -> int:
    """How many leading words make up as much text as `text` is; all of them where that is not enough."""
    return next((n for n in range(len(words) + 1) if len(join(words[:n])) >= len(text)), len(words))


def bare(text: str) -> str:
    """A word without case, spaces and punctuation; symbols that carry meaning (%, €, digits) stay."""
    return letters(text.casefold())


def letters(text: str) -> str:
    """The same with its case."""
    return "".join(char for char in text if not char.isspace() and not is_punctuation(char))


def is_punctuation(char: str) -> bool:
    """Does the character only structure the text? Signs that are read aloud do more than that."""
    return unicodedata.category(char).startswith("P") and char not in "%‰&@#"


def is_unspaced(char: str) -> bool:
    """Is this a character of a script that is written without spaces between words?"""
    return any(low <= ord(char) <= high for low, high in _UNSPACED)


def is_attached(char: str) -> bool:
    """Does the character belong to the one before it: a vowel sign, a tone mark, a small or a lengthening kana?"""
    return unicodedata.category(char) in _MARKS or char in _KANA_SIGNS or char in _THAI_SIGNS


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
    along = spelled_along(words, text)
    return along[0] if along and not along[1] else None


def spelled_along(words: Sequence[HypothesisWord], text: str) -> tuple[tuple[HypothesisWord, ...], str] | None:
    """The same where the words may end before `text` does: with what is left of it."""
    said: list[HypothesisWord] = []
    for number, word in enumerate(words):
        if not text:
            return (*said, *words[number:]), ""
        length = _length_of(bare(word.text), text)
        if length is None:
            return None
        shown, kept = word.text.strip(), text[:length].strip()
        is_open = not text[length:] and without_tail(kept) == kept
        tail = shown[len(without_tail(shown)) :] if is_open else ""
        lead = " " if word.text.startswith(" ") else ""
        said.append(replace(word, text=lead + kept + tail))
        text = text[length:]
    return tuple(said), text


def _length_of(wanted: str, text: str) -> int | None:
    """Code points of the start of `text` that says `wanted`, with the punctuation after it."""
    length = next((n for n in range(len(text) + 1) if bare(text[:n]) == wanted), None)
    while length is not None and length < len(text) and is_punctuation(text[length]):
        length += 1
    return length


_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x9FFF),  # CJK ideographs
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0x20000, 0x3FFFF),  # CJK extensions
)
_MARKS = ("Mn", "Mc", "Me", "Cf", "Sk")
_KANA_SIGNS = frozenset("ー々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ")
_THAI_SIGNS = frozenset("ะาำๅๆฯະາຳໆຯ")  # vowels that follow their consonant, repetition, abbreviation; the same in Lao
