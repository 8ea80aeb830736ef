"""`streamd run` as its users have it: a process of its own, with its own port, journal and configuration."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from streamd.core.events import Event, Status

PATIENCE_S = 60.0  # longest wait for anything: on a busy machine it must not be what a test is about
SESSION = "default"  # the one that `streamd run` feeds
JOURNAL = "journal.sqlite3"
WHOLE = ("--set", "pipeline.recognise.partials=false")  # each utterance is heard once: nothing depends on timing
SCRIPTED = ("--set", "pipeline.recognise.engine=scripted")


class Daemon:
    """Can be started and killed as often as one likes: journal and port stay the same. Methods block.

    Use as a context manager: nothing is left of it at the end, and its log is shown with a test that fails.
    `program` is what Python runs instead of `-m streamd`.
    """

    url: str

    def __init__(
        self,
        folder: Path,
        *arguments: str | Path,
        model: Path | None = None,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "streamd"),
        token: str = "",
    ) -> None:
        self.folder = folder
        self.journal = folder / JOURNAL
        self.token = token  # of who looks whether it is ready, and of those who read and speak
        self.log = ""  # of all its lives
        self._config = write_config(folder, model)
        self._command = [sys.executable, *program, "run", "--config", self._config, *arguments]
        self._environment = own_environment(folder) | dict(environment or {})
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self._stderr: Lines | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()
        sys.stderr.write(self.log)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it has not been started"
        return self._process.pid

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def start(self, *arguments: str | Path, ready: bool = True) -> None:
        """Return once it serves, and with `ready` once it can make captions. `arguments` are for this life only."""
        self._process = subprocess.Popen(
            [*self._command, "--port", str(self._port), *arguments],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # workers are found and ended by their group
        )
        assert self._process.stderr is not None
        self._stderr = Lines(self._process.stderr)
        self.url = self.until_logged(r"^captions +(http[^?\s]+)/(?:\?\S*)?$")
        self._port = int(self.url.rpartition(":")[2])
        if ready:
            self._until_ready()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL. Nothing is left of it afterwards."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Its exit code (negative: a signal), once it and its workers are gone."""
        process, stderr, self._process = self._process, self._stderr, None
        assert process is not None
        assert stderr is not None
        try:
            code = process.wait(PATIENCE_S)
            for worker in group(process.pid):
                assert has_ended(worker), f"process {worker} is left behind"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.log += stderr.close()
        return code

    def workers(self) -> list[int]:
        """Process ids of the engine's workers."""
        return [child.pid for child in psutil.Process(self.pid).children()]

    def most_memory_mb(self) -> float:
        """The largest resident set that it has had, without its workers."""
        return most_memory_mb(self.pid)

    def until_logged(self, pattern: str) -> str:
        """The first line of its present life that matches, or the first group in it, once there is one."""
        assert self._stderr is not None
        match = self._stderr.until(re.compile(pattern))
        return match[match.re.groups and 1]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE_S)

    def metric(self, name: str, **labels: str) -> float:
        """A sample of /metrics; 0 if there is none."""
        samples = (s for family in text_string_to_metric_families(self.get("/metrics").text) for s in family.samples)
        return next((s.value for s in samples if s.name == name and labels.items() <= s.labels.items()), 0.0)

    def _until_ready(self) -> None:
        """Wait for it as a reader does."""
        address = f"{self.socket_url}/v1/sessions/{SESSION}/events?token={self.token}"
        with connect(address, open_timeout=PATIENCE_S) as socket:
            body = Event.parse(socket.recv(PATIENCE_S)).body
            while not isinstance(body, Status) or body.state == "starting":
                body = Event.parse(socket.recv(PATIENCE_S)).body
        assert self.get("/readyz").status_code == 200


class Lines:
    """What a process writes, line by line."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._lines: list[str] = []
        self._over = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def until(self, pattern: re.Pattern[str]) -> re.Match[str]:
        with self._news:
            self._news.wait_for(lambda: self._over or self._find(pattern), PATIENCE_S)
            match = self._find(pattern)
        assert match is not None, f"no line {pattern.pattern!r} in:\n{''.join(self._lines)}"
        return match

    def close(self) -> str:
        """All of it, once nobody writes any more."""
        self._thread.join()
        self._pipe.close()
        return "".join(self._lines)

    def _find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return next((match for line in self._lines if (match := pattern.search(line))), None)

    def _read(self) -> None:
        for line in self._pipe:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()


def streamd(
    folder: Path, command: str, *arguments: str | Path, model: Path | None = None, patience_s: float = PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    """A command that comes to its end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "streamd", command, "--config", write_config(folder, model), *arguments],
        cwd=folder,
        env=own_environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patience_s,
    )


def own_environment(folder: Path) -> dict[str, str]:
    """That of a user whose home is `folder` and who has set nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "STREAMD_"))}
    return kept | {"HOME": str(folder)}


def write_config(folder: Path, model: Path | None = None) -> Path:
    path = folder / "config.toml"
    weights = f'[engines.whisper]\nmodel = "{model}"\n' if model else ""
    path.write_text(f'{weights}[server]\nport = 0\n[store]\npath = "{folder / JOURNAL}"\n')
    return path


def most_memory_mb(pid: int) -> float:
    """The largest resident set that a process has had."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1_024


def group(leader: int) -> Iterator[int]:
    """Processes of a group, those that have ended but were not collected left out."""
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid


def has_ended(pid: int) -> bool:
    """Wait until a process has ended, also one that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE_S)[0])
    finally:
        os.close(descriptor)
