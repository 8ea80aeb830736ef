"""What several commands take, and how it becomes settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

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
Session = Annotated[str | None, typer.Option("--session", metavar="NAME", help="The session.")]


class Level(StrEnum):
    """Of the log on stderr."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


LogLevel = Annotated[
    Level | None, typer.Option("--log-level", case_sensitive=False, help="How much is logged on stderr.")
]


class Format(StrEnum):
    """Of transcripts, as core/subtitle.py writes them."""

    txt = "txt"
    srt = "srt"
    vtt = "vtt"
    jsonl = "jsonl"


TranscriptFormat = Annotated[Format, typer.Option("--format", "-f", help="Text, subtitles or finals with word times.")]


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
