"""Other caption servers, each in an environment of its own; benchmarks/README.md says how to make those."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streamd.bench.subject import HOST, LAST_WORDS_S, Subject, Tape
from streamd.core.measure import Snapshot
from streamd.errors import UsageError

LAUNCH = Path(__file__).parent / "launch"  # programs that run in a peer's interpreter
QUIET_S = 15.0  # a server that never says that it is done is left after so long without a word
LINE_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Setup:
    """What a peer is to run with. `python` is the interpreter of its environment, `model` a folder."""

    python: Path
    model: Path
    language: str
    threads: int


class _Peer:
    """Common to all of them."""

    name = ""
    max_sessions = 16
    live = True

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def environment(self) -> Mapping[str, str]:
        """As many threads as streamd has, no graphics card and no network."""
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return dict.fromkeys(threads, str(self.setup.threads)) | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}

    async def ready(self, port: int) -> None:
        """It listens: no peer says more."""


class _Lines(_Peer):
    """Those that launch/lines.py gives a socket."""

    max_sessions = 1

    async def hear(self, port: int, _number: int, tape: Tape) -> None:
        """See Subject.hear."""
        reader, writer = await asyncio.open_connection(HOST, port, limit=LINE_BYTES)

        async def listen() -> None:
            while line := await reader.readline():
                tape.keep(line)

        listening = asyncio.create_task(listen())
        try:
            async for chunk in tape.chunks():
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
            await asyncio.wait_for(listening, LAST_WORDS_S)
        finally:
            listening.cancel()
            writer.close()

    def snapshots(self, tape: Tape) -> list[Snapshot]:
        """See Subject.snapshots."""
        messages = [(at_s, json.loads(line)) for at_s, line in tape.heard]
        return [Snapshot(at_s, it["shown"], it["final"], it["final"]) for at_s, it in messages]


class RealtimeSTT(_Lines):
    name = "realtimestt"

    def command(self, port: int, _folder: Path, _sessions: int) -> Sequence[str | Path]:
        """See Subject.command."""
        return [self.setup.python, LAUNCH / "start_realtimestt.py", str(port), self.setup.model, self.setup.language]


class Offline(_Lines):
    """faster-whisper on the whole file: the error rate that streaming is to come near. Its delays say nothing."""

    name = "offline"
    live = False

    def command(self, port: int, _folder: Path, _sessions: int) -> Sequence[str | Path]:
        """See Subject.command."""
        it = self.setup
        return [it.python, LAUNCH / "start_offline.py", str(port), it.model, it.language, str(it.threads)]


class Ufal(_Lines):
    """whisper_streaming of ÚFAL. It shows only what it has committed, and forgets the last words."""

    name = "ufal"

    def command(self, port: int, _folder: Path, _sessions: int) -> Sequence[str | Path]:
        """See Subject.command. Its checkout is in its environment's folder, under its own name."""
        checkout = self.setup.python.parent.parent / "whisper_streaming"
        options = "--backend", "faster-whisper", "--model_dir", self.setup.model, "--lan", self.setup.language
        where = "--host", HOST, "--port", str(port), "-l", "WARNING"
        return [self.setup.python, LAUNCH / "start_ufal.py", checkout, *where, *options]

    def snapshots(self, tape: Tape) -> list[Snapshot]:
        """Lines are `start end text`, padded with zero bytes."""
        text = ""
        shots = []
        for at_s, line in tape.heard:
            text += " " + " ".join(line.decode(errors="replace").replace("\0", "").split(maxsplit=2)[2:]).strip()
            shots.append(Snapshot(at_s, text.strip(), text.strip(), text.strip()))
        return shots


class WhisperLive(_Peer):
    """Collabora's."""

    name = "whisper-live"

    def command(self, port: int, _folder: Path, _sessions: int) -> Sequence[str | Path]:
        """See Subject.command."""
        return [self.setup.python, LAUNCH / "start_whisper_live.py", str(port), self.setup.model]

    async def hear(self, port: int, _number: int, tape: Tape) -> None:
        """See Subject.hear. The options are those that its own client sends."""
        hello = {
            "uid": str(uuid.uuid4()),
            "language": self.setup.language,
            "task": "transcribe",
            "model": str(self.setup.model),
            "use_vad": True,
            "send_last_n_segments": 10,
            "no_speech_thresh": 0.45,
            "clip_audio": False,
            "same_output_threshold": 10,
        }
        async with connect(f"ws://{HOST}:{port}", proxy=None, max_size=None, ping_interval=None) as socket:
            await socket.send(json.dumps(hello))
            while json.loads(await socket.recv()).get("message") != "SERVER_READY":
                pass
            await _converse(socket, tape, _float32, b"END_OF_AUDIO")

    def snapshots(self, tape: Tape) -> list[Snapshot]:
        """Each message has the last segments; those that are completed stay, as its own client has it."""
        completed: list[Any] = []
        shots = []
        for at_s, message in tape.heard:
            tail = ""
            for segment in json.loads(message).get("segments", ()):
                if not segment.get("completed"):
                    tail = segment["text"].strip()
                elif not completed or float(segment["start"]) >= float(completed[-1]["end"]):
                    completed.append(segment)
            final = " ".join(segment["text"].strip() for segment in completed)
            shots.append(Snapshot(at_s, f"{final} {tail}".strip(), final, final))
        return shots


class WhisperLiveKit(_Peer):
    """WhisperLiveKit, with LocalAgreement."""

    name = "whisperlivekit"
    policy = "localagreement"

    def command(self, port: int, _folder: Path, _sessions: int) -> Sequence[str | Path]:
        """See Subject.command."""
        program = self.setup.python.parent / "whisperlivekit-server"
        model = "--model-path", self.setup.model, "--language", self.setup.language
        policy = "--backend-policy", self.policy, "--backend", "faster-whisper"
        return [program, "--host", HOST, "--port", str(port), *model, *policy, "--pcm-input", "--log-level", "WARNING"]

    async def hear(self, port: int, _number: int, tape: Tape) -> None:
        """See Subject.hear."""
        async with connect(f"ws://{HOST}:{port}/asr", proxy=None, max_size=None, ping_interval=None) as socket:
            await _converse(socket, tape, bytes, b"", is_last=lambda body: body.get("type") == "ready_to_stop")

    def snapshots(self, tape: Tape) -> list[Snapshot]:
        """Each message has all of it: lines that stay, and a buffer."""
        bodies = [(at_s, json.loads(message)) for at_s, message in tape.heard]
        shots = []
        for at_s, body in bodies:
            if "lines" in body:
                final = " ".join(line["text"].strip() for line in body["lines"] if line.get("text"))
                tail = (body.get("buffer_transcription") or "").strip()
                shots.append(Snapshot(at_s, f"{final} {tail}".strip(), final, final))
        return shots


class AlignAtt(WhisperLiveKit):
    """WhisperLiveKit, with AlignAtt. It decodes with PyTorch, so it needs weights for that beside the others."""

    name = "whisperlivekit-alignatt"
    policy = "simulstreaming"


async def _converse(
    socket: ClientConnection,
    tape: Tape,
    encode: Callable[[bytes], bytes],
    end: bytes,
    *,
    is_last: Callable[[Mapping[str, Any]], bool] = lambda _body: False,
) -> None:
    """Send the sound, keep what comes until the server closes, says that it is done, or says nothing for long."""
    sent = asyncio.Event()

    async def listen() -> None:
        while True:
            try:
                message = await asyncio.wait_for(socket.recv(), QUIET_S)
            except TimeoutError:
                if sent.is_set():
                    return
                continue
            except ConnectionClosed:
                return
            tape.keep(message)
            if is_last(json.loads(message)):
                return

    listening = asyncio.create_task(listen())
    try:
        async for chunk in tape.chunks():
            await socket.send(encode(chunk))
        await socket.send(end)
        sent.set()
        await asyncio.wait_for(listening, LAST_WORDS_S)
    finally:
        listening.cancel()


def _float32(chunk: bytes) -> bytes:
    return (np.frombuffer(chunk, np.int16).astype(np.float32) / 32_768).tobytes()


_PEERS = (WhisperLive, RealtimeSTT, WhisperLiveKit, AlignAtt, Ufal, Offline)
NAMES = tuple(peer.name for peer in _PEERS)


def peer(name: str, python: Path | None, model: Path, language: str, threads: int) -> Subject:
    """The peer of that name. Raises UsageError."""
    for kind in _PEERS:
        if kind.name == name:
            if python is None and kind is not Offline:
                raise UsageError(f"--against {name}: say with --python which interpreter it is installed for")
            return kind(Setup((python or Path(sys.executable)).absolute(), model, language, threads))
    raise UsageError(f"--against {name}: there is none of that name; there are {', '.join(NAMES)}")
