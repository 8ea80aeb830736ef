"""What is measured: a caption server in a process of its own, and the client that speaks its protocol."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from streamd.bench.usage import Meter, family
from streamd.core.audio import SAMPLE_RATE
from streamd.core.measure import Snapshot
from streamd.errors import UnavailableError

HOST = "127.0.0.1"
START_S = 180.0  # longest wait for a server to listen
LAST_WORDS_S = 60.0  # longest wait for the last words
STOP_S = 10.0
POLL_S = 0.05
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  # proc(5): addresses in column 1, states in column 3
LISTENS = "0A"
LOG_LINES = 15  # of a server that died


@dataclass(slots=True)
class Tape:
    """What one client sent and heard. Heard messages are kept as they come and read afterwards."""

    sound: bytes
    chunk_ms: int
    live: bool = True  # False: as quick as it is taken
    start_s: float = 0.0  # monotonic: when the first sample was captured
    end_s: float = 0.0  # monotonic: when the last words were there
    late_s: float = 0.0  # most that a chunk was sent after it was due: the server did not take it
    heard: list[tuple[float, Any]] = field(default_factory=list)
    fault: str | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The sound at its own pace: a chunk is due when its last sample would have been captured."""
        samples = SAMPLE_RATE * self.chunk_ms // 1_000
        self.start_s = time.monotonic()
        for end in range(samples, len(self.sound) // 2 + 1, samples):
            due_s = self.start_s + end / SAMPLE_RATE
            if self.live and (wait_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            self.late_s = max(self.late_s, time.monotonic() - due_s)
            yield self.sound[2 * (end - samples) : 2 * end]

    def keep(self, message: object) -> None:
        self.heard.append((time.monotonic() - self.start_s, message))


class Subject(Protocol):
    """A server that can be measured."""

    name: str
    max_sessions: int
    live: bool  # False: it waits for the end of the sound, so that it may come at once and delays say nothing

    def command(self, port: int, folder: Path, sessions: int, /) -> Sequence[str | Path]:
        """How it is started; `folder` is for what it has to have on disk."""
        ...

    def environment(self) -> Mapping[str, str]: ...

    async def ready(self, port: int) -> None:
        """Return once it can make captions; it listens already."""
        ...

    async def hear(self, port: int, number: int, tape: Tape, /) -> None:
        """Be client `number`: send the tape's chunks, keep what comes back, return after the last words."""
        ...

    def snapshots(self, tape: Tape) -> list[Snapshot]:
        """What a reader saw."""
        ...


@dataclass(frozen=True, slots=True)
class Server:
    """A subject that runs."""

    port: int
    ready_s: float  # after it was started
    meter: Meter


@asynccontextmanager
async def serving(subject: Subject, folder: Path, sessions: int) -> AsyncIterator[Server]:
    """Start it, wait until it can make captions, and end it with all its workers. Raises UnavailableError."""
    port = free_port()
    log = folder / "server.log"
    began_s = time.monotonic()
    with log.open("wb") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *subject.command(port, folder, sessions),
                cwd=folder,
                env=_environment() | dict(subject.environment()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(f"{subject.name} can't be started: {error.strerror}: {error.filename}") from error
    meter = Meter(process.pid)
    watching = asyncio.create_task(meter.watch())
    try:
        await _unless_it_dies(process, _listens(port), subject, log)
        await _unless_it_dies(process, subject.ready(port), subject, log)
        yield Server(port, time.monotonic() - began_s, meter)
    finally:
        watching.cancel()
        await _end(process)


def _environment() -> dict[str, str]:
    """Ours, without settings: those that count are on the command line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMD_")}
    return kept | {"PYTHONUNBUFFERED": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def _listens(port: int) -> None:
    """Look at the kernel's table: a connection that only tries would take the place of a client."""
    while not _is_listening(port):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(POLL_S)


def _is_listening(port: int) -> bool:
    rows = [line.split() for table in TABLES if table.exists() for line in table.read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == LISTENS for row in rows)


async def _unless_it_dies(process: asyncio.subprocess.Process, waiting: Any, subject: Subject, log: Path) -> None:
    """Raises UnavailableError, with the end of its log, if it ends first or takes too long."""
    wait, death = asyncio.ensure_future(waiting), asyncio.ensure_future(process.wait())
    done, _ = await asyncio.wait({wait, death}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
    death.cancel()
    if wait not in done:
        wait.cancel()
        what = f"ended with code {process.returncode}" if death in done else f"was not ready after {START_S:g} s"
        raise UnavailableError(f"{subject.name} {what}; its log ends with:\n{_tail(log)}")
    wait.result()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL for what is left after a while."""
    workers = family(process.pid)
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), STOP_S)
    for worker in workers:
        with suppress(psutil.Error):
            worker.kill()
    await process.wait()
