"""Recordings of commands: what would become of each. One model is loaded for all of them; nothing is sent anywhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from streamd.commands.trial import Trial, trial, try_text
from streamd.core.audio import SAMPLE_RATE, Pcm
from streamd.core.commands.decide import Verdict, decide
from streamd.core.commands.grammar import Grammar, Match
from streamd.core.commands.hearing import LONGEST_S
from streamd.core.commands.lattice import choices
from streamd.core.commands.weigh import Weighed, likeliest, weigh
from streamd.engines.base import Context
from streamd.engines.whisper import build
from streamd.engines.whisper.engine import WhisperEngine
from streamd.errors import UnavailableError, UsageError
from streamd.models import locate
from streamd.sources.decode import decode

_log = logging.getLogger(__name__)

SUFFIXES = frozenset({".flac", ".wav", ".mp3", ".ogg", ".opus", ".m4a", ".webm", ".aac"})


def recordings(given: Sequence[Path]) -> list[Path]:
    """The files, and those in the folders. Raises UsageError for a folder without any."""
    found: list[Path] = []
    for path in given:
        inside = (
            sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        )
        if not inside:
            raise UsageError(f"{path}: there is no recording in it ({', '.join(sorted(SUFFIXES))})")
        found += inside
    return found


def try_recordings(
    grammar: Grammar,
    files: Iterable[Path],
    model: str,
    language: str | None = None,
    warn: Callable[[str], object] = _log.warning,
) -> Iterator[Trial]:
    """One trial a recording. Raises UnavailableError for a model or a file that can't be read.

    `warn` is told of languages that the model does not know, if it knows another one.
    """
    engine = build({"model_path": str(locate(model))})
    wanted = [language] if language else grammar.languages
    tags = [tag for tag in wanted if engine.speaks(tag)]
    if unknown := ", ".join(tag for tag in wanted if tag not in tags):
        fault = f"the model {model} does not know {unknown}"
        if not tags:
            raise UnavailableError(f"{fault}: give --model another one, such as base")
        warn(f"{fault}: recordings are only taken for {', '.join(tags)}; give --model another one, such as base")
    sentences = choices(grammar, tags)
    for file in files:
        pcm = sound(file)
        if len(pcm) > LONGEST_S * SAMPLE_RATE:
            reason = f"{len(pcm) / SAMPLE_RATE:.0f} s of sound are too long for a command"
            yield Trial(str(file), Verdict.REJECT, None, {}, reason, None)
        elif sentences:
            heard_as = dict(zip(tags, (engine.compare(pcm, each) for each in sentences), strict=True))
            tag, heard = likeliest({tag: weigh(comparison, grammar, tag) for tag, comparison in heard_as.items()})
            yield _told(file, heard, heard_as[tag].free[0].text.strip(), grammar, tag)
        else:
            yield _by_text(grammar, engine, file, pcm, tags)


def _by_text(grammar: Grammar, engine: WhisperEngine, file: Path, pcm: Pcm, tags: Sequence[str]) -> Trial:
    """What is heard without the grammar, read as text."""
    context = Context(language=tags[0] if len(tags) == 1 else None)
    hypothesis = engine.advance(str(file), pcm, True, context, first=True)
    tried = try_text(grammar, hypothesis.text, hypothesis.language if hypothesis.language in tags else None)
    return replace(tried, input=str(file), heard=hypothesis.text)


def _told(file: Path, found: Weighed, text: str, grammar: Grammar, language: str) -> Trial:
    """What was understood, judged and as it is shown. `text` is what was heard freely."""
    decision = decide(found.found, found.texts, language, sure=found.sure)
    nearest = found.found.sentence if isinstance(found.found, Match) else grammar.nearest(text, language)
    scores = asdict(found.scores) if found.scores else {}
    tried = trial(grammar, text, decision, nearest, language)
    return replace(tried, input=str(file), scores=scores, limits=found.limits, heard=text)


def sound(file: Path) -> Pcm:
    """All of a recording; silence where the file has a hole."""
    pieces = [np.zeros(0, np.int16)]
    for piece in decode(file):
        pieces.append(np.frombuffer(piece, "<i2") if isinstance(piece, bytes) else np.zeros(piece.samples, np.int16))
    return np.concatenate(pieces)
