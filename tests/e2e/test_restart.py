"""The daemon and its worker end in every way there is, and nothing that anybody saw is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamd.core.events import Event, Final, Gap, Partial, Status, Welcome
from streamd.core.view import Utterance
from tests.e2e.clients import Client, Speaker, reading, speaking
from tests.e2e.daemon import PATIENCE_S, SCRIPTED, Daemon, streamd
from tests.gate import Gate
from tests.parts import until
from tests.speech import recording, word_error_rate

JFK = recording("jfk")
READ = recording("austen_0870")  # one utterance
LAST_WORDS_S = "600"  # so long a daemon would wait for them: longer than any test


def committed(partials: list[Partial]) -> str:
    """What was shown for good, at the last."""
    return partials[-1].text[: partials[-1].committed] if partials else ""


def left_open(journal: Path) -> list[Partial]:
    """What a daemon that died now would leave of the utterance that is open."""
    with closing(sqlite3.connect(journal)) as db:
        bodies = [Event.parse(row[0]).body for row in db.execute("SELECT json FROM open_partial")]
    return [body for body in bodies if isinstance(body, Partial)]


async def stop_in_mid_speech(daemon: Daemon) -> Partial:
    """Hold the daemon when the journal has something of an utterance that is open."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await until(lambda: committed(left_open(daemon.journal)) != "")
            daemon.signal(signal.SIGSTOP)
            if committed(partials := left_open(daemon.journal)):
                return partials[-1]
            daemon.signal(signal.SIGCONT)


def kept(client: Client) -> list[str]:
    """What must not be lost, as it was told."""
    return [event.json for event in client.told if isinstance(event.body, Final | Gap)]


def assert_nothing_lost(client: Client, fresh: Client) -> None:
    """`client` saw it all as it happened, over several connections; `fresh` came when it was over."""
    assert kept(client) == kept(fresh)
    numbers = [event.seq for event in client.told if not isinstance(event.body, Welcome)]
    assert numbers == sorted(set(numbers))
    utterances = [final.utterance for final in client.finals]
    assert utterances == sorted(set(utterances))
    assert len({welcome.epoch for welcome in client.bodies(Welcome)}) == 1
    assert client.view.items == fresh.view.items
    assert all(item.is_final for item in client.view.items if isinstance(item, Utterance))


@pytest.mark.model
async def test_a_kill_in_the_middle_of_speech_loses_nothing(tmp_path: Path, tiny_en: Path) -> None:
    with Daemon(tmp_path, "--source", JFK.path, model=tiny_en) as daemon:
        daemon.start(ready=False)
        async with reading(daemon) as reader:
            await reader.until(lambda: reader.texts)
            interrupted = await stop_in_mid_speech(daemon)
            daemon.kill()
            await reader.until_closed()
        before, seen = len(kept(reader)), [p for p in reader.bodies(Partial) if p.utterance == interrupted.utterance]
        daemon.start("--fast", ready=False)
        async with reading(daemon, reader=reader):
            await reader.until(lambda: len(reader.finals) > before + 1 and reader.view.is_over)
        async with reading(daemon) as fresh:
            await fresh.until(lambda: fresh.view.is_over)
        transcript = streamd(tmp_path, "export", "default", "--format", "jsonl").stdout.splitlines()
    assert_nothing_lost(reader, fresh)
    assert transcript == kept(reader)
    rescued, gap = [Event.parse(text).body for text in kept(reader)[before : before + 2]]
    assert isinstance(rescued, Final)
    assert (rescued.utterance, rescued.text, rescued.fallback) == (
        interrupted.utterance,
        committed([interrupted]),
        True,
    )
    assert committed(seen).startswith(rescued.text)
    assert isinstance(gap, Gap)
    assert gap.reason == "restart"
    assert rescued.end_ms <= gap.start_ms < gap.end_ms <= reader.finals[-1].start_ms
    assert word_error_rate(JFK.text, " ".join(reader.texts[before + 1 :])) <= 0.35


async def test_a_final_that_was_just_seen_survives_a_kill(tmp_path: Path) -> None:
    reader = Client()
    with Daemon(tmp_path, "--source", "none", *SCRIPTED) as daemon:
        for life in range(1, 5):
            daemon.start()
            async with reading(daemon, reader=reader), speaking(daemon) as speaker:
                await speaker.say(JFK.pcm.tobytes() * 2)
                await reader.until_finals(len(reader.finals) + life)
                daemon.kill()
        daemon.start()
        async with reading(daemon, reader=reader), reading(daemon) as fresh, speaking(daemon) as speaker:
            await speaker.say(JFK.pcm.tobytes())
            await speaker.end()
            await reader.until(lambda: reader.view.is_over)
            await fresh.until(lambda: fresh.view.is_over)
    assert len(reader.bodies(Gap)) == 4
    assert_nothing_lost(reader, fresh)


@pytest.mark.model
async def test_stopping_finishes_what_is_being_said(tmp_path: Path, tiny_en: Path) -> None:
    with Daemon(tmp_path, "--source", JFK.path, model=tiny_en) as daemon:
        daemon.start(ready=False)
        async with reading(daemon) as reader, speaking(daemon, "other") as speaker:
            await speaker.say(READ.pcm.tobytes()[: 3 * 32_000])
            await reader.until(lambda: reader.bodies(Partial))
            await speaker.until(lambda: speaker.bodies(Partial))
            daemon.signal(signal.SIGTERM)
            assert await reader.until_closed() == await speaker.until_closed() == 1001
        assert daemon.wait() == 0
    for client in (reader, speaker):
        assert "stopping" in [status.state for status in client.bodies(Status)]
        last = client.bodies(Partial)[-1]
        assert client.finals[-1].utterance == last.utterance
        assert client.finals[-1].text.startswith(committed([last]))
        assert not client.finals[-1].fallback
    assert word_error_rate(READ.text, speaker.texts[0]) < 1


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with Gate(tmp_path / "gate") as gate:
        yield gate


def held(gate: Gate, call: int) -> tuple[str | Path, ...]:
    """Arguments for a daemon whose engine hangs in this call (0: while it loads), and that waits for it."""
    script = gate.path.with_suffix(".json")
    script.write_text(json.dumps({"faults": [{"call": call, "kind": "wait", "path": str(gate.path)}]}))
    sets = (f"engines.scripted.script={script}", f"server.drain_s={LAST_WORDS_S}", f"engines.deadline_s={LAST_WORDS_S}")
    return *SCRIPTED, *(part for each in sets for part in ("--set", each))


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_signal_ends_at_once(tmp_path: Path, gate: Gate, second: signal.Signals) -> None:
    with Daemon(tmp_path, "--source", "none", *held(gate, 1)) as daemon:
        daemon.start()
        async with speaking(daemon) as speaker:
            await speaker.say(JFK.pcm.tobytes())
            await gate.reached()
            daemon.signal(signal.SIGTERM)
            daemon.until_logged("stopping: what was said is being finished")
            daemon.signal(second)
            assert daemon.wait() in (-second, 128 + second)
    assert "Traceback" not in daemon.log


async def test_stopping_while_the_engine_loads_waits_for_nothing(tmp_path: Path, gate: Gate) -> None:
    with Daemon(tmp_path, "--source", JFK.path, "--fast", *held(gate, 0)) as daemon:
        daemon.start(ready=False)
        await gate.reached()
        async with reading(daemon) as reader:
            await until(lambda: daemon.get("/v1/sessions").json()["sessions"][0]["audio_ms"] > 10_000)
            daemon.signal(signal.SIGTERM)
            assert await reader.until_closed() == 1001
        assert daemon.wait() == 0
    assert [(final.text, final.fallback) for final in reader.finals] == [("", True)] * len(reader.finals) != []
    assert {gap.reason for gap in reader.bodies(Gap)} == {"engine"}


@pytest.mark.model
async def test_a_worker_that_is_killed_is_not_missed(tmp_path: Path, tiny_en: Path) -> None:
    async def read(speaker: Speaker, *, kill: bool) -> list[str]:
        """One partial after 5 s and one final: what is recognised does not depend on timing."""
        sound = READ.pcm.tobytes()
        await speaker.say(sound[: 6 * 32_000])
        await speaker.until(lambda: speaker.bodies(Partial))
        if kill:
            for worker in daemon.workers():
                os.kill(worker, signal.SIGKILL)
        await speaker.say(sound[6 * 32_000 :])
        await speaker.end()
        return speaker.texts

    with Daemon(tmp_path, "--source", "none", "--set", "pipeline.recognise.partial_ms=5000", model=tiny_en) as daemon:
        daemon.start()
        async with speaking(daemon, "calm") as speaker:
            expected = await read(speaker, kill=False)
        async with speaking(daemon, "killed") as speaker:
            assert await read(speaker, kill=True) == expected
        assert daemon.metric("streamd_respawns_total") == 1
        assert len(daemon.workers()) == 1
        assert speaker.bodies(Gap) == []
    assert word_error_rate(READ.text, " ".join(expected)) <= 0.25
