"""From tokens to words, for engines whose vocabulary is made of pieces of words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamd.core.words import is_attached, is_punctuation, is_unspaced

_OPENING = "\"'“¿([{-¡«‘„"  # noqa: RUF001 - the curly quote is meant
"""Punctuation that belongs to the word after it when no space stands between."""


_LEADING_VOWELS = "เแโใไເແໂໃໄ"
"""Thai and Lao vowels that are written before the consonant that they follow."""


LONGEST_CHARACTER = 4  # bytes of UTF-8, so as many tokens
TIMES = 3  # what is said so often in a row is not speech …
LONGEST_LOOP = 12  # … if it is not longer than so many tokens


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """A word as displayed and its tokens [start, stop) in the sequence."""

    text: str
    start: int
    stop: int


def words(tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[TokenSpan]:
    """Words with their tokens. Together the texts are the decoded text.

    A word begins at a space; where a language writes none, at each character that is complete. Punctuation
    stays with the word before it, opening punctuation with the word after it.
    """
    found: list[TokenSpan] = []
    for piece in _pieces(tokens, decode):
        if found and found[-1].text.endswith(" "):  # the space goes with the word after it
            last = found.pop()
            kept = last.text.rstrip(" ")
            found.append(TokenSpan(kept, last.start, last.stop))
            piece = TokenSpan(last.text[len(kept) :] + piece.text, piece.start, piece.stop)
        if found and not _begins_word(piece.text, found[-1].text):
            last = found.pop()
            piece = TokenSpan(last.text + piece.text, last.start, piece.stop)
        found.append(piece)
    return found


def _pieces(tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[TokenSpan]:
    """The shortest runs of tokens that decode to whole characters; a token that begins none stands alone."""
    pieces: list[TokenSpan] = []
    start, stop = 0, 1
    while start < len(tokens):
        text = decode(tokens[start:stop])
        if "\N{REPLACEMENT CHARACTER}" in text and stop - start < LONGEST_CHARACTER and stop < len(tokens):
            stop += 1
            continue
        if "\N{REPLACEMENT CHARACTER}" in text and stop < len(tokens):
            text, stop = decode(tokens[start : start + 1]), start + 1
        pieces.append(TokenSpan(text, start, stop))
        start, stop = stop, stop + 1
    return pieces


def _begins_word(piece: str, before: str) -> bool:
    bare, said = piece.strip(), before.strip()
    if not bare or not said:
        return False
    if piece.startswith(" "):
        return True
    if all(char in _OPENING for char in said):
        return False
    if all(is_punctuation(char) for char in bare):
        return bare in _OPENING and bare not in "\"'-"
    if is_attached(bare[0]) or said[-1] in _LEADING_VOWELS:
        return False
    return is_unspaced(bare[0]) or is_unspaced(said[-1])


def without_loop(tokens: Sequence[int]) -> list[int]:
    """The tokens up to the first run that says the same thing TIMES times in a row; it is kept once."""
    for end in range(1, len(tokens) + 1):
        if length := loop_length(tokens[:end]):
            return list(tokens[: end - (TIMES - 1) * length])
    return list(tokens)


def loop_length(tokens: Sequence[int]) -> int:
    """Of how many tokens the run is that the tokens end with TIMES times in a row; 0 if with none."""
    end = len(tokens)
    for length in range(1, min(LONGEST_LOOP, end // TIMES) + 1):
        unit = tokens[end - length : end]
        if all(tokens[end - (n + 1) * length : end - n * length] == unit for n in range(1, TIMES)):
            return length
    return 0
