"""What every engine must do. Another one is another line in ENGINES."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from streamd.bridge import EngineHost
from streamd.core.audio import SAMPLE_RATE, Pcm
from streamd.engines.base import Context, Engine, EngineSpec, Hypothesis, UnknownUtterance
from streamd.engines.worker import build
from tests.gemma_data import MODEL
from tests.speech import recording

NOTHING = Context()
SLACK_S = 0.1  # by which a word may end beyond the sound
WORDS = [" go", " forward", " ten", " metres", " größer", " 你好"]


@dataclass(frozen=True, slots=True)
class Subject:
    """An engine under test."""

    spec: EngineSpec
    recognises: bool = True  # it hears words rather than lengths: silence has none


def counting(_: pytest.FixtureRequest) -> Subject:
    return Subject(EngineSpec("scripted", threads=2), recognises=False)


def scripted(_: pytest.FixtureRequest) -> Subject:
    words = [{"text": word, "start_s": 0.3 * n, "end_s": 0.3 * n + 0.2} for n, word in enumerate(WORDS)]
    return Subject(EngineSpec("scripted", {"utterances": [words]}, threads=2), recognises=False)


def whisper(request: pytest.FixtureRequest) -> Subject:
    options: dict[str, object] = {"model_path": str(request.getfixturevalue("tiny_en"))}
    return Subject(EngineSpec("whisper", options, threads=2))


def gemma(request: pytest.FixtureRequest) -> Subject:
    """With random weights: what it says is nonsense, but always the same. Tokens without a use are words here."""
    folder = request.getfixturevalue("tmp_path_factory").mktemp("gemma") / "model"
    shutil.copytree(MODEL, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    spelled = {name: name.replace("<unused", "\N{LOWER ONE EIGHTH BLOCK}word").rstrip(">") for name in vocabulary}
    tokenizer["model"]["vocab"] = {
        spelled[name] if name.startswith("<unused") else name: number for name, number in vocabulary.items()
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    options: dict[str, object] = {"model_path": str(folder), "threads": 1, "frames_per_call": 1}
    return Subject(EngineSpec("gemma", options, threads=2))


ENGINES: list[Callable[[pytest.FixtureRequest], Subject]] = [counting, scripted, whisper, gemma]


@pytest.fixture(
    scope="module",
    params=[pytest.param(make, marks=pytest.mark.model if make is whisper else ()) for make in ENGINES],
    ids=[make.__name__ for make in ENGINES],
)
def subject(request: pytest.FixtureRequest) -> Subject:
    make: Callable[[pytest.FixtureRequest], Subject] = request.param
    return make(request)


@pytest.fixture(scope="module")
def loaded(subject: Subject) -> Engine:
    engine = build(subject.spec)
    engine.warm_up()
    return engine


@pytest.fixture
def engine(loaded: Engine) -> Iterator[Engine]:
    yield loaded
    for name in ("u", "v"):
        loaded.forget(name)


@pytest.fixture(scope="module")
def speech() -> Pcm:
    return recording("goforward").pcm  # (n,)


def silence(seconds: float) -> Pcm:
    return np.zeros(round(SAMPLE_RATE * seconds), np.int16)


def hear(
    engine: Engine, pcm: Pcm, name: str = "u", *, first: bool = True, last: bool = False, context: Context = NOTHING
) -> Hypothesis:
    return engine.advance(name, pcm, last, context, first=first)


def unknown(engine: Engine, name: str = "u") -> bool:
    try:
        hear(engine, silence(0), name, first=False)
    except UnknownUtterance:
        return True
    return False


def check_shape(hypothesis: Hypothesis, engine: str, heard_samples: int) -> None:
    assert hypothesis.engine == engine
    assert hypothesis.covered_s == pytest.approx(heard_samples / SAMPLE_RATE, abs=SLACK_S)
    assert all(0 <= word.confidence <= 1 for word in hypothesis.words)
    assert all(0 <= word.start_s <= word.end_s <= hypothesis.covered_s + SLACK_S for word in hypothesis.words)
    assert all(earlier.start_s <= later.start_s for earlier, later in pairwise(hypothesis.words))
    assert all(word.text.strip() for word in hypothesis.words)
    assert all(took_ms >= 0 for took_ms in hypothesis.timings_ms.values())


def check_same(one: Hypothesis, other: Hypothesis) -> None:
    """The same words. Sums of floats in another order make a little difference in what is known about them."""
    assert [word.text for word in one.words] == [word.text for word in other.words]
    for field in ("start_s", "end_s", "confidence"):
        values = [getattr(word, field) for word in other.words]
        assert [getattr(word, field) for word in one.words] == pytest.approx(values, abs=0.1)


def test_words_times_and_confidence(engine: Engine, speech: Pcm) -> None:
    hypothesis = hear(engine, speech, last=True)
    check_shape(hypothesis, engine.name, len(speech))
    assert len(hypothesis.words) >= 3


@pytest.mark.parametrize("seed", range(3))
def test_any_increments_give_the_same_final(engine: Engine, speech: Pcm, seed: int) -> None:
    whole = hear(engine, speech, last=True)
    cuts = sorted(random.Random(seed).sample(range(len(speech)), 3))
    parts = np.split(speech, cuts)
    hypothesis = hear(engine, parts[0])
    for number, part in enumerate(parts[1:], 1):
        check_shape(hypothesis, engine.name, sum(map(len, parts[:number])))
        hypothesis = hear(engine, part, first=False, last=number == len(cuts))
    check_same(hypothesis, whole)


def test_no_new_sound_changes_nothing(engine: Engine, speech: Pcm) -> None:
    before = hear(engine, speech)
    after = hear(engine, silence(0), first=False)
    check_same(after, before)
    assert after.covered_s == before.covered_s


def test_first_starts_the_utterance_afresh(engine: Engine, speech: Pcm) -> None:
    hear(engine, speech[::-1].copy())
    again = hear(engine, speech, last=True)
    check_same(again, hear(engine, speech, "v", last=True))


def test_an_utterance_is_known_from_first_to_last(engine: Engine) -> None:
    assert unknown(engine)
    hear(engine, silence(0.5))
    assert not unknown(engine)
    hear(engine, silence(0.5), first=False, last=True)
    assert unknown(engine)


def test_forgetting(engine: Engine) -> None:
    hear(engine, silence(0.5))
    hear(engine, silence(0.5), "v")
    engine.forget("u")
    engine.forget("u")
    assert unknown(engine)
    assert not unknown(engine, "v")


@pytest.mark.parametrize("samples", [0, 1, 159, 401])
@pytest.mark.parametrize("last", [False, True])
def test_hardly_any_sound(engine: Engine, speech: Pcm, samples: int, last: bool) -> None:
    middle = len(speech) // 2
    check_shape(hear(engine, speech[middle : middle + samples], last=last), engine.name, samples)


def test_it_begins_with_what_was_shown_for_good(engine: Engine, speech: Pcm) -> None:
    guess = hear(engine, speech).text
    committed = " ".join(guess.split()[:2])
    hypothesis = hear(engine, silence(0), first=False, last=True, context=Context(committed=committed))
    check_shape(hypothesis, engine.name, len(speech))
    assert hypothesis.text.startswith(committed)
    assert len(hypothesis.words) > 2


@pytest.mark.parametrize("committed", ["Grüß Gott, Žižek.", "你好", "Go backward", "…"])
def test_also_if_that_was_something_else(engine: Engine, speech: Pcm, committed: str) -> None:
    context = Context(committed, "Ça va ? — 元気です。", "en", ("Þórr", "naïve"))
    hypothesis = hear(engine, speech, last=True, context=context)
    check_shape(hypothesis, engine.name, len(speech))
    assert hypothesis.text.startswith(committed)


def test_different_utterances_may_overlap(engine: Engine, speech: Pcm) -> None:
    alone = hear(engine, speech, last=True)
    both = threading.Barrier(2)
    half = len(speech) // 2

    def speak(name: str) -> Hypothesis:
        both.wait()
        hear(engine, speech[:half], name)
        both.wait()
        return hear(engine, speech[half:], name, first=False, last=True)

    with ThreadPoolExecutor(2) as pool:
        for hypothesis in pool.map(speak, "uv"):
            check_same(hypothesis, alone)


@pytest.mark.parametrize("last", [False, True])
def test_silence_has_no_words(subject: Subject, engine: Engine, last: bool) -> None:
    """Except for an engine that hears nothing but lengths."""
    noise = np.random.default_rng(7).normal(0, 12, 2 * SAMPLE_RATE).astype(np.int16)
    for nothing in (silence(2), noise):
        assert (hear(engine, nothing, last=last).words == ()) is subject.recognises


@pytest.mark.parametrize("in_a_call", [False, True])
async def test_a_worker_that_is_killed_is_not_noticed(subject: Subject, speech: Pcm, in_a_call: bool) -> None:
    pcm = speech.tobytes()
    async with EngineHost(subject.spec, deadline_s=60, start_deadline_s=60) as host:
        expected = await host.advance("whole", pcm, True, NOTHING)
        await host.advance("u", pcm[: len(pcm) // 4 * 2], False, NOTHING)
        assert host.pid
        worker = host.pid
        if in_a_call:
            final = asyncio.create_task(host.advance("u", pcm, True, NOTHING))
            await asyncio.sleep(0)  # it is on its way to the worker
            os.kill(worker, signal.SIGKILL)
        else:
            os.kill(worker, signal.SIGKILL)
            final = asyncio.create_task(host.advance("u", pcm, True, NOTHING))
        hypothesis = await final
        check_same(hypothesis, expected)
        check_shape(hypothesis, host.name, len(speech))
        again = await host.advance("u", pcm, True, NOTHING)  # a quick answer may have come before the signal
        check_same(again, expected)
        assert host.pid != worker
