"""Captions through Gemma, from socket to socket. Its weights are random: the words are nonsense, the way is real."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from streamd.core.audio import SAMPLE_RATE
from streamd.core.events import Final, Gap, Partial, Status
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


# Damage: how it is found out makes no difference ----------------------------------------------------------------------


def no_graph(folder: Path) -> str:
    (folder / "onnx" / "embed_tokens.onnx").unlink()
    return "a graph embed_tokens is missing"


def cut_short(folder: Path) -> str:
    os.truncate(folder / "onnx" / "decoder_model_merged.onnx_data", 1_000)
    return "decoder_model_merged.onnx_data is cut short"


def not_a_graph(folder: Path) -> str:
    """Of the right size: only loading shows it."""
    graph = folder / "onnx" / "decoder_model_merged.onnx"
    graph.write_bytes(bytes(graph.stat().st_size))
    return "decoder_model_merged.onnx does not load"


def no_numbers(folder: Path) -> str:
    weights = folder / "onnx" / "decoder_model_merged.onnx_data"
    weights.write_bytes(b"\xff" * weights.stat().st_size)
    return "gave no numbers"


def too_large(folder: Path) -> str:
    """Larger than any memory, and mostly holes."""
    os.truncate(folder / "onnx" / "embed_tokens.onnx_data", 1 << 40)
    return "GB of memory"


def damaged(folder: Path, damage: Callable[[Path], str]) -> tuple[Path, str]:
    shutil.copytree(MODEL, folder)
    (folder / "manifest.json").unlink()
    return folder, damage(folder)


@pytest.mark.parametrize("damage", [no_graph, cut_short, not_a_graph, no_numbers, too_large])
def test_a_gemma_that_is_asked_for_by_name_must_load(
    tmp_path: Path, tiny_en: Path, damage: Callable[[Path], str]
) -> None:
    folder, complaint = damaged(tmp_path / "damaged", damage)
    sets = ("--set", f"engines.gemma.model={folder}", "--set", f"engines.whisper.model={tiny_en}")
    done = streamd(tmp_path, "transcribe", recording("jfk").path, *GEMMA, *sets)
    assert (done.returncode, done.stdout) == (69, "")
    assert complaint in done.stderr


def test_a_daemon_that_has_begun_to_serve_ends_too(tmp_path: Path, tiny_en: Path) -> None:
    """Whisper could hear, but was not asked for."""
    folder, complaint = damaged(tmp_path / "damaged", no_numbers)
    sets = ("--set", f"engines.gemma.model={folder}", "--set", f"engines.whisper.model={tiny_en}")
    done = streamd(tmp_path, "run", "--source", "none", *GEMMA, *sets)
    assert done.returncode == 69
    assert complaint in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("damage", [cut_short, too_large])
async def test_otherwise_whisper_hears_and_readers_are_told_why(
    tmp_path: Path, tiny_en: Path, damage: Callable[[Path], str]
) -> None:
    folder, complaint = damaged(tmp_path / "damaged", damage)
    sets = ("--set", f"engines.gemma.model={folder}", "--set", "pipeline.recognise.language=en")
    with Daemon(tmp_path, "--source", "none", *sets, *WHOLE, model=tiny_en) as daemon:
        daemon.start()
        async with speaking(daemon, "talk") as speaker:
            await speaker.say(SPEECH + PAUSE)
            await speaker.until(lambda: any(complaint in (status.detail or "") for status in speaker.bodies(Status)))
            await speaker.end()
        (told,) = daemon.get("/v1/sessions").json()["sessions"][-1:]
    assert "country" in " ".join(final.text for final in speaker.finals)
    assert {final.fallback for final in speaker.finals} == {True}
    assert complaint in told["detail"]
