"""What is spoken, and whether a model can write it down as it is asked to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ctranslate2

from streamd.core.languages import Evidence
from streamd.engines.base import Task
from streamd.engines.whisper.text import Tokens
from streamd.errors import UnavailableError

TOKENS_PER_S = 9.0
"""More tokens than anyone can say in a second: what goes beyond is a loop."""

LETTERED = 3.0
"""How many times as many it takes in scripts that are spelled in pieces of letters: Hindi, read slowly, has 12."""

_LETTERED = {
    *("am", "as", "bn", "bo", "gu", "hi", "hy", "ka", "km", "kn", "lo", "ml", "mr", "my", "ne", "pa", "sa", "si"),
    *("ta", "te", "th"),
}
LIKELY = 0.005  # what is less likely is left out


def detect(
    model: ctranslate2.models.Whisper, encoded: ctranslate2.StorageView, heard_s: Sequence[float]
) -> list[Evidence]:
    """What a multilingual model makes of the language of each window, of so many seconds."""
    return [
        Evidence({token.strip("<|>"): chance for token, chance in ranking if chance >= LIKELY}, seconds)
        for ranking, seconds in zip(model.detect_language(encoded), heard_s, strict=True)
    ]


def tokens_per_s(language: str | None) -> float:
    """Tokens that a second of speech may have; None: the language of an English-only model."""
    return TOKENS_PER_S * (LETTERED if language in _LETTERED else 1.0)


def check(folder: Path, tokens: Tokens, multilingual: bool, task: Task, languages: tuple[str, ...]) -> None:
    """Raises UnavailableError, with the way out, if the model in `folder` can't do what the pipeline asks for."""
    name = folder.name
    if task == "translate" and not multilingual:
        raise UnavailableError(
            f"recognise.task = translate: the model {name} knows English only; "
            "set engines.whisper.model to a multilingual one, such as base"
        )
    if task == "translate" and "turbo" in name:  # it was trained on transcription alone (openai/whisper #2363)
        raise UnavailableError(
            f"recognise.task = translate: the model {name} was not made to translate; "
            "set engines.whisper.model to another one, such as base or large-v3"
        )
    for tag in languages:
        if tag != "en" and not (multilingual and tokens.is_language(tag)):
            raise UnavailableError(
                f"recognise.language = {tag}: the model {name} does not know it; "
                "set engines.whisper.model to a multilingual one, such as base"
            )


def check_target(task: Task, target_language: str) -> None:
    """Raises UnavailableError, with the way out, if Whisper does not translate into this language."""
    if task == "translate" and target_language != "en":
        raise UnavailableError(
            f"recognise.target_language = {target_language}: Whisper translates into English only; "
            "set recognise.engine = gemma, or recognise.target_language = en"
        )
