"""Whisper's tokens: the prompt, and the way from tokens to words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from streamd.engines import spans
from streamd.engines.spans import TokenSpan
from streamd.errors import UnavailableError


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

    def pieces(self, text: str) -> list[int]:
        """Tokens of text exactly as it is written, spaces included."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens)))

    def is_language(self, tag: str) -> bool:
        return self._tokenizer.token_to_id(f"<|{tag}|>") is not None

    def words(self, tokens: Sequence[int]) -> list[TokenSpan]:
        """See spans.words."""
        return spans.words(tokens, self.decode)
