"""faster-whisper, streaming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamd.engines.whisper.engine import Options, WhisperEngine


def build(options: Mapping[str, Any]) -> WhisperEngine:
    """The engine for `options`, the fields of engine.Options. Raises UnavailableError if the model does not load."""
    return WhisperEngine(Options(**options))
