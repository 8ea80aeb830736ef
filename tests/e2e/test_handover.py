"""Gemma and Whisper in one daemon. The Gemma is tiny, with random weights: its words are nonsense, the way is real."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamd.core.events import Gap, Partial, Status
from tests.e2e.clients import Speaker, speaking
from tests.e2e.daemon import Daemon
from tests.gemma_data import MODEL
from tests.speech import recording

pytestmark = pytest.mark.model

JFK = recording("jfk")
SECOND = 32_000  # bytes
GEMMA, WHISPER = "gemma model fp32", "whisper tiny.en int8"
BEHIND_MS = 10_000  # what a split leaves to the next utterance waits for more sound before it is heard


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[Daemon]:
    """A daemon that has both engines. Pauses of the recording end no utterance, and engines come back at once."""
    keys = {
        "engines.gemma.model": MODEL,
        "pipeline.endpoint.hangover_ms": 5_000,
        "pipeline.endpoint.soft_max_s": 25.0,
        "pipeline.route.settle_s": 0.0,
        "pipeline.recognise.language": "en",
    }
    sets = [f"--set={key}={value}" for key, value in keys.items()]
    with Daemon(tmp_path_factory.mktemp("room"), "--source", "none", *sets, model=tiny_en) as daemon:
        daemon.start()
        daemon.until_logged("a second of sound")
        yield daemon


async def say(room: Daemon, session: str, speaker: Speaker, seconds: range) -> None:
    """Some seconds of speech without end, no faster than it is recognised."""
    sound = JFK.pcm.tobytes()[: 11 * SECOND]
    for second in seconds:
        start = second % 11 * SECOND
        await speaker.say(sound[start : start + SECOND])
        while not await asyncio.to_thread(is_heard, room, session, second + 1):
            pass


def is_heard(room: Daemon, session: str, seconds: int) -> bool:
    """Whether so much sound has come in, and next to nothing of it is still to be recognised."""
    states = {state["name"]: state for state in room.get("/v1/sessions").json()["sessions"]}
    if session not in states:  # it opens a moment after the connection
        return False
    return bool(states[session]["audio_ms"] >= 1_000 * seconds - 40 and states[session]["lag_ms"] < BEHIND_MS)


def announced(speaker: Speaker) -> set[tuple[str | None, str | None]]:
    return {(status.engine, status.detail) for status in speaker.bodies(Status)}


def check_that_nothing_is_lost(speaker: Speaker) -> None:
    """What was shown for good stays, one utterance begins where the one before was split, and there is no gap."""
    assert speaker.bodies(Gap) == []
    for final in speaker.finals:
        shown = [body for body in speaker.bodies(Partial) if body.utterance == final.utterance]
        assert all(final.text.startswith(body.text[: body.committed]) for body in shown)
    for earlier, later in zip(speaker.finals, speaker.finals[1:], strict=False):
        assert earlier.end_ms == later.start_ms


def heard(speaker: Speaker) -> list[tuple[str, bool]]:
    """Who heard each utterance. How many there are is up to the nonsense: where no words come, a session splits."""
    return [(final.engine, final.fallback) for final in speaker.finals]


async def test_gemma_hears_short_utterances(room: Daemon) -> None:
    async with speaking(room, "short") as speaker:
        await say(room, "short", speaker, range(8))
        await speaker.end()
    assert set(heard(speaker)) == {(GEMMA, False)}
    check_that_nothing_is_lost(speaker)


async def test_speech_without_a_pause_is_handed_over_to_whisper_after_28_seconds(room: Daemon) -> None:
    async with speaking(room, "long") as speaker:
        await say(room, "long", speaker, range(33))
        await speaker.end()
    engines = heard(speaker)
    by_gemma = engines.count((GEMMA, False))
    assert engines == [(GEMMA, False)] * by_gemma + [(WHISPER, False)] * (len(engines) - by_gemma)
    assert 0 < by_gemma < len(engines)
    assert speaker.finals[by_gemma - 1].end_ms < 28_300 < speaker.finals[-1].end_ms
    assert (WHISPER, f"{WHISPER} hears long speech without a pause") in announced(speaker)
    check_that_nothing_is_lost(speaker)


async def test_whisper_goes_on_when_gemma_s_worker_is_killed_and_gemma_comes_back(room: Daemon) -> None:
    worker = int(room.until_logged(r"engine gemma .* in process (\d+)"))
    async with speaking(room, "killed") as speaker:
        await say(room, "killed", speaker, range(3))
        os.kill(worker, signal.SIGKILL)
        why = f"{WHISPER} until {GEMMA} is steady again: its worker was killed by SIGKILL"
        await speaker.until(lambda: (WHISPER, why) in announced(speaker))
        await say(room, "killed", speaker, range(3, 11))
        await speaker.end()
    assert (WHISPER, True) in heard(speaker)
    check_that_nothing_is_lost(speaker)
    assert room.metric("streamd_switches_total", engine=WHISPER, reason="lost") >= 1
    async with speaking(room, "back") as speaker:
        await speaker.until(lambda: any(status.engine == GEMMA for status in speaker.bodies(Status)))
        await say(room, "back", speaker, range(3))
        await speaker.end()
    assert set(heard(speaker)) == {(GEMMA, False)}
