"""A tiny Gemma 4 and what the reference says of it; tests/gemma_reference.py makes both."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamd.core.audio import Pcm
from tests.speech import recording as speech

FOLDER = Path(os.environ.get("STREAMD_TEST_GEMMA") or Path(__file__).parent / "data" / "gemma")
MODEL = FOLDER / "model"


class Prompt(NamedTuple):
    """Token ids, a part of the recording, token ids. The tokens around sound are not in it."""

    before: list[int]
    start: int  # sample
    samples: int
    after: list[int]


@cache
def recording() -> Pcm:
    """Eleven seconds of speech."""
    return speech("jfk").pcm


def reference(name: str) -> dict[str, NDArray[np.float32]]:
    """Arrays that were recorded from the reference."""
    with np.load(FOLDER / f"{name}.npz") as recorded:
        return dict(recorded)


@cache
def manifest() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((MODEL / "manifest.json").read_text())
    return read


def whole_prompt() -> Prompt:
    """The prompt whose last logits are in text.npz."""
    return Prompt(**_greedy()["whole"])


def greedy_cases() -> list[tuple[Prompt, list[int]]]:
    """Prompts, and what the reference's `generate` said after them."""
    return [(Prompt(**case["prompt"]), case["tokens"]) for case in _greedy()["cases"]]


def begun_cases() -> list[tuple[Prompt, list[int], list[int]]]:
    """Prompts, how the answer was begun, and what the reference's `generate` said from there on."""
    return [(Prompt(**case["prompt"]), case["begin"], case["begun"]) for case in _greedy()["cases"]]


@cache
def _greedy() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FOLDER / "greedy.json").read_text())
    return read
