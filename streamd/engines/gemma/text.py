"""Gemma's tokens: which of them steer the model, and the way from text to tokens and back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from streamd.engines.repair import remedy
from streamd.errors import UnavailableError

MARKS = {
    "bos": "<bos>",
    "turn": "<|turn>",
    "end_of_turn": "<turn|>",
    "audio": "<|audio>",
    "end_of_audio": "<audio|>",
    "soft": "<|audio|>",
}
"""What a prompt with sound is made of, as the tokenizer spells it."""

STOPS = ("<eos>", "<turn|>", "<|tool_response>")
"""What ends the model's turn (generation_config.json of E2B and E4B); a tool's answer is not the model's to write."""

SPACES = "\n\t ▁"

_UNUSED = re.compile(r"<unused\d+>|\[multimodal\]")
"""Tokens without a meaning: some tokenizers add them to the vocabulary, in others they are a part of it."""

_THOUGHT = ("<|channel>", "<channel|>")


@dataclass(frozen=True, slots=True)
class Marks:
    """Ids of MARKS."""

    bos: int
    turn: int
    end_of_turn: int
    audio: int  # begins a piece of sound
    end_of_audio: int
    soft: int  # stands for one soft token


class Tokens:
    """The vocabulary of one folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tokenizer.json"
        self._tokenizer = _open(self._file)
        added = self._tokenizer.get_added_tokens_decoder()
        controls = {number: token.content for number, token in added.items() if token.content.strip(SPACES)}
        unused = {number for text, number in self._tokenizer.get_vocab().items() if _UNUSED.fullmatch(text)}
        self._controls = frozenset(controls.keys() | unused)
        self._control_text = re.compile("|".join([*map(re.escape, controls.values()), _UNUSED.pattern]))
        self.marks = Marks(**{field: self.id(text) for field, text in MARKS.items()})
        self.stops = frozenset(self.id(text) for text in STOPS if self._tokenizer.token_to_id(text) is not None)
        _compare(folder / "config.json", self.marks, self.size)

    @property
    def size(self) -> int:
        """Tokens that there are."""
        return int(self._tokenizer.get_vocab_size())

    def id(self, text: str) -> int:
        """The id of a token. Raises UnavailableError if there is none."""
        found: int | None = self._tokenizer.token_to_id(text)
        if found is None:
            raise UnavailableError(f"{self._file} has no {text}: it is not the tokenizer of Gemma 4")
        return found

    def encode(self, text: str) -> list[int]:
        """Tokens of a prompt's text. What looks like a control token is taken for one: see `harmless`."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def harmless(self, text: str) -> str:
        """Text without anything that would be taken for a control token, however often it is looked at."""
        while (clean := self._control_text.sub("", text)) != text:
            text = clean
        return text

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def is_control(self, token: int) -> bool:
        """Is this no text? Whatever was added to the vocabulary is none, but for spaces and line ends."""
        return token in self._controls

    def spoken(self, tokens: Sequence[int]) -> list[int]:
        """Places of the tokens that are text: control tokens, and thoughts between theirs, left out."""
        opening, closing = (self._tokenizer.token_to_id(text) for text in _THOUGHT)
        places: list[int] = []
        thinks = False
        for place, token in enumerate(tokens):
            if token in (opening, closing) and token is not None:
                thinks = token == opening
            elif not thinks and token not in self._controls:
                places.append(place)
        return places


def _open(file: Path) -> Tokenizer:
    if not file.is_file():
        raise UnavailableError(f"{file} is missing; {remedy(file)}")
    content = file.read_bytes()
    if not content.rstrip().endswith(b"}"):
        raise UnavailableError(f"{file} is cut short; {remedy(file)}")
    model = _table(file, content).get("model")
    if not isinstance(model, dict) or "vocab" not in model:  # the library's own error would be of no class of its own
        raise UnavailableError(f"{file} is no tokenizer; {remedy(file)}")
    return Tokenizer.from_str(content.decode())


def _table(file: Path, content: bytes) -> dict[str, Any]:
    """A JSON object. Raises UnavailableError, naming the file, if it is something else."""
    try:
        table = json.loads(content)
    except ValueError as error:
        raise UnavailableError(f"{file} is no JSON ({error}); {remedy(file)}") from error
    if not isinstance(table, dict):
        raise UnavailableError(f"{file} is no JSON object; {remedy(file)}")
    return table


def _compare(file: Path, marks: Marks, size: int) -> None:
    """config.json says which tokens the graphs know. Raises UnavailableError, naming the token, if they differ."""
    if not file.is_file():
        return
    config = _table(file, file.read_bytes())
    text = config.get("text_config")
    text = text if isinstance(text, dict) else {}
    vocabulary = text.get("vocab_size")
    if isinstance(vocabulary, int) and vocabulary < size:
        raise UnavailableError(
            f"{file.parent / 'tokenizer.json'} has {size} tokens, the model {vocabulary}: they are not of one model"
        )
    known = {"audio_token_id": marks.soft, "boa_token_id": marks.audio, "bos_token_id": marks.bos}
    for key, ours in known.items():
        theirs = config.get(key, text.get(key))
        if theirs is not None and theirs != ours:
            raise UnavailableError(
                f"{file} has {key} = {theirs}, but tokenizer.json {ours}: the tokenizer is that of another model"
            )
