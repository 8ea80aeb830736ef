"""How many rooms at once this machine holds, each with some readers: `python -m benchmarks.load`.

Sound is sent at the pace at which it was spoken, from sample 0; that is the one clock. Delays are those of a room's
first reader, from the end of the sound that an event is about to its arrival. The daemon runs as it is shipped;
speakers and readers run in this process and share the machine with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect

from streamd.core.audio import FRAME_BYTES, FRAME_MS
from streamd.core.events import Ended, Event, Final, Partial
from streamd.models import locate
from tests.e2e.daemon import Daemon, most_memory_mb
from tests.speech import recording

NAMES = ("jfk", "austen_0870", "austen_0890")
LOOP_DELAY = "streamd_loop_delay_seconds_bucket"
WIDTHS = (7, 15, 15, 10, 24, 9, 12)
HEAD = ("rooms", "partials s", "finals s", "behind s", "loop ms", "CPU s/s", "RSS MB daemon + worker")


class Room:
    """Somebody who speaks for so long, and readers."""

    def __init__(self, name: str, sound: bytes, readers: int) -> None:
        self.name = name
        self.partials_s: list[float] = []  # delays
        self.finals_s: list[float] = []
        self._sound = sound
        self._readers = readers
        self._began_s = 0.0

    async def run(self, daemon: Daemon) -> None:
        address = f"{daemon.socket_url}/v1/sessions/{self.name}"
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as readers:
            speaker = await stack.enter_async_context(connect(f"{address}/audio?events=0", proxy=None))
            while self.name not in (await asyncio.to_thread(daemon.get, "/v1/sessions")).text:
                pass
            for number in range(self._readers):
                socket = await stack.enter_async_context(connect(f"{address}/events", proxy=None))
                readers.create_task(self._read(socket, measures=number == 0))
            await self._speak(speaker)

    async def _speak(self, socket: ClientConnection) -> None:
        self._began_s = time.monotonic()
        for frame, at in enumerate(range(0, len(self._sound), FRAME_BYTES), start=1):
            await asyncio.sleep(self._began_s + frame * FRAME_MS / 1_000 - time.monotonic())
            await socket.send(self._sound[at : at + FRAME_BYTES])
        await socket.send(json.dumps({"type": "end"}))
        await socket.wait_closed()

    async def _read(self, socket: ClientConnection, *, measures: bool) -> None:
        async for message in socket:
            body = Event.parse(message).body
            if isinstance(body, Ended):
                return
            if measures and isinstance(body, Partial | Final):
                delays_s = self.finals_s if isinstance(body, Final) else self.partials_s
                delays_s.append(time.monotonic() - self._began_s - body.end_ms / 1_000)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the daemon and its worker have used so far."""

    cpu_s: float
    loop: dict[float, float]  # upper bound in seconds → timers that were no later

    @classmethod
    def of(cls, daemon: Daemon) -> Usage:
        times = [psutil.Process(pid).cpu_times() for pid in (daemon.pid, *daemon.workers())]
        families = text_string_to_metric_families(daemon.get("/metrics").text)
        buckets = [sample for family in families for sample in family.samples if sample.name == LOOP_DELAY]
        return cls(sum(t.user + t.system for t in times), {float(s.labels["le"]): s.value for s in buckets})


def percentile_bound_ms(before: Usage, after: Usage, part: float) -> str:
    """The bucket in which this part of the loop's delays ends."""
    counts = {bound: after.loop[bound] - before.loop[bound] for bound in sorted(after.loop)}
    bound = next(bound for bound, count in counts.items() if count >= part * max(counts.values()))
    return f"{1_000 * bound:g}"


def spread(delays_s: Sequence[float]) -> str:
    return " / ".join(f"{np.percentile(delays_s, rank):.2f}" for rank in (50, 95)) if delays_s else "-"


def speech(seconds: float, number: int) -> bytes:
    """The same recordings for everybody, begun at different ones: pauses come at different times."""
    names = NAMES[number % len(NAMES) :] + NAMES[: number % len(NAMES)]
    sound = b"".join(recording(name).pcm.tobytes() for name in names)
    size = int(seconds * 1_000 / FRAME_MS) * FRAME_BYTES
    return (sound * (1 + size // len(sound)))[:size]


async def measure(daemon: Daemon, rooms: int, readers: int, seconds: float) -> list[tuple[str, ...]]:
    """A line of the table for all rooms, and one for each."""
    running = [Room(f"room-{number}", speech(seconds, number), readers) for number in range(rooms)]
    before = Usage.of(daemon)
    began_s = time.monotonic()
    await asyncio.gather(*(room.run(daemon) for room in running))
    behind_s = time.monotonic() - began_s - seconds
    after = Usage.of(daemon)
    loop = " / ".join(percentile_bound_ms(before, after, part) for part in (0.5, 0.95, 0.99, 1.0))
    memory = " + ".join(f"{most_memory_mb(pid):.0f}" for pid in (daemon.pid, *daemon.workers()))
    cpu = f"{(after.cpu_s - before.cpu_s) / (rooms * seconds):.2f}"
    partials = [delay for room in running for delay in room.partials_s]
    finals = [delay for room in running for delay in room.finals_s]
    lines: list[tuple[str, ...]] = [
        (str(rooms), spread(partials), spread(finals), f"{behind_s:.1f}", loop, cpu, memory)
    ]
    if rooms > 1:
        lines += [("", spread(room.partials_s), spread(room.finals_s), "", "", "", "") for room in running]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="How many rooms at once this machine holds.")
    parser.add_argument("--model", default="tiny.en", help="a name or a folder")
    parser.add_argument("--rooms", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--readers", type=int, default=4, help="of each room")
    parser.add_argument("--seconds", type=float, default=50.0, help="of speech in each room")
    options = parser.parse_args()
    print(f"{options.readers} readers a room. Delays: p50 / p95; loop delays: p50 / p95 / p99 / all are not above.")
    show(HEAD)
    for rooms in options.rooms:
        for line in asyncio.run(alone(locate(options.model), rooms, options.readers, options.seconds)):
            show(line)


async def alone(model: Path, rooms: int, readers: int, seconds: float) -> list[tuple[str, ...]]:
    """The lines for one number of rooms, on a daemon of their own."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("--source", "none", "--log-level", "WARNING")
        with Daemon(Path(folder), *arguments, model=model) as daemon:
            daemon.start()
            return await measure(daemon, rooms, readers, seconds)


def show(line: Sequence[str]) -> None:
    print("".join(f"{cell:<{width}}" for cell, width in zip(line, WIDTHS, strict=True)), flush=True)


if __name__ == "__main__":
    main()
