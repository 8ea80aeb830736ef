"""A microphone made of software: a private PulseAudio server whose null sink is heard as a microphone.

Needs neither hardware, D-Bus nor root. What is played into the sink is what the microphone hears.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamd.sources import list_devices
from tests.needs import missing, need, need_library

RATE = 48_000
START_S = 20.0


class VirtualMicrophone:
    """The server and its microphone, `virtual_mic`. All methods block until done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_STATE_PATH": str(folder / "state"),
            "PULSE_COOKIE": str(folder / "cookie"),
            "PULSE_SERVER": f"unix:{folder}/pulse/native",
            "PULSE_SOURCE": "virtual_mic",  # this one or none: another source must not stand in when it is unplugged
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._players: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the server, and return when sound flows."""
        shutil.rmtree(self.folder / "pulse", ignore_errors=True)
        socket = f"module-native-protocol-unix socket={self.folder}/pulse/native auth-anonymous=1"
        self._server = self._spawn(
            "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--log-level=error",
            f"--log-target=file:{self.folder}/pulse.log", "-L", socket,
        )  # fmt: skip
        self._wait_until_up(self._server)
        self.plug()

    def plug(self) -> None:
        """Connect the microphone, and return when it delivers."""
        self.control("load-module", "module-null-sink", "sink_name=mic_feed", f"rate={RATE}", "channels=1")
        self.control("load-module", "module-remap-source", "master=mic_feed.monitor", "source_name=virtual_mic")
        # A null sink sleeps up to 2 s at a time until somebody asks for a short latency: this silence does.
        self._players.append(self._play(Path("/dev/zero"), RATE))
        self._hear()

    def unplug(self) -> None:
        """Disconnect it, the sink included: PulseAudio would move who records to the sink's own source."""
        self.control("unload-module", "module-remap-source")
        self.control("unload-module", "module-null-sink")

    def suspend(self) -> None:
        """The device stays, but delivers nothing."""
        self.control("suspend-source", "virtual_mic", "1")

    def resume(self) -> None:
        self.control("suspend-source", "virtual_mic", "0")

    def play(self, pcm: bytes, rate: int) -> subprocess.Popen[bytes]:
        """Say mono s16le into the microphone, in real time. The process ends with the sound."""
        path = self.folder / "said.raw"
        path.write_bytes(pcm)
        player = self._play(path, rate)
        self._players.append(player)
        return player

    def recorders(self) -> list[str]:
        """Who records now, one line each."""
        return self.control("list", "short", "source-outputs").splitlines()

    def crash(self) -> None:
        """The sound server is gone without a word."""
        self._end_all(kill=True)

    def stop(self) -> None:
        self._end_all()

    def control(self, *command: str) -> str:
        done = subprocess.run(
            ["pactl", *command],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=True,
        )
        return done.stdout

    def _wait_until_up(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        while subprocess.run(["pactl", "info"], env=os.environ | self.environment, capture_output=True).returncode:
            with_log = f"PulseAudio does not start:\n{self._log()}"
            assert time.monotonic() < deadline, with_log
            try:
                server.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(with_log)

    def _hear(self) -> None:
        """Return when the microphone delivers."""
        recorder = self._spawn("parec", "--device=virtual_mic", "--latency-msec=20", "--raw", stdout=subprocess.PIPE)
        assert recorder.stdout is not None
        recorder.stdout.read(4_096)
        _end(recorder)

    def _play(self, path: Path, rate: int) -> subprocess.Popen[bytes]:
        return self._spawn(
            "pacat", "--playback", "--device=mic_feed", "--latency-msec=50", f"--rate={rate}", "--channels=1",
            "--format=s16le", "--raw", str(path),
        )  # fmt: skip

    def _spawn(self, *command: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
        )

    def _end_all(self, *, kill: bool = False) -> None:
        if self._server is not None:
            _end(self._server, kill=kill)
        for player in self._players:
            _end(player)
        self._server = None
        self._players.clear()

    def _log(self) -> str:
        path = self.folder / "pulse.log"
        return path.read_text() if path.exists() else ""


def _end(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    process.kill() if kill else process.terminate()
    process.wait(START_S)
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def virtual_microphone() -> Iterator[VirtualMicrophone]:
    """A running one; skips the test where PulseAudio, its ALSA plug-in or PortAudio is not installed."""
    need("pulseaudio")
    need("pactl")
    need("pacat")
    need_library("portaudio")
    folder = Path(tempfile.mkdtemp(prefix="mic"))  # short: the path of a socket has at most 107 bytes
    microphone = VirtualMicrophone(folder)
    try:
        microphone.start()
        yield microphone
    finally:
        microphone.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def microphone(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMicrophone]:
    """A microphone that PortAudio sees in this process and in those that it starts."""
    with virtual_microphone() as microphone:
        for name, value in microphone.environment.items():
            monkeypatch.setenv(name, value)
        look_again()
        if not list_devices():
            missing("PortAudio does not see PulseAudio: libasound2-plugins is not installed")
        yield microphone
    look_again()


def look_again() -> None:
    """PortAudio sees new devices only when it starts anew."""
    import sounddevice

    sounddevice._terminate()
    sounddevice._initialize()
