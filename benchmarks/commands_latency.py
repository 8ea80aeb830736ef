"""From the last word of a command to its target: `python -m benchmarks.commands_latency [MODEL] [TIMES]`.

The daemon hears a recording of a command over and over, at the pace of the sound, as a microphone would send it. Told
are, beside each other: when its final came, when its `dispatched` was in the journal, and when the target had it, each
since the last word as the recogniser times it; and how long each call of the recogniser took, and the comparison with
the sentences (a final is often the last partial: it is made while the speaker pauses). It starts `streamd run` with the
pipeline `commands`, by="sound" and by="text". TIMES is 10 at the most: no connection of the tests lasts longer.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from streamd.core.events import Command, Final
from streamd.models import locate
from streamd.store import Journal
from tests.e2e.clients import Client, reading, speaking
from tests.e2e.daemon import Daemon
from tests.machines import press
from tests.speech import recording

CHUNK_S = 0.1
PAUSE_S = 2.0
STAGES = ("queue", "engine_partial", "engine_final", "engine_comparison", "journal")
PACK = """
commands:
  go:
    sentences: ["go (forward|back) {{metres}} (meter|meters)"]
    params: {{metres: {{type: integer, minimum: 1, maximum: 20}}}}
    safety: {{risk: read}}
    dispatch: {{http: {{url: "{url}"}}}}
"""


async def speak(daemon: Daemon, times: int) -> Client:
    """At the pace of the sound."""
    sound = (recording("goforward").pcm.tobytes() + bytes(round(PAUSE_S * 32_000))) * times
    step = round(CHUNK_S * 32_000)
    client = Client()
    async with reading(daemon, reader=client), speaking(daemon) as speaker:
        began = time.monotonic()
        for at in range(0, len(sound), step):
            await asyncio.sleep(max(0.0, began + at / 32_000 - time.monotonic()))
            await speaker.socket.send(sound[at : at + step])
        await speaker.end()
        await client.until(lambda: client.view.is_over)
    return client


def said_at(journal: Path) -> dict[int, int]:
    """Utterance → when its last word was spoken, as the audit has it."""
    with closing(Journal.read(journal)) as opened:
        rows = [(json.loads(row.record), json.loads(row.note)) for row in opened.audit() if row.kind == "command"]
    return {record["utterance"]: note["said_ms"] for record, note in rows if "said_ms" in note}


def row(name: str, values: Sequence[float]) -> str:
    quantiles = statistics.quantiles(values, n=20)
    return f"  {name:34} p50 {statistics.median(values):6.0f} ms   p95 {quantiles[-1]:6.0f} ms   n {len(values)}"


def measure(model: str, by: str, times: int) -> None:
    arrived: list[float] = []
    with tempfile.TemporaryDirectory() as name, press() as machine:
        folder = Path(name)
        machine.on_request = lambda: arrived.append(time.time() * 1_000)
        (folder / "pack.yaml").write_text(PACK.format(url=machine.url))
        sets = (f"pipeline.commands.pack={folder}/pack.yaml", f"pipeline.commands.by={by}")
        arguments = [part for each in sets for part in ("--set", each)]
        with Daemon(folder, "--source", "none", "--pipeline", "commands", *arguments, model=locate(model)) as daemon:
            daemon.start()
            client = asyncio.run(_guarded(daemon, times))
            stages = {
                stage: (daemon.metric("streamd_stage_seconds_sum", stage=stage), count)
                for stage in STAGES
                if (count := daemon.metric("streamd_stage_seconds_count", stage=stage))
            }
        said = said_at(folder / "journal.sqlite3")
        daemon.log = ""
    finals = {e.body.utterance: e.at_ms for e in client.told if isinstance(e.body, Final)}
    sent = {
        e.body.utterance: e.at_ms for e in client.told if isinstance(e.body, Command) and e.body.state == "dispatched"
    }
    print(f"{model}, by {by}: {len(sent)} of {times} commands were sent, {len(finals)} utterances")
    if len(sent) > 1:
        print(row("last word → final", [finals[key] - said[key] for key in sent]))
        print(row("final → dispatched in the journal", [sent[key] - finals[key] for key in sent]))
        print(row("last word → dispatched", [sent[key] - said[key] for key in sent]))
        print(row("dispatched → arrived", [at - sent[key] for key, at in zip(sorted(sent), arrived, strict=False)]))
    for stage, (total_s, calls) in stages.items():
        print(f"  {stage:34} mean {1_000 * total_s / calls:5.0f} ms   n {calls:.0f}")


async def _guarded(daemon: Daemon, times: int) -> Client:
    async with asyncio.timeout(60 + 10 * times):
        return await speak(daemon, times)


if __name__ == "__main__":
    for way in ("sound", "text"):
        measure(sys.argv[1] if len(sys.argv) > 1 else "base", way, int(sys.argv[2]) if len(sys.argv) > 2 else 10)
