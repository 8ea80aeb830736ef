"""Whisper's tokens: the prompt, and the way from tokens to words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from streamd.core.words import is_attached, is_punctuation, is_unspaced
from streamd.errors import UnavailableError

_OPENING = "\"'“¿([{-¡«‘„"  # noqa: RUF001 - the curly quote is meant
"""Punctuation that belongs to the word after it when no space stands between."""


_LEADING_VOWELS = "เแโใไເແໂໃໄ"
"""Thai and Lao vowels that are written before the consonant that they follow."""


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """A word as displayed and its tokens [start, stop) in the sequence."""

    text: str
    start: int
    stop: int


class Tokens:
    """The vocabulary of one model."""

    def __init__(self, tokenizer_file: Path) -> None:
        self._file = tokenizer_file
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self.end = self._id("<|endoftext|>")
        self._start = self._id("<|startoftranscript|>")
        self._previous = self._id("<|startofprev|>")
        self._no_timestamps = self._id("<|notimestamps|>")

    def _id(self, token: str) -> int:
        found: int | None = self._tokenizer.token_to_id(token)
        if found is None:
            raise UnavailableError(f"{self._file} has no {token}: it is not a tokenizer of Whisper's")
        return found

    def start_sequence(self, language: str | None, task: str = "transcribe") -> list[int]:
        """Tokens that open the transcript; `language` is None for English-only models."""
        if language is None:
            return [self._start]
        if not self.is_language(language):
            raise ValueError(f"Whisper knows no language {language!r}")
        return [self._start, self._id(f"<|{language}|>"), self._id(f"<|{task}|>")]

    def prompt(self, start: Sequence[int], committed: Sequence[int], bias: Sequence[int]) -> list[int]:
        """Everything before the first token that is asked for."""
        before = [self._previous, *bias] if bias else []
        return [*before, *start, self._no_timestamps, *committed]

    def encode(self, text: str) -> list[int]:
        """Tokens of text that begins with a word."""
        return list(self._tokenizer.encode(" " + text.strip(), add_special_tokens=False).ids) if text.strip() else []

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens)))

    def is_language(self, tag: str) -> bool:
        return self._tokenizer.token_to_id(f"<|{tag}|>") is not None

    def words(self, tokens: Sequence[int]) -> list[TokenSpan]:
        """Words with their tokens. Together the texts are the decoded text.

        A word begins at a space; where a language writes none, at each character that is complete. Punctuation
        stays with the word before it, opening punctuation with the word after it.
        """
        words: list[TokenSpan] = []
        for piece in self._pieces(tokens):
            if words and words[-1].text.endswith(" "):  # the space goes with the word after it
                last = words.pop()
                kept = last.text.rstrip(" ")
                words.append(TokenSpan(kept, last.start, last.stop))
                piece = TokenSpan(last.text[len(kept) :] + piece.text, piece.start, piece.stop)
            if words and not _begins_word(piece.text, words[-1].text):
                last = words.pop()
                piece = TokenSpan(last.text + piece.text, last.start, piece.stop)
            words.append(piece)
        return words

    def _pieces(self, tokens: Sequence[int]) -> list[TokenSpan]:
        """The shortest runs of tokens that decode to whole characters."""
        pieces: list[TokenSpan] = []
        start = 0
        for stop in range(1, len(tokens) + 1):
            text = self.decode(tokens[start:stop])
            if "\N{REPLACEMENT CHARACTER}" not in text or stop == len(tokens):
                pieces.append(TokenSpan(text, start, stop))
                start = stop
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
