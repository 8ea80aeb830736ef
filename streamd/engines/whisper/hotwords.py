"""Names and jargon as Whisper's prompt, and whether the sound bears out what it makes of them.

In loud noise Whisper recites its prompt, several terms in a row, or puts a term where nothing was said. Such a guess is
compared with one that is made without the prompt. benchmarks/vocabulary.py measures what that does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from streamd.core.words import HypothesisWord, bare, covering
from streamd.engines.whisper.text import Tokens

FORM = "Glossary: {}."
"""Measured against the bare terms, a sentence about them and a sentence for each: as many are heard, fewer invented."""

DOUBTFUL = 0.05  # a term of which the model, unprompted, is less sure than this is compared
ENDING = 2  # letters
MOST_TOKENS = 223  # half of Whisper's text, less one
ALIKE = 0.5  # several terms in a row must share so much of their letters with what is heard without the prompt


def prompt(tokens: Tokens, terms: Sequence[str]) -> list[int]:
    """What Whisper reads before it hears: as many of the terms as there is room for."""
    for count in range(len(terms), 0, -1):
        found = tokens.encode(FORM.format(", ".join(terms[:count])))
        if len(found) <= MOST_TOKENS:
            return found
    return []


def is_doubtful(words: Sequence[HypothesisWord], terms: Sequence[str], committed: str = "") -> bool:
    """Does a guess, beyond what was committed, hold terms that the prompt rather than the sound may have put there?"""
    words = words[covering(words, committed) :]
    named = _named(words, terms)
    return any(word.confidence < DOUBTFUL for word, name in zip(words, named, strict=True) if name) or any(
        map(all, pairwise(named))
    )


def is_borne_out(words: Sequence[HypothesisWord], free: Sequence[HypothesisWord], terms: Sequence[str]) -> bool:
    """Does `free`, guessed without the prompt, have something in the place of each term, and the like of several?"""
    named = _named(words, terms)
    for said, heard, count in _differences(words, free, named):
        if count and not heard:
            return False
        if count > 1 and SequenceMatcher(None, said, heard, autojunk=False).ratio() < ALIKE:
            return False
    return True


def _differences(
    words: Sequence[HypothesisWord], free: Sequence[HypothesisWord], named: Sequence[bool]
) -> Iterator[tuple[str, str, int]]:
    """Where two guesses differ: the letters of either, and how many words of the first belong to terms."""
    ours, theirs = ([bare(word.text) for word in guess] for guess in (words, free))
    for kind, start, stop, first, last in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if kind != "equal":
            yield "".join(ours[start:stop]), "".join(theirs[first:last]), sum(named[start:stop])


def _named(words: Sequence[HypothesisWord], terms: Sequence[str]) -> list[bool]:
    """For each word: is it one of a term's, with or without an ending, as in Lasecki's?"""
    known = [letters for term in terms for part in term.split() if (letters := bare(part))]
    return [any(_is_form(bare(word.text), letters) for letters in known) for word in words]


def _is_form(word: str, name: str) -> bool:
    return word.startswith(name) and len(word) <= len(name) + ENDING
