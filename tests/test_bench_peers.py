"""What is said to other caption servers and what is read from them, with their words and without them."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from streamd.bench.launch.lines import Transcript, sound
from streamd.bench.peers import NAMES, Setup, Ufal, WhisperLive, WhisperLiveKit, peer
from streamd.bench.subject import HOST, Tape
from streamd.errors import UsageError
from tests.conftest import DATA
from tests.e2e.daemon import streamd

SETUP = Setup(Path("/venv/bin/python"), Path("/weights"), "en", 2)


def shown(subject: Any, messages: Sequence[object]) -> list[tuple[str, str]]:
    """What a reader saw after each message, and what of it was to stay."""
    tape = Tape(b"", 100, heard=[(float(n), message) for n, message in enumerate(messages)])
    shots = subject.snapshots(tape)
    assert all(shot.committed == shot.final for shot in shots)
    return [(shot.shown, shot.final) for shot in shots]


def test_whisper_live_repeats_its_last_segments() -> None:
    """A completed one counts once, where it begins after the ones before it."""
    first = {"start": "0.000", "end": "1.000", "text": " Go forward", "completed": True}
    second = {"start": "1.000", "end": "2.000", "text": " ten metres.", "completed": True}
    messages = [
        {"segments": [{"start": "0.000", "end": "0.500", "text": " Go", "completed": False}]},
        {"segments": [first, {"start": "1.000", "end": "1.500", "text": " ten", "completed": False}]},
        {"segments": [first, second]},
    ]
    assert shown(WhisperLive(SETUP), [json.dumps(message) for message in messages]) == [
        ("Go", ""),
        ("Go forward ten", "Go forward"),
        ("Go forward ten metres.", "Go forward ten metres."),
    ]


def test_whisperlivekit_sends_everything_each_time() -> None:
    messages = [
        {"type": "config"},
        {"lines": [], "buffer_transcription": " Go"},
        {
            "lines": [{"text": " Go forward", "speaker": 1}, {"text": None, "speaker": -2}],
            "buffer_transcription": "ten",
        },
        {"type": "ready_to_stop"},
    ]
    assert shown(WhisperLiveKit(SETUP), [json.dumps(message) for message in messages]) == [
        ("Go", ""),
        ("Go forward ten", "Go forward"),
    ]


def test_ufal_sends_lines_padded_with_zeros() -> None:
    lines = [b"0 900 Go forward\n", b"\0\0\0900 2000  ten metres.\n"]
    assert shown(Ufal(SETUP), lines) == [("Go forward",) * 2, ("Go forward ten metres.",) * 2]


def test_launched_peers_tell_finals_and_the_open_part() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transcript = Transcript(theirs)
        transcript.partial(" go for")
        transcript.final("Go forward. ")
        transcript.partial("ten")
        theirs.shutdown(socket.SHUT_WR)
        lines = [json.loads(line) for line in ours.makefile()]
    assert [(line["shown"], line["final"]) for line in lines] == [
        ("go for", ""),
        ("Go forward.", "Go forward."),
        ("Go forward. ten", "Go forward."),
    ]


def test_launched_peers_get_sound_in_pieces() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(bytes(2_500))
        ours.shutdown(socket.SHUT_WR)
        assert [len(piece) for piece in sound(theirs, 1_000)] == [1_000, 1_000, 500]


async def test_a_conversation_ends_when_the_server_says_so() -> None:
    """And all of the sound was there before its end."""
    heard: list[bytes | str] = []

    async def answer(connection: ServerConnection) -> None:
        async for message in connection:
            heard.append(message)
            if message == b"":
                await connection.send(json.dumps({"lines": [{"text": "Go"}]}))
                await connection.send(json.dumps({"type": "ready_to_stop"}))

    tape = Tape(bytes(32_000), chunk_ms=100, live=False)
    async with serve(answer, HOST, 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await WhisperLiveKit(SETUP).hear(port, 0, tape)
    assert heard == [bytes(3_200)] * 10 + [b""]
    assert [shot.shown for shot in WhisperLiveKit(SETUP).snapshots(tape)] == ["Go"]


async def test_a_conversation_ends_when_the_server_closes() -> None:
    """WhisperLive takes floats, and is asked before it is ready."""
    heard: list[bytes | str] = []

    async def answer(connection: ServerConnection) -> None:
        assert json.loads(await connection.recv())["language"] == "en"
        await connection.send(json.dumps({"message": "SERVER_READY"}))
        async for message in connection:
            if message == b"END_OF_AUDIO":
                return
            heard.append(message)

    tape = Tape(b"\0\x40" * 3_200, chunk_ms=100, live=False)
    async with serve(answer, HOST, 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await WhisperLive(SETUP).hear(port, 0, tape)
    assert heard == [b"\0\0\0\x3f" * 1_600] * 2


@pytest.mark.parametrize("name", NAMES)
def test_peers_are_started_with_our_weights_and_threads(name: str, tmp_path: Path) -> None:
    subject = peer(name, SETUP.python, SETUP.model, "en", 2)
    command = list(map(str, subject.command(1234, tmp_path, 1)))
    assert {"1234", "/weights"} <= set(command)
    assert command[0].startswith("/venv/bin/")
    assert subject.environment()["OMP_NUM_THREADS"] == "2"


def test_a_peer_has_a_name_and_an_interpreter() -> None:
    with pytest.raises(UsageError, match="--against other: there is none of that name; there are whisper-live, "):
        peer("other", SETUP.python, SETUP.model, "en", 2)
    with pytest.raises(UsageError, match="--against ufal: say with --python"):
        peer("ufal", None, SETUP.model, "en", 2)


@pytest.mark.model
def test_streamd_beside_faster_whisper_on_the_whole_file(tmp_path: Path, tiny_en: Path) -> None:
    """And beside a peer that isn't installed, which does not take the other figures along."""
    done = streamd(
        tmp_path,
        "bench",
        *(DATA / "goforward.flac", "--model", tiny_en, "--tail-s", "1", "--json", tmp_path / "out.json"),
        *("--against", "offline", "--against", "realtimestt", "--python", tmp_path / "none"),
    )
    assert done.returncode == 69, done.stderr
    assert "realtimestt can't be started: No such file or directory" in done.stdout
    runs = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert [run["subject"] for run in runs] == ["streamd", "offline"]
    ours, theirs = (run["figures"] for run in runs)
    assert theirs["wer"] <= 0.25
    assert theirs["stays_p50_s"] is None
    assert ours["stays_p50_s"] is not None
    assert "times" in done.stdout.splitlines()[0]
