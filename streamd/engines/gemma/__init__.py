"""Gemma 4 E2B and E4B on ONNX Runtime, streaming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamd.engines.gemma.engine import GemmaEngine, Options


def build(options: Mapping[str, Any]) -> GemmaEngine:
    """The engine for `options`, the fields of engine.Options. Raises UnavailableError if the model does not load."""
    return GemmaEngine(Options(**options))
