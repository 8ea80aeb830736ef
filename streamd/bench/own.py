"""streamd itself, as `streamd run` has it, over its socket."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from websockets.asyncio.client import connect

from streamd.bench.subject import HOST, LAST_WORDS_S, START_S, Tape
from streamd.config import Loaded, flat
from streamd.core.audio import SAMPLE_RATE
from streamd.core.events import Ended, Status
from streamd.core.measure import Snapshot
from streamd.core.view import Utterance, View, parse_known

_OURS = ("server.", "store.", "source.", "logging.", "session", "pipeline_name")  # settings that are made here


class Streamd:
    """The daemon with these settings, on a port of its own and without a journal."""

    name = "streamd"
    max_sessions = 256
    live = True

    def __init__(self, loaded: Loaded) -> None:
        self.settings = {key: value for key, value in loaded.changed().items() if not key.startswith(_OURS)}
        stages = {key: value for key, value in flat(loaded.settings).items() if key.startswith("pipeline.")}
        self._sets = {key: value for key, value in (stages | self.settings).items() if value is not None}

    def command(self, port: int, folder: Path, sessions: int) -> Sequence[str | Path]:
        """See Subject.command. The configuration is this one, not that of the user's home."""
        config = folder / "config.toml"
        config.write_text(f'[server]\nmax_sessions = {max(8, sessions)}\n[store]\npath = ""\n')
        sets = [f"--set={key}={json.dumps(value, default=str)}" for key, value in self._sets.items()]
        where = ["--host", HOST, "--port", str(port), "--source", "none", "--session", _session(0)]
        return [sys.executable, "-m", "streamd", "run", "--config", config, *where, "--log-level", "WARNING", *sets]

    def environment(self) -> Mapping[str, str]:
        return {}

    async def ready(self, port: int) -> None:
        """See Subject.ready: once the engine is loaded and warm."""
        async with connect(_url(port, 0, "events"), proxy=None) as socket:
            async for message in socket:
                event = parse_known(message)
                if event and isinstance(event.body, Status) and event.body.state not in ("starting", "degraded"):
                    return
        await asyncio.Event().wait()  # it ends: who waits for that as well tells why

    async def hear(self, port: int, number: int, tape: Tape) -> None:
        """See Subject.hear."""
        url = f"{_url(port, number, 'audio')}?rate={SAMPLE_RATE}&format=s16le"
        async with connect(url, proxy=None, max_size=None, open_timeout=START_S) as socket:
            await socket.recv()  # welcome: the session is there

            async def listen() -> None:
                async for message in socket:
                    tape.keep(message)

            listening = asyncio.create_task(listen())
            async for chunk in tape.chunks():
                await socket.send(chunk)
            await socket.send(json.dumps({"type": "end"}))
            await asyncio.wait_for(listening, LAST_WORDS_S)

    def snapshots(self, tape: Tape) -> list[Snapshot]:
        """See Subject.snapshots."""
        return snapshots([(at_s, message) for at_s, message in tape.heard])


def snapshots(messages: Sequence[tuple[float, str | bytes]]) -> list[Snapshot]:
    """What a page shows after each message."""
    view = View()
    shots = []
    for at_s, message in messages:
        event = parse_known(message)
        if event and view.apply(event) and not isinstance(event.body, Status | Ended):
            shots.append(_snapshot(at_s, view))
    return shots


def _snapshot(at_s: float, view: View) -> Snapshot:
    utterances = [item for item in view.items if isinstance(item, Utterance)]
    return Snapshot(
        at_s,
        " ".join(item.text for item in utterances),
        " ".join(item.stable for item in utterances if item.stable),
        " ".join(item.text for item in utterances if item.is_final),
    )


def _session(number: int) -> str:
    return f"bench-{number}"


def _url(port: int, number: int, what: str) -> str:
    return f"ws://{HOST}:{port}/v1/sessions/{_session(number)}/{what}"
