"""Recorded speech for tests, and how much of it was recognised."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from streamd.core.audio import Pcm
from streamd.core.words import bare
from streamd.sources.decode import decode
from tests.needs import need

DATA = Path(__file__).parent / "data"
MOST_ERRORS = 0.25  # of the words of a recording: tiny.en mishears some


@dataclass(frozen=True, slots=True)
class Recording:
    """16 kHz mono int16 and what is said in it."""

    path: Path
    pcm: Pcm
    text: str


@cache
def recording(name: str) -> Recording:
    """tests/data/NAME.flac with its reference."""
    path = DATA / f"{name}.flac"
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return Recording(
        path, np.concatenate(blocks).astype(np.int16), json.loads(path.with_suffix(".json").read_text())["text"]
    )


def read_aloud(text: str, path: Path, voice: str = "en-us") -> Pcm:
    """16 kHz mono int16 of a text that espeak-ng reads; `path` is where its file goes."""
    subprocess.run([need("espeak-ng"), "-s", "150", "-v", voice, "-w", str(path), "--", text], check=True)
    return np.frombuffer(b"".join(piece for piece in decode(path) if isinstance(piece, bytes)), np.int16)


@cache
def _normalizer() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word errors over reference words, after Whisper's English normaliser."""
    return _error_rate(_normalizer()(reference).split(), _normalizer()(hypothesis).split())


def character_error_rate(reference: str, hypothesis: str) -> float:
    """Errors in characters, without case, spaces and punctuation: for scripts that write no spaces."""
    return _error_rate(bare(reference), bare(hypothesis))


def _error_rate(want: Sequence[str], have: Sequence[str]) -> float:
    row = list(range(len(have) + 1))
    for i, word in enumerate(want, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(have, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1] / max(1, len(want))
