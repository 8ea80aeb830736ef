"""One measurement: start a server, let some clients speak at once, score what each of them saw."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from websockets.exceptions import WebSocketException
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from streamd.bench.reference import Recording
from streamd.bench.subject import Server, Subject, Tape, serving
from streamd.bench.usage import Usage, between
from streamd.core.audio import SAMPLE_RATE
from streamd.core.figures import FIFTHS, Figures, by_fifths, summary
from streamd.core.measure import measure
from streamd.errors import UnavailableError

BETWEEN_S = 0.7  # from one session's start to the next one's: they do not ask for everything in the same moment
NOISE_DB = -62.0  # root mean square of what follows the recording: a microphone does not stop, and is never silent
SETTLE_S = 0.6  # idle before and after, for a sample of what was used
SPACELESS = frozenset({"ja", "km", "lo", "my", "th", "yue", "zh"})  # characters are counted instead of words


@dataclass(frozen=True, slots=True)
class Plan:
    """How the sound is fed."""

    chunk_ms: int = 100
    tail_s: float = 6.0  # near silence after the recording
    log: Path | None = None  # folder for what was shown when


@dataclass(frozen=True, slots=True)
class Run:
    """What one measurement found. `faults` are of sessions that did not come to their end."""

    subject: str
    sessions: int
    figures: Figures
    stays_by_fifth: dict[int, tuple[float | None, ...]]  # percentile → seconds
    cpu_by_fifth: tuple[float, ...]
    memory_by_fifth: tuple[float, ...]
    faults: tuple[str, ...]


Normalise = Callable[[str], str]


def run(subject: Subject, recording: Recording, sessions: int, plan: Plan, normalise: Normalise) -> Run:
    """Measure. Raises UnavailableError if the server does not start."""
    with tempfile.TemporaryDirectory() as folder:
        server, tapes = asyncio.run(_play(subject, recording, sessions, plan, Path(folder)))
    if plan.log:
        _write(plan.log, subject, tapes)
    reference = recording.reference if subject.live else replace(recording.reference, words=(), last_words=())
    measured = [measure(subject.snapshots(tape), reference, normalise) for tape in tapes]
    usage = between(
        server.meter.samples,
        min(tape.start_s for tape in tapes),
        max(tape.end_s for tape in tapes),
        recording.duration_s,
    )
    figures = summary(measured, recording.duration_s) | _costs(usage, server, tapes)
    faults = tuple(tape.fault for tape in tapes if tape.fault)
    fifths = by_fifths(measured, recording.duration_s)
    return Run(subject.name, len(tapes), figures, fifths, usage.cpu_by_fifth, usage.memory_by_fifth, faults)


async def _play(
    subject: Subject, recording: Recording, sessions: int, plan: Plan, folder: Path
) -> tuple[Server, list[Tape]]:
    sound = recording.sound + near_silence(plan.tail_s)
    tapes = [Tape(sound, plan.chunk_ms, subject.live) for _ in range(sessions)]
    async with serving(subject, folder, sessions) as server:
        await asyncio.sleep(SETTLE_S)
        await asyncio.gather(*(_speak(subject, server.port, number, tape) for number, tape in enumerate(tapes)))
        await asyncio.sleep(SETTLE_S)
    if not any(tape.start_s for tape in tapes):
        raise UnavailableError(f"{subject.name} took no sound: {tapes[0].fault}")
    return server, [tape for tape in tapes if tape.start_s]


def near_silence(seconds: float) -> bytes:
    """White noise that nobody hears, always the same."""
    noise = np.random.default_rng(1).standard_normal(round(seconds * SAMPLE_RATE))
    return (noise * 32_768 * 10 ** (NOISE_DB / 20)).astype(np.int16).tobytes()


async def _speak(subject: Subject, port: int, number: int, tape: Tape) -> None:
    await asyncio.sleep(number * BETWEEN_S)
    try:
        await subject.hear(port, number, tape)
    except TimeoutError:
        tape.fault = "did not come to an end"
    except (OSError, WebSocketException) as error:
        tape.fault = f"{type(error).__name__}: {error}"
    tape.end_s = time.monotonic()


def _costs(usage: Usage, server: Server, tapes: Sequence[Tape]) -> Figures:
    heard_s = sum(len(tape.sound) / 2 / SAMPLE_RATE for tape in tapes)
    live = all(tape.live for tape in tapes)
    return {
        "cpu_s_per_audio_s": usage.cpu_s / heard_s,
        "cores": usage.cpu_s / usage.wall_s,
        "peak_mb": usage.peak_mb,
        "cpu_growth_cores": _growth(usage.cpu_by_fifth) if live else None,
        "memory_growth_mb": _growth(usage.memory_by_fifth) if live else None,
        "ready_s": server.ready_s,
        "sent_late_s": max(tape.late_s for tape in tapes) if live else None,
        "other_cores": usage.other_cores,
    }


def _growth(fifths: Sequence[float]) -> float | None:
    """From the first to the last fifth."""
    return fifths[-1] - fifths[0] if len(fifths) == FIFTHS else None


def _write(folder: Path, subject: Subject, tapes: Sequence[Tape]) -> None:
    """What each session showed when, one JSON object a line."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, tape in enumerate(tapes):
        lines = (
            json.dumps(
                {"at_s": round(shot.at_s, 4), "shown": shot.shown, "committed": shot.committed, "final": shot.final},
                ensure_ascii=False,
            )
            for shot in subject.snapshots(tape)
        )
        path = folder / f"{subject.name}-{len(tapes)}.{number}.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def normaliser(language: str | None) -> Normalise:
    """Whisper's own, as word error rates are published with."""
    if language in (None, "en"):
        return partial(_called, EnglishTextNormalizer())
    return partial(_called, BasicTextNormalizer(split_letters=language in SPACELESS))


def _called(normalise: Any, text: str) -> str:
    prepared: str = normalise(text)
    return prepared
