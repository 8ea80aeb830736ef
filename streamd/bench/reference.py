"""Recordings to measure with, and what is said in them: a JSON or TXT file of the same name beside the sound.

JSON: `text`, and if they are known `words` as [text, start, end] in seconds (null: unknown), `language` (en if there is
none), and `pieces` as {offset, dur} in seconds, the utterances. TXT: the text. No file: nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from streamd.core.audio import SAMPLE_RATE
from streamd.core.measure import Reference, SpokenWord, last_words
from streamd.errors import ConfigError
from streamd.sources.base import Missing
from streamd.sources.decode import decode

_TimedWord = tuple[str, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Recording:
    """Sound at 16 kHz mono s16le, and what is said in it."""

    parts: tuple[tuple[Path, float], ...]  # files, and where each begins in seconds
    sound: bytes
    reference: Reference

    @property
    def name(self) -> str:
        return " + ".join(path.name for path, _ in self.parts)

    @property
    def duration_s(self) -> float:
        return len(self.sound) / 2 / SAMPLE_RATE


class _Piece(BaseModel):
    offset: float = 0.0
    dur: float


class _File(BaseModel):
    text: str
    language: str = Field("en", validation_alias=AliasChoices("language", "lang"))
    words: tuple[_TimedWord, ...] = ()
    pieces: tuple[_Piece, ...] = ()


def load(paths: Sequence[Path]) -> Recording:
    """The files one after the other. Raises UnavailableError for the sound, ConfigError for what is said."""
    sounds = [_sound(path) for path in paths]
    starts_s = accumulate((len(sound) / 2 / SAMPLE_RATE for sound in sounds[:-1]), initial=0.0)
    parts = tuple(zip(paths, starts_s, strict=True))
    reference = _joined([_shifted(_reference(path), start_s) for path, start_s in parts])
    return Recording(parts, b"".join(sounds), reference)


def _sound(path: Path) -> bytes:
    return b"".join(bytes(2 * piece.samples) if isinstance(piece, Missing) else piece for piece in decode(path))


def _reference(path: Path) -> Reference:
    timed, plain = path.with_suffix(".json"), path.with_suffix(".txt")
    if timed.exists():
        return _parsed(timed)
    if plain.exists():
        return Reference(" ".join(_read(plain).split()), language="en")
    return Reference(None)


def _parsed(path: Path) -> Reference:
    try:
        said = _File.model_validate_json(_read(path))
    except ValidationError as error:
        mistake = error.errors()[0]
        place = ".".join(map(str, mistake["loc"])) or "it"
        raise ConfigError(
            f"{path}: {place}: {mistake['msg']}; a reference has `text` and maybe `words` as [text, start, end]"
        ) from error
    words = tuple(SpokenWord(text, end_s) for text, _, end_s in said.words)
    return Reference(said.text, words, _last_words(said), said.language)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8: convert it") from error


def _last_words(said: _File) -> tuple[int, ...]:
    """The utterances are the pieces, or else what is between long pauses."""
    known = ((n, start_s, end_s) for n, (_, start_s, end_s) in enumerate(said.words))
    timed = [(n, start_s, end_s) for n, start_s, end_s in known if start_s is not None and end_s is not None]
    if not said.pieces:
        return tuple(timed[n][0] for n in last_words([(start_s, end_s) for _, start_s, end_s in timed]))
    inside = (
        [n for n, start_s, _ in timed if piece.offset <= start_s < piece.offset + piece.dur] for piece in said.pieces
    )
    return tuple(max(numbers) for numbers in inside if numbers)


def _shifted(reference: Reference, start_s: float) -> Reference:
    words = tuple(replace(word, end_s=None if word.end_s is None else word.end_s + start_s) for word in reference.words)
    return replace(reference, words=words)


def _joined(parts: Sequence[Reference]) -> Reference:
    """What is not known of one of them is not known of all."""
    texts = [part.text for part in parts]
    timed = all(part.words for part in parts)
    words = tuple(word for part in parts for word in part.words) if timed else ()
    starts = accumulate((len(part.words) for part in parts[:-1]), initial=0)
    lasts = tuple(start + last for part, start in zip(parts, starts, strict=True) for last in part.last_words)
    text = None if None in texts else " ".join(filter(None, texts))
    return Reference(text, words, lasts if timed else (), parts[0].language)
