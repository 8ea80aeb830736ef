"""Names and jargon that a session expects: what makes a list of them, and what it is refused for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

MOST_TERMS = 100
MOST_CHARACTERS = 600  # of all terms together: Whisper reads 223 tokens before what it hears
TERM_CHARACTERS = 60
_SHOWN = 40  # characters of a term in an error


def vocabulary(terms: Iterable[str]) -> tuple[str, ...]:
    """The terms in order, white space put right, each once. Raises ValueError that names the one that can't be."""
    unique: dict[str, str] = {}
    for term in map(_term, terms):
        unique.setdefault(term.casefold(), term)
    if len(unique) > MOST_TERMS:
        raise ValueError(f"a vocabulary has at most {MOST_TERMS} terms, not {len(unique)}: leave out common words")
    if (length := sum(map(len, unique))) > MOST_CHARACTERS:
        raise ValueError(
            f"a vocabulary has at most {MOST_CHARACTERS} characters, not {length}: leave out what is recognised anyway"
        )
    return tuple(unique.values())


def _term(text: str) -> str:
    term = unicodedata.normalize("NFC", " ".join(text.split()))
    if not any(char.isalnum() for char in term):
        raise ValueError(f"{text[:_SHOWN]!r} is no term: it has neither letters nor digits")
    if len(term) > TERM_CHARACTERS:
        raise ValueError(f"{term[:_SHOWN]!r} … is longer than {TERM_CHARACTERS} characters: give words, not sentences")
    if bad := next((char for char in term if char in "<|>" or unicodedata.category(char).startswith("C")), None):
        raise ValueError(f"{term[:_SHOWN]!r} holds {bad!r}, which no word has")
    return term
