"""What several commands take, and how it becomes settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from streamd import logs
from streamd.config import Loaded, load
from streamd.errors import ConfigError
from streamd.settings import Settings

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Instead of ~/.config/streamd/config.toml."),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key, as in --set server.port=9000.")
]
Pipeline = Annotated[
    str | None,
    typer.Option("--pipeline", metavar="NAME", help="What happens to the sound: captions, session or a file."),
]
Session = Annotated[str | None, typer.Option("--session", metavar="NAME", help="The session.")]


_E = TypeVar("_E", bound=StrEnum)


class Level(StrEnum):
    """Of the log on stderr."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def one_of(kind: type[_E], text: str) -> _E:
    """Raises BadParameter in our words; typer's own begin with pydantic's."""
    try:
        return kind(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(kind)}.") from None


LogLevel = Annotated[
    Level | None,
    typer.Option(
        "--log-level",
        parser=lambda text: one_of(Level, text.upper()),
        metavar="|".join(Level),
        help="How much is logged on stderr.",
    ),
]


class Format(StrEnum):
    """Of transcripts, as core/subtitle.py writes them."""

    txt = "txt"
    srt = "srt"
    vtt = "vtt"
    jsonl = "jsonl"


TranscriptFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        parser=lambda text: one_of(Format, text),
        metavar="|".join(Format),
        help="Text, subtitles or finals with word times.",
    ),
]


def loaded(
    config: Path | None, sets: list[str] | None, log_level: Level | None, flags: Mapping[str, object] | None = None
) -> Loaded:
    """Settings with their origins; flags that were not given are None. Raises ConfigError."""
    given = {key: value for key, value in {**(flags or {}), "logging.level": log_level}.items() if value is not None}
    return load(config, sets or (), os.environ, given)


def prepared(
    config: Path | None,
    sets: list[str] | None,
    log_level: Level | None,
    flags: Mapping[str, object] | None = None,
    *,
    quiet: bool = False,
) -> Settings:
    """Settings, and the log as they say; `quiet` commands log nothing below WARNING unless asked to."""
    try:
        settings = loaded(config, sets, log_level, flags).settings
    except ConfigError:
        logs.set_up(log_level or "INFO")
        raise
    level = settings.logging.level
    logs.set_up("WARNING" if quiet and level == "INFO" else level, settings.logging.format)
    return settings
