"""Does a sentence answer a question? Strict about yes, generous about no.

A yes is the whole utterance, nothing before or after it: "okay, wait, don't run that" is none. A no is any word of
refusal anywhere: "never confirm that" is one. English and German are always both understood. What is said twice counts
once: recognisers write short sounds twice.
"""

from __future__ import annotations

import re

AFFIRMATIONS = frozenset(
    (
        *("yes", "yes please", "yes confirm", "yes confirmed", "confirm", "confirmed", "affirmative"),
        *("ja", "ja bitte", "ja bestätigt", "ja bestätigen", "bestätigt", "bestätigen", "bestätige", "ich bestätige"),
    )
)
REFUSALS = frozenset(
    (
        *("no", "nope", "not", "never", "cancel", "cancelled", "abort", "stop", "wait", "hold", "halt", "negative"),
        *("deny", "denied", "wrong", "don't", "dont", "nevermind", "scratch", "undo", "forget", "can't", "cannot"),
        *("nein", "nee", "nicht", "kein", "keine", "keinen", "nie", "niemals", "abbrechen", "abbruch", "stopp"),
        *("warte", "warten", "moment", "falsch", "doch", "vergiss", "lass", "zurück"),
    )
)
CODEWORDS = (  # of two syllables, unlike each other and unlike a yes or no
    *("amber", "copper", "garden", "lemon", "marble", "orange"),
    *("pepper", "river", "silver", "tiger", "winter", "yellow"),
)
_LEADS = ("", "confirm ", "code ", "code word ", "yes ", "bestätige ", "ja ")
SPOKEN_CODEWORDS = {lead + word: word for word in CODEWORDS for lead in _LEADS}  # what may be said → the word


def words(text: str) -> str:
    """In small letters, without punctuation; of the same twice, only once."""
    said = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())  # noqa: RUF001
    half = len(said) // 2
    return " ".join(said[half:] if said[:half] == said[half:] else said).replace("’", "'")  # noqa: RUF001


def affirms(text: str) -> bool:
    """Whether it is a yes and nothing else."""
    return words(text) in AFFIRMATIONS


def refuses(text: str) -> bool:
    """Whether there is a no in it."""
    return not REFUSALS.isdisjoint(words(text).split())


def spoken_codeword(text: str) -> str | None:
    """The code word, if it is one and nothing else was said but "confirm" before it."""
    return SPOKEN_CODEWORDS.get(words(text))
