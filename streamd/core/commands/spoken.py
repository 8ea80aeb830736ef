"""What was heard, as the words that a grammar is made of: lower case, no punctuation, numbers in figures.

    "Set press two to one hundred and twenty RPM."  →  set press 2 to 120 rpm

Sentences of a grammar take the same way, so that both sides spell a number alike however it was written or said.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from string import digits

from text_to_num import find_numbers

_FIGURE = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_PIECE = re.compile(r"-?[0-9][0-9.,]*[0-9]|-?[0-9]|[^\W\d_]+(?:'[^\W\d_]+)*|[%°/]|[^\w\s]|_")  # numbers, words, signs
SIGNS = frozenset("%°/$€£¥¢")  # that are spoken: somebody who says dollars means no bar
# `ein` is an article and half of a verb ("stell Presse zwei auf hundert ein"); `second` and `a` are no numbers either.
_NEVER_NUMBERS = {"de": frozenset({"ein"}), "en": frozenset({"second", "a"})}
_HALVES = {"en": ("and", "a", "half"), "de": ("und", "ein", "halb")}
_MINUS = "minus"
_PLAIN = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{MINUS SIGN}": "-"})
_SPELT = re.compile(r"\b(?:a|an) (?=(?:hundred|thousand|million)\b)")
_EINHALB = re.compile(r"\b(\w+)einhalb\b")
_LANGUAGES = frozenset({"de", "en", "es", "fr", "it", "nl", "pt"})  # that text2num knows


@lru_cache(maxsize=4_096)
def words(text: str, language: str) -> tuple[str, ...]:
    """The words of `text`. Numbers are figures with a decimal point: 95, 2.5, -5."""
    plain = unicodedata.normalize("NFC", text).casefold().translate(_PLAIN)
    if language == "en":
        plain = _SPELT.sub("one ", plain)
    elif language == "de":
        plain = _EINHALB.sub(r"\1 und ein halb", plain.replace("anderthalb", "eins und ein halb"))
    pieces = [_figure(match[0], language) for match in _PIECE.finditer(_unjoined(plain))]
    spoken = _numbers_in_figures(pieces, language)
    kept = [piece for piece in spoken if piece in SIGNS or piece[-1].isalnum()]
    return tuple(_signed(_with_halves(kept, language)))


def is_figure(word: str) -> bool:
    """Whether a word of `words` is a number."""
    return _FIGURE.fullmatch(word) is not None


def value(word: str) -> Decimal:
    """The number that `is_figure`."""
    return Decimal(word)


def figure(number: float, language: str) -> str:
    """A number as it is written in a sentence of this language."""
    text = format(Decimal(str(number)), "f")
    return text.replace(".", ",") if language == "de" else text


def _unjoined(text: str) -> str:
    """Hyphens within words and compounds are spaces; before a figure they are its sign."""
    return re.sub(r"(?<=[\w])-(?=\w)", " ", text)


def _figure(piece: str, language: str) -> str:
    """Thousands without their marks, decimals with a point: 1,200.5 in English is 1.200,5 in German."""
    if piece[-1] not in digits:
        return piece
    mark, point = (".", ",") if language != "en" else (",", ".")
    if re.fullmatch(rf"-?[0-9]{{1,3}}(?:{re.escape(mark)}[0-9]{{3}})+(?:{re.escape(point)}[0-9]+)?", piece):
        piece = piece.replace(mark, "")
    return piece.replace(point, ".") if piece.count(point) == 1 and mark not in piece else piece


@dataclass(frozen=True, slots=True)
class _Word:
    """A piece as text2num reads it."""

    piece: str
    never: bool

    def text(self) -> str:
        return self.piece

    def nt_separated(self, _previous: _Word) -> bool:
        return False

    def not_a_number_part(self) -> bool:
        return self.never


def _numbers_in_figures(pieces: list[str], language: str) -> list[str]:
    """Numbers in words become figures; ordinals stay words, for nobody sets a speed to the twentieth."""
    if language not in _LANGUAGES:
        return pieces
    never = _NEVER_NUMBERS.get(language, frozenset())
    tokens = [_Word(piece, piece in never or not piece.isalpha()) for piece in pieces]
    found = find_numbers(tokens, language, 0.0)
    for number in reversed([number for number in found if not number.is_ordinal]):
        pieces = [*pieces[: number.start], format(_short(number.value), "f"), *pieces[number.end :]]
    return pieces


def _short(number: float) -> Decimal:
    exact = Decimal(str(number))
    return exact.quantize(Decimal(1)) if exact == exact.to_integral_value() else exact


def _with_halves(pieces: list[str], language: str) -> Iterator[str]:
    """Two and a half is 2.5."""
    half = list(_HALVES.get(language, ()))
    at = 0
    while at < len(pieces):
        word = pieces[at]
        if half and word.isdigit() and pieces[at + 1 : at + 1 + len(half)] == half:
            yield f"{word}.5"
            at += 1 + len(half)
        else:
            yield word
            at += 1


def _signed(pieces: Iterator[str]) -> Iterator[str]:
    """Minus five is -5."""
    minus = False
    for word in pieces:
        if minus:
            yield from [f"-{word}"] if is_figure(word) and not word.startswith("-") else [_MINUS, word]
        elif word != _MINUS:
            yield word
        minus = word == _MINUS and not minus
    if minus:
        yield _MINUS
