"""What can be wrong from outside: each ends in one clear line and its exit code, and what was said before is kept."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from streamd.core.audio import SAMPLE_RATE
from streamd.core.events import Ended, Partial
from tests.e2e.clients import reading, speaking
from tests.e2e.daemon import PATIENCE_S, SCRIPTED, Daemon, own_environment, streamd
from tests.sound_files import tone, write_media
from tests.speech import recording

JFK = recording("jfk")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that are of no use."""
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.mp3").write_text("this is no sound")
    write_media(tmp_path / "silent.mp4", None, tone(0.2, 8_000), 8_000, video=True)
    (tmp_path / "journal").write_text("this is no database")
    (tmp_path / "weights").mkdir()
    return tmp_path


NOTHING = ("--source", "none")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--sourc", "mic"), 2, ["--sourc"]),
        ((*NOTHING, "--set", "server.prot=1"), 78, ["--set server.prot", "unknown key", "did you mean server.port?"]),
        ((*NOTHING, "--set", "server.port=soon"), 78, ["--set server.port", '"soon"', "integer"]),
        ((*NOTHING, "--set", "server.max_sessions=0"), 78, ["--set server.max_sessions", "= 0", "greater than"]),
        (
            (*NOTHING, *SCRIPTED, "--pipeline", "commands", "--set", "pipeline.commands.pack=weights"),
            78,
            ["weights: there is no *.yaml file in it"],
        ),
        ((*NOTHING, "--host", "0.0.0.0"), 78, ["0.0.0.0", "server.tokens", "or bind to 127.0.0.1"]),
        ((*NOTHING, "--config", "none.toml"), 78, ["none.toml", "no such file"]),
        (
            (*NOTHING, "--set", "engines.whisper.model=huge"),
            69,
            ["'huge'", "neither a folder", "set engines.whisper.model"],
        ),
        ((*NOTHING, "--set", "engines.whisper.model=weights"), 69, ["weights/config.json", "missing"]),
        ((*NOTHING, *SCRIPTED, "--set", "store.path=journal"), 69, ["journal", "not a database", "move it away"]),
        ((*NOTHING, *SCRIPTED, "--set", "store.path=text.mp3/x"), 69, ["text.mp3/x", "store.path"]),
        ((*SCRIPTED, "--source", "nothing.wav"), 69, ["nothing.wav", "does not exist"]),
        ((*SCRIPTED, "--source", "weights"), 69, ["weights is a directory: name a file"]),
        ((*SCRIPTED, "--source", "empty.wav"), 69, ["empty.wav", "empty"]),
        ((*SCRIPTED, "--source", "text.mp3"), 69, ["text.mp3 is neither audio nor video", "convert it"]),
        ((*SCRIPTED, "--source", "silent.mp4"), 69, ["silent.mp4", "no sound"]),
    ],
)
def test_it_ends_with_one_line(folder: Path, arguments: tuple[str, ...], code: int, said: list[str]) -> None:
    done = streamd(folder, "run", *arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert all(part in done.stderr.splitlines()[-1] for part in said)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = streamd(tmp_path, "run", *SCRIPTED, *NOTHING, "--port", port)
    assert done.returncode == 69
    line = (
        f"streamd: 127.0.0.1:{port} is in use: stop the program that listens there, or choose another port with --port"
    )
    assert done.stderr.splitlines()[-1] == line


def test_a_journal_that_another_daemon_writes(room: Daemon) -> None:
    done = streamd(room.folder, "run", *SCRIPTED, *NOTHING)
    assert done.returncode == 69
    assert f"in use by process {room.pid}: stop that daemon" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_start_without_standard_streams(tmp_path: Path, closed: tuple[int, ...]) -> None:
    """Some service managers start programs so."""
    close = " ".join(f"{number}>&-" for number in closed)
    command = f'exec "{sys.executable}" -m streamd transcribe {" ".join(SCRIPTED)} "{JFK.path}" -o . {close}'
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=own_environment(tmp_path), timeout=PATIENCE_S, check=True)
    assert (tmp_path / "jfk.txt").read_text().startswith("one two three")


# --- clients ---


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that is none the worse for whatever its clients do."""
    with Daemon(tmp_path_factory.mktemp("room"), *NOTHING, *SCRIPTED) as daemon:
        daemon.start()
        yield daemon
        assert daemon.get("/readyz").status_code == 200
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert "Traceback" not in daemon.log


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x00" * 1_000,
        b"\xff" * 70_000,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nx" + b"x" * 100_000,
    ],
)
def test_a_client_that_speaks_another_language_is_dropped(room: Daemon, rubbish: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(room.url.rpartition(":")[2])), PATIENCE_S) as client:
        try:
            client.sendall(rubbish)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(65_536)
        except ConnectionError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4") or b" 400 " in answer


@pytest.mark.parametrize(
    "path",
    ["audio?rate=7999", "audio?rate=fast", "audio?format=mp3", "audio?rate=1&rate=2", "events?after=-1", "events?x=1"],
)
async def test_a_request_that_makes_no_sense_is_told_why(room: Daemon, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{room.socket_url}/v1/sessions/default/{path}", proxy=None)
    assert refused.value.response.status_code == 400
    assert path.partition("?")[2].partition("=")[0] in refused.value.response.body.decode()


@pytest.mark.parametrize(
    ("where", "message", "code"),
    [
        ("audio", "not JSON", 1008),
        ("audio", '{"type": "fly"}', 1008),
        ("audio", "[" * 100_000, 1008),
        ("audio", bytes(2**20 + 1), 1009),
        ("events", "hello", 1008),
        ("events", b"sound", 1008),
    ],
)
async def test_a_message_that_makes_no_sense_closes(room: Daemon, where: str, message: str | bytes, code: int) -> None:
    async with connect(f"{room.socket_url}/v1/sessions/default/{where}", proxy=None, max_size=None) as client:
        await client.send(message)
        await client.wait_closed()
        assert client.close_code == code
        assert client.close_reason


async def test_sound_that_is_noise_in_every_sense(room: Daemon) -> None:
    """NaN, infinities and numbers beyond all measure, in chunks that cut them in two."""
    numbers = np.random.default_rng(3).integers(0, 2**32, 3 * SAMPLE_RATE, np.uint32).view("<f4")
    async with speaking(room, "noise", format="f32le") as speaker:
        await speaker.say(numbers.tobytes(), (3, 1_001))
        await speaker.say(b"\x7f")
        await speaker.end()


async def test_sound_that_breaks_off_in_the_middle_is_finished(room: Daemon) -> None:
    async with reading(room, "default") as reader:
        async with speaking(room, "default") as speaker:
            await speaker.say(JFK.pcm.tobytes()[: 2 * 32_000])
            await speaker.until(lambda: speaker.bodies(Partial))
            speaker.socket.transport.abort()
        await reader.until(lambda: reader.finals and reader.view.ended)
    assert reader.texts[-1].startswith("one two three")
    exported = streamd(room.folder, "export", "default", "--format", "jsonl").stdout
    assert json.loads(exported.splitlines()[-1])["text"] == reader.texts[-1]


# --- silence ---


def silence(path: Path, seconds: int) -> Path:
    """A WAV file of zeros; it takes no space on the disk."""
    size = 2 * seconds * SAMPLE_RATE
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size))
    os.truncate(path, 44 + size)
    return path


async def most_memory_mb(folder: Path, seconds: int) -> float:
    """What a daemon needed that has heard so much silence."""
    source = silence(folder / f"{seconds}.wav", seconds)
    arguments = ("--source", source, "--fast", "--session", f"of-{seconds}", *SCRIPTED)
    with Daemon(folder, *arguments, environment={"COVERAGE_PROCESS_CONFIG": ""}) as daemon:  # which needs memory
        daemon.start(ready=False)
        async with reading(daemon, f"of-{seconds}") as reader:
            await reader.until(lambda: reader.bodies(Ended))
        peak_mb = daemon.most_memory_mb()
    assert [ended.audio_ms for ended in reader.bodies(Ended)] == [1_000 * seconds]
    assert reader.view.items == []
    return peak_mb


async def test_long_silence_is_nothing(tmp_path: Path) -> None:
    """No utterance, and no memory: twenty minutes take what one minute takes. Their sound alone would be 38 MB."""
    minute_mb = await most_memory_mb(tmp_path, 60)
    assert await most_memory_mb(tmp_path, 1_200) < minute_mb + 10
