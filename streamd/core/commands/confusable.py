"""Which sentences sound alike: a rough distance between sounds, for authors rather than for recognisers.

Words are spelt roughly as they sound, and two spellings are compared letter by letter: vowels cost less among
themselves, and so do consonants of one kind (p and b, t and d, s and z). Numbers are compared in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import nsmallest
from itertools import combinations

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist
from unicode_rbnf import RbnfEngine

from streamd.core.commands.spoken import is_figure

CONFUSABLE = 2.0  # sounds between two phrases, up to which noise easily makes one of the other
# Beginnings that turn a word into its opposite, and are what noise swallows first; of words that go on after them.
_OPPOSITES = {"en": "un|dis|de|re|in|en", "de": "ver|ent|be|auf|zu|an|aus|ab|ein|hoch|herunter|los|fest"}
_STEM = 4  # letters at the least
_ROWS = 500  # of the matrix of all phrases against all
_PAIRS = 20_000  # of phrases that are compared sound by sound
_KIND = 0.5  # cost of one sound for another of its kind
# Letters and the sound that they make, one after the other; longer ones first.
_SPELT = {
    "en": """two tu, one wan, eight et, igh a, ght t, kn n, wh w, ph f, th θ, sh ʃ, ch ʃ, ck k, qu kw, x ks, ee i, ea i,
        oo u, ou u, ow u, ai e, ay e, c k, y i""",
    "de": """sch ʃ, ch ʃ, ck k, qu kw, ph f, th t, v f, w v, z ʦ, x ks, ei a, ai a, eu o, äu o, ie i, ä e, ö o, ü u,
        dt t, y u""",
}
_KINDS = ("aeiou", "pb", "tdθʦ", "kg", "fvw", "szʃʦ", "mn", "lr")
# Sounds of one kind, or of two kinds that share one, as the same letter.
_BY_KIND = str.maketrans(dict(zip("eioubdθʦszʃgfwvnr", "aaaapttttttkvvvml", strict=True)))


@lru_cache(maxsize=10_000)
def sounds(phrase: str, language: str) -> str:
    """A phrase as it sounds, roughly, without spaces."""
    said = in_words(phrase, language).casefold()
    for pair in filter(None, _SPELT.get(language, "").split(",")):
        letters, sound = pair.split()
        said = said.replace(letters, sound)
    if language == "en":
        said = re.sub(r"(?<=[^aeiou\s])e\b", "", said)  # silent at the end
    return re.sub(r"[\W_]", "", re.sub(r"(.)\1+", r"\1", said))  # of "belt two" both t are heard


def in_words(text: str, language: str) -> str:
    """The whole numbers of a sentence spelt out."""
    return " ".join(_spelt_out(word, language) for word in text.split()).replace("\N{SOFT HYPHEN}", "")


def _spelt_out(word: str, language: str) -> str:
    return _numbers(language).format_number(int(word)).text if is_figure(word) and "." not in word else word


@lru_cache(maxsize=8)
def _numbers(language: str) -> RbnfEngine:
    try:
        return RbnfEngine.for_language(language)
    except ValueError:
        return RbnfEngine.for_language("en")


def distance(one: str, other: str) -> float:
    """How many sounds differ, of what `sounds` gave."""
    row = [float(column) for column in range(len(other) + 1)]
    for place, sound in enumerate(one, start=1):
        above, row = row, [float(place)]
        for column, against in enumerate(other, start=1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + _cost(sound, against)))
    return row[-1]


def _cost(one: str, other: str) -> float:
    if one == other:
        return 0
    return _KIND if any(one in kind and other in kind for kind in _KINDS) else 1


def confusable(phrases: Iterable[tuple[object, str]], language: str) -> list[tuple[str, str, float]]:
    """Pairs of phrases with different meanings that sound alike, and how many sounds are between them; nearest first.

    `phrases` are (meaning, phrase). Of two meanings the pair of phrases that is nearest is given. Where very many come
    into question, those are looked at whose spellings differ least, so that a long list takes seconds.
    """
    said = [(meaning, phrase, sounds(phrase, language)) for meaning, phrase in phrases]
    found: dict[tuple[object, object], tuple[float, str, str]] = {}
    opposed = set(_opposed([phrase for _, phrase, _ in said], language))
    for row, column in (*opposed, *_near([spelling for _, _, spelling in said])):
        one, other = said[row], said[column]
        if one[0] != other[0]:
            near = (distance(one[2], other[2]), one[1], other[1])
            if near[0] <= CONFUSABLE or (row, column) in opposed:
                found[one[0], other[0]] = min(near, found.get((one[0], other[0]), near))
    return [(one, other, apart) for apart, one, other in sorted(found.values())]


def _opposed(phrases: Sequence[str], language: str) -> Iterator[tuple[int, int]]:
    """Pairs that differ in the beginning of one word: verriegeln and entriegeln."""
    beginnings = re.compile(rf"\b(?:{_OPPOSITES.get(language, '(?!)')})(?=\w{{{_STEM}}})")
    alike: dict[str, list[int]] = {}
    for number, phrase in enumerate(map(str.casefold, phrases)):
        ends = (phrase[: found.start()] + phrase[found.end() :] for found in beginnings.finditer(phrase))
        for key in {phrase, *ends}:
            alike.setdefault(key, []).append(number)
    yield from (pair for numbers in alike.values() for pair in combinations(numbers, 2))


def _near(spelt: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs whose distance may be small enough: without regard to the kinds of sounds it is not less than that."""
    kinds = [spelling.translate(_BY_KIND) for spelling in spelt]
    pairs: list[tuple[int, int, int]] = []
    for start in range(0, len(kinds), _ROWS):
        rows = cdist(
            kinds[start : start + _ROWS],
            kinds[start:],
            scorer=Levenshtein.distance,
            score_cutoff=int(CONFUSABLE),
            dtype=np.uint8,
        )
        near = np.argwhere(np.triu(rows <= CONFUSABLE, 1))
        pairs += ((int(rows[row, column]), start + int(row), start + int(column)) for row, column in near)
        pairs = nsmallest(_PAIRS, pairs)
    return ((one, other) for _, one, other in pairs)
