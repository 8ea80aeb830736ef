"""Captions through Gemma, from socket to socket. Its weights are random: the words are nonsense, the way is real."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streamd.core.audio import SAMPLE_RATE
from streamd.core.events import Final, Gap, Partial
from tests.e2e.clients import Speaker, reading, speaking
from tests.e2e.daemon import WHOLE, Daemon, streamd
from tests.gemma_data import MODEL
from tests.speech import recording

GEMMA = (
    *("--set", "pipeline.recognise.engine=gemma", "--set", f"engines.gemma.model={MODEL}"),
    *("--set", "engines.gemma.threads=1", "--set", "engines.gemma.frames_per_call=1"),
)
SPEECH = recording("jfk").pcm.tobytes()
PAUSE = np.zeros(SAMPLE_RATE, np.int16).tobytes()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("gemma"), "--source", "none", *GEMMA) as daemon:
        daemon.start(ready=False)
        yield daemon


async def partials(speaker: Speaker, count: int) -> None:
    """So many, or finals: nonsense may be empty, and then there is none to be told."""
    await speaker.until(lambda: len(speaker.bodies(Partial)) + len(speaker.finals) >= count)


def check(speaker: Speaker) -> None:
    """What was committed stayed, every utterance has its final, and each says who heard it."""
    texts = {final.utterance: final.text for final in speaker.finals}
    for partial in speaker.bodies(Partial):
        assert texts[partial.utterance].startswith(partial.text[: partial.committed])
    assert {final.engine for final in speaker.finals} == {"gemma model fp32"}
    assert speaker.bodies(Gap) == []
    for final in speaker.finals:
        times = [time for word in final.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert all(final.start_ms <= time <= final.end_ms for time in times)


async def test_sound_goes_in_and_captions_come_out(daemon: Daemon) -> None:
    async with speaking(daemon, "talk") as speaker:
        await speaker.say(SPEECH[: len(SPEECH) // 2])
        await partials(speaker, 1)
        async with reading(daemon, "talk") as reader:
            await speaker.say(SPEECH[len(SPEECH) // 2 :] + PAUSE)
            await speaker.end()
            await reader.until(lambda: reader.view.ended)
    check(speaker)
    assert any(final.text for final in speaker.finals)
    assert reader.texts == speaker.texts


async def test_the_same_sound_gives_the_same_captions(tmp_path: Path) -> None:
    """Without partials: what is committed of them depends on when they were made, and finals begin with it."""
    heard: list[list[Final]] = []
    with Daemon(tmp_path, "--source", "none", *GEMMA, *WHOLE) as daemon:
        daemon.start(ready=False)
        for name in ("once", "again"):
            async with speaking(daemon, name) as speaker:
                await speaker.say(SPEECH + PAUSE, (640, 1_333) if name == "once" else (len(SPEECH),))
                await speaker.end()
            heard.append(speaker.finals)
    first, second = ([(final.text, final.start_ms, final.end_ms) for final in finals] for finals in heard)
    assert first == second


async def test_a_worker_that_is_killed_costs_nothing_but_time(daemon: Daemon) -> None:
    async with speaking(daemon, "kill") as speaker:
        await speaker.say(SPEECH[: len(SPEECH) // 2])
        await partials(speaker, 1)
        (worker,) = daemon.workers()
        os.kill(worker, signal.SIGKILL)
        await speaker.say(SPEECH[len(SPEECH) // 2 :] + PAUSE)
        await speaker.end()
    check(speaker)
    assert daemon.workers() != [worker]


def test_a_folder_without_a_graph_ends_the_start_with_its_name(tmp_path: Path) -> None:
    done = streamd(tmp_path, "transcribe", recording("jfk").path, *GEMMA, "--set", f"engines.gemma.model={tmp_path}")
    assert done.returncode == 69
    assert "config.json is missing" in done.stderr
