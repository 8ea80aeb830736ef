"""What a program and its workers use: processor time and memory, and what the rest of the machine does meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import psutil

from streamd.core.figures import FIFTHS

EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """Used up to a moment; seconds are on the monotonic clock."""

    at_s: float
    cpu_s: float  # of the program and its workers, those that have ended included
    memory_mb: float  # resident now, added up: what processes share counts for each
    other_cpu_s: float  # of everything else but this process


@dataclass(slots=True)
class Meter:
    """Samples of one program, taken while it runs."""

    pid: int
    samples: list[Sample] = field(default_factory=list)
    _spent_s: dict[tuple[int, float], float] = field(default_factory=dict)  # process and its start → CPU

    async def watch(self) -> None:
        """Take samples until cancelled; in a thread, because looking through all processes would delay the sound."""
        while True:
            await asyncio.to_thread(self.take)
            await asyncio.sleep(EVERY_S)

    def take(self) -> None:
        memory = 0
        for process in family(self.pid):
            with suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                self._spent_s[process.pid, process.create_time()] = times.user + times.system
                memory += process.memory_info().rss
        spent_s = sum(self._spent_s.values())
        own = psutil.Process().cpu_times()
        other_s = machine_cpu_s() - spent_s - own.user - own.system
        self.samples.append(Sample(time.monotonic(), spent_s, memory / 1e6, other_s))


def family(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def machine_cpu_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


@dataclass(frozen=True, slots=True)
class Usage:
    """Between two moments."""

    wall_s: float
    cpu_s: float
    other_cores: float  # cores that everything else kept busy
    peak_mb: float  # since the program's start: loading the model counts
    cpu_by_fifth: tuple[float, ...]  # CPU seconds a second
    memory_by_fifth: tuple[float, ...]  # MB at most


def between(samples: Sequence[Sample], start_s: float, end_s: float, sound_s: float) -> Usage:
    """What was used from `start_s` to `end_s`. Fifths are those of the recording, which took `sound_s`."""
    edges = [start_s + n * sound_s / FIFTHS for n in range(FIFTHS + 1)]
    parts = [[it for it in samples if low <= it.at_s < high] for low, high in pairwise(edges)]
    first, last = _at(samples, start_s), _at(samples, end_s)
    wall_s = max(EVERY_S, last.at_s - first.at_s)
    return Usage(
        wall_s=wall_s,
        cpu_s=last.cpu_s - first.cpu_s,
        other_cores=(last.other_cpu_s - first.other_cpu_s) / wall_s,
        peak_mb=max(sample.memory_mb for sample in samples),
        cpu_by_fifth=tuple(_rate(part) for part in parts if len(part) > 1),
        memory_by_fifth=tuple(max(sample.memory_mb for sample in part) for part in parts if part),
    )


def _at(samples: Sequence[Sample], at_s: float) -> Sample:
    return min(samples, key=lambda sample: abs(sample.at_s - at_s))


def _rate(part: Sequence[Sample]) -> float:
    return (part[-1].cpu_s - part[0].cpu_s) / (part[-1].at_s - part[0].at_s)
