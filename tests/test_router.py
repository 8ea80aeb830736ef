"""Two engines as one recogniser: here on a clock that the test moves, and in real workers, really killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from streamd.bridge import EngineFailed, EngineHost, keeper
from streamd.core.events import Final, Partial, Status
from streamd.core.log import Log
from streamd.core.route import Role, Rules, State
from streamd.engines.base import Context, EngineSpec, Hypothesis, HypothesisWord
from streamd.errors import UnavailableError
from streamd.metrics import Metrics
from streamd.router import OnChange, Outlook, Router
from streamd.session import Session
from streamd.settings import EndpointStage, Pipeline, RecogniseStage, Settings
from streamd.sources import Chunk
from tests.gate import PATIENCE_S
from tests.parts import finals, gaps, until
from tests.parts import speech as recorded
from tests.speech import recording as spoken
from tests.speech import word_error_rate

S, L = Role.SHORT, Role.LONG
SECOND = bytes(32_000)


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Engine:
    """An engine host without a process. A call takes `took_s` of the clock."""

    def __init__(self, name: str, clock: Clock, on_change: OnChange) -> None:
        self.name = name
        self.state: State = "starting"
        self.detail = f"loading {name}"
        self.took_s = 0.1
        self.failing = False  # to answer
        self.missing = ""  # why it can't be loaded
        self.calls: list[tuple[str, float, str]] = []  # utterance, seconds of sound, what it must begin with
        self.forgotten: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._clock = clock
        self._on_change = on_change

    def become(self, state: State, detail: str = "") -> None:
        self.state, self.detail = (
            state,
            detail or ("was killed" if state == "respawning" else f"{self.name} is {state}"),
        )
        self._on_change(state, self.detail)

    async def start(self) -> None:
        if self.missing:
            self.become("failed", self.missing)
            raise UnavailableError(self.missing)
        self.become("ready")

    async def close(self) -> None:
        self.become("closed")

    async def advance(self, utterance_id: str, pcm: bytes, last: bool, context: Context) -> Hypothesis:
        self.calls.append((utterance_id, len(pcm) / 32_000, context.committed))
        await self.may_answer.wait()
        self._clock.now_s += self.took_s
        if self.failing:
            raise EngineFailed(f"{self.name} gave up")
        return Hypothesis((HypothesisWord(f" {self.name}", 0.0, 0.1, 0.9),), self.name)

    async def forget(self, utterance_id: str) -> None:
        self.forgotten.append(utterance_id)


class Pair:
    """A router of two engines, and one session's route."""

    def __init__(self, *roles: Role, **options: Any) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.changes = 0
        self.engines: dict[Role, Engine] = {}
        self.router = Router(
            {role: self._maker(role) for role in roles or (S, L)},
            self.metrics,
            on_change=self._changed,
            clock=self.clock,
            **options,
        )
        self.route = self.router.session("room")

    @property
    def short(self) -> Engine:
        return self.engines[S]

    @property
    def long(self) -> Engine:
        return self.engines[L]

    async def say(self, utterance: int, seconds: float = 1.0, *, last: bool = False, **context: Any) -> Hypothesis:
        pcm = bytes(2 * round(16_000 * seconds))
        return await self.route.advance(f"room/{utterance}", pcm, last, Context(start_s=100.0 * utterance, **context))

    def switches(self, engine: str, reason: str) -> float | None:
        labels = {"engine": engine, "reason": reason}
        return self.metrics.registry.get_sample_value("streamd_switches_total", labels)

    def _maker(self, role: Role) -> Callable[[OnChange], Engine]:
        def make(on_change: OnChange) -> Engine:
            self.engines[role] = Engine({S: "gemma", L: "whisper"}[role], self.clock, on_change)
            return self.engines[role]

        return make

    def _changed(self) -> None:
        self.changes += 1


async def started(*roles: Role, **options: Any) -> Pair:
    pair = Pair(*roles, **options)
    await pair.router.start()
    return pair


async def test_short_utterances_are_heard_by_the_engine_for_them() -> None:
    pair = await started()
    hypothesis = await pair.say(1)
    assert (hypothesis.engine, hypothesis.fallback, pair.long.calls) == ("gemma", False, [])
    assert (pair.route.name, pair.route.state, pair.route.note) == ("gemma", "ready", None)


async def test_one_engine_alone_hears_everything() -> None:
    pair = await started(L, wish=S)
    assert [(await pair.say(1, seconds)).engine for seconds in (1, 29)] == ["whisper", "whisper"]
    assert not (await pair.say(2)).fallback
    pair.long.failing = True
    with pytest.raises(EngineFailed, match="whisper gave up"):
        await pair.say(2, 2)
    pair.long.failing = False
    assert (await pair.say(2, 3)).engine == "whisper"


async def test_an_engine_that_gives_up_is_replaced_within_the_call() -> None:
    pair = await started()
    await pair.say(1, 1)
    pair.short.failing = True
    before = pair.changes
    hypothesis = await pair.say(1, 2, committed="gemma")
    assert (hypothesis.engine, hypothesis.fallback) == ("whisper", True)
    assert pair.long.calls == [("room/1", 2.0, "gemma")]
    assert pair.short.forgotten == ["room/1"]
    assert pair.route.note == "whisper instead of gemma, which failed: gemma gave up"
    assert (pair.changes, pair.switches("whisper", "failed")) == (before + 1, 1)
    pair.short.failing = False
    assert [(await pair.say(1, seconds)).engine for seconds in (3, 4)] == ["whisper"] * 2
    pair.clock.now_s += 29.0
    assert (await pair.say(2)).engine == "whisper"
    pair.clock.now_s += 1.0
    assert (await pair.say(3)).engine == "gemma"
    assert pair.route.note == "gemma hears short utterances"
    await pair.say(4)
    assert pair.route.note is None


async def test_nobody_answers() -> None:
    pair = await started()
    pair.short.failing = pair.long.failing = True
    with pytest.raises(EngineFailed, match="gemma gave up; whisper gave up"):
        await pair.say(1)
    pair.short.become("failed")
    pair.long.become("failed")
    assert (pair.route.name, pair.route.state) == ("gemma", "failed")
    assert pair.route.note == "gemma is failed; whisper is failed"
    with pytest.raises(EngineFailed, match="gemma is failed; whisper is failed"):
        await pair.say(1)
    pair.long.failing = False
    pair.long.become("ready")
    assert (await pair.say(1)).engine == "whisper"


async def test_a_call_is_moved_away_from_a_worker_that_is_gone() -> None:
    pair = await started()
    pair.short.may_answer.clear()
    call = asyncio.create_task(pair.say(1))
    await until(lambda: bool(pair.short.calls))
    pair.short.become("respawning")
    assert pair.route.note == "whisper until gemma is steady again: its worker was killed"
    hypothesis = await call
    assert (hypothesis.engine, hypothesis.fallback, pair.switches("whisper", "lost")) == ("whisper", True, 1)


async def test_a_call_is_moved_once_and_no_more() -> None:
    pair = await started()
    pair.short.may_answer.clear()
    pair.long.may_answer.clear()
    call = asyncio.create_task(pair.say(1))
    await until(lambda: bool(pair.short.calls))
    pair.short.become("respawning")
    await until(lambda: bool(pair.long.calls))
    pair.short.become("ready")
    pair.long.become("respawning")
    await until(lambda: len(pair.short.calls) == 2)
    pair.short.become("respawning")
    pair.long.become("ready")
    pair.short.become("ready")
    pair.short.may_answer.set()
    assert (await call).engine == "gemma"
    assert len(pair.long.calls) == 1


async def test_a_call_at_work_is_left_alone() -> None:
    """Whatever happens to the other engine."""
    pair = await started()
    pair.short.may_answer.clear()
    call = asyncio.create_task(pair.say(1))
    await until(lambda: bool(pair.short.calls))
    pair.long.become("respawning")
    pair.long.become("ready")
    pair.short.may_answer.set()
    assert (await call).engine == "gemma"


async def test_a_caller_that_is_cancelled_takes_its_call_with_it() -> None:
    pair = await started()
    pair.short.may_answer.clear()
    call = asyncio.create_task(pair.say(1))
    await until(lambda: bool(pair.short.calls))
    call.cancel()
    pair.short.become("respawning")
    with pytest.raises(asyncio.CancelledError):
        await call
    assert pair.long.calls == []


async def test_an_engine_that_can_t_keep_up_is_relieved_until_it_has_rested() -> None:
    pair = await started(rules=Rules(rest_s=120.0))
    pair.short.took_s = 3.0
    engines = [(await pair.say(1, seconds)).engine for seconds in (1, 4, 7)]
    assert engines == ["gemma", "whisper", "whisper"]
    assert pair.route.note == "whisper instead of gemma, which can't keep up"
    assert pair.switches("whisper", "slow") == 1
    pair.clock.now_s += 100.0
    assert (await pair.say(2)).engine == "whisper"
    pair.short.took_s = 0.3
    pair.clock.now_s += 20.0
    assert [(await pair.say(3, seconds)).engine for seconds in (1, 2)] == ["gemma", "gemma"]


async def test_sound_counts_for_the_engine_that_heard_it() -> None:
    """Also where another one is chosen while a call is under way."""
    pair = await started()
    pair.long.become("respawning")
    pair.short.took_s, pair.long.took_s = 8.0, 5.0
    await pair.say(1, 4)
    pair.short.may_answer.clear()
    call = asyncio.create_task(pair.say(1, 5))
    await until(lambda: len(pair.short.calls) == 2)
    pair.long.become("ready")
    pair.short.may_answer.set()
    assert (await call).engine == "gemma"
    assert pair.router.health(S, pair.clock()).speed == pytest.approx((0.8 * 8.0 + 8.0) / (0.8 * 4.0 + 1.0))
    assert (await pair.say(1, 10)).engine == "whisper"
    assert pair.router.health(L, pair.clock()).speed == 0.5


async def test_who_waits_for_finals_is_not_kept_waiting() -> None:
    pair = await started()
    pair.short.took_s = 0.7
    assert (await pair.say(1, 1)).engine == "gemma"
    assert (await pair.say(1, 2)).engine == "gemma"
    assert (await pair.say(1, 3, waiting=1)).engine == "whisper"


async def test_an_engine_is_measured_when_it_has_loaded(caplog: pytest.LogCaptureFixture) -> None:
    pair = Pair(sample=lambda: 3 * SECOND)
    pair.short.took_s = 0.8
    pair.short.may_answer.clear()
    start = asyncio.create_task(pair.router.start())
    await until(lambda: bool(pair.short.calls))
    assert (pair.route.name, pair.route.note) == ("whisper", "whisper until gemma has loaded")
    assert (await pair.say(1)).engine == "whisper"
    pair.short.may_answer.set()
    await start
    assert pair.short.calls == [("sample", seconds, "") for seconds in (1.0, 2.0, 3.0)]
    assert pair.route.note == "whisper instead of gemma, which can't keep up"  # before anybody says anything more
    assert "gemma takes 0.83 s (0.6 are too many) for a second of sound: whisper instead of gemma" in caplog.text
    pair.clock.now_s += 1_000.0
    assert (await pair.say(2)).engine == "whisper"
    assert pair.router.outlook().is_fallback


async def test_readers_are_not_told_of_loading_once_it_is_over() -> None:
    pair = Pair(sample=lambda: SECOND)
    await pair.long.start()
    await pair.say(1)
    assert pair.route.note == "whisper until gemma has loaded"
    await pair.router.start()
    assert pair.route.note == "whisper until gemma takes over"
    assert pair.router.outlook().told == "gemma takes 0.10 s for a second of sound: gemma hears short utterances"
    assert (await pair.say(2)).engine == "gemma"


@pytest.mark.parametrize("why", ["onnx/a.onnx is cut short", "x" * 1_000, "first\nsecond"])
async def test_who_has_spoken_is_told_why_an_engine_did_not_load(why: str) -> None:
    pair = Pair()
    pair.short.missing = why
    await pair.long.start()
    await pair.say(1)
    await pair.router.start()
    note = pair.route.note
    assert note is not None
    told = note.removeprefix("whisper instead of gemma, which failed: ")
    assert why.startswith(told.removesuffix("…"))
    assert 5 <= len(told) <= 160
    assert "\n" not in note


async def test_an_engine_that_was_wanted_and_can_not_even_be_tried_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    pair = await started(L, without="model.onnx is cut short")
    assert caplog.messages == ["whisper hears everything: model.onnx is cut short"]
    assert pair.route.note == "whisper hears everything: model.onnx is cut short"
    assert (await pair.say(1)).fallback
    assert pair.router.outlook() == Outlook("whisper hears everything: model.onnx is cut short", is_fallback=True)


async def test_an_engine_that_the_pipeline_names_must_load() -> None:
    pair = Pair(wish=S)
    pair.short.missing = "there is no gemma"
    with pytest.raises(UnavailableError, match=r"^there is no gemma$"):
        async with pair.router:
            pass
    assert (pair.short.state, pair.long.state) == ("closed", "closed")
    pair = Pair(wish=S)
    pair.long.missing = "there is no whisper"
    async with pair.router:
        assert (await pair.say(1)).engine == "gemma"


async def test_why_another_engine_hears_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "streamd.router")
    pair = await started()
    await pair.say(1)
    assert caplog.messages == []
    pair.short.become("respawning")
    for second in (2, 3):
        await pair.say(1, second)
    note = "whisper until gemma is steady again: its worker was killed"
    assert caplog.messages == [f"engine session=room: {note}"]
    pair.short.become("failed")
    await pair.say(1, 4)
    assert caplog.messages[1:] == ["engine session=room: whisper instead of gemma, which failed: gemma is failed"]


async def test_an_engine_that_fails_its_sample_has_yet_to_prove_itself() -> None:
    pair = Pair(sample=lambda: SECOND)
    pair.short.failing = True
    await pair.router.start()
    pair.short.failing = False
    assert (await pair.say(1)).engine == "whisper"
    pair.clock.now_s += 30.0
    assert (await pair.say(2)).engine == "gemma"


async def test_the_daemon_starts_with_what_can_be_loaded(caplog: pytest.LogCaptureFixture) -> None:
    for missing, other in ((S, "whisper"), (L, "gemma")):
        pair = Pair()
        pair.engines[missing].missing = f"there is no {pair.engines[missing].name}"
        await pair.router.start()
        assert f"{other} hears everything: there is no {pair.engines[missing].name}" in caplog.text
        assert (pair.router.state, pair.router.name) == ("ready", other)
        hypothesis = await pair.say(1)
        assert (hypothesis.engine, hypothesis.fallback) == (other, missing is S)


async def test_nothing_can_be_loaded() -> None:
    pair = Pair()
    pair.short.missing, pair.long.missing = "there is no gemma", "there is no whisper"
    with pytest.raises(UnavailableError, match="there is no whisper; there is no gemma"):
        await pair.router.start()
    alone = Pair(L)
    alone.long.missing = "there is no whisper"
    with pytest.raises(UnavailableError, match=r"^there is no whisper$"):
        await alone.router.start()


async def test_a_call_waits_for_the_engine_that_loads_first() -> None:
    pair = Pair()
    pair.short.may_answer.clear()
    call = asyncio.create_task(pair.say(1))
    await until(lambda: bool(pair.short.calls))
    assert (pair.route.state, pair.router.state) == ("starting", "starting")
    await pair.long.start()
    assert (await call).engine == "whisper"


async def test_every_session_has_a_route_of_its_own() -> None:
    pair = await started()
    other = pair.router.session("hall")
    assert (await pair.say(1, 28)).engine == "whisper"
    assert (await other.advance("hall/1", SECOND, True, Context())).engine == "gemma"
    await pair.route.forget("room/1")
    assert pair.long.forgotten == ["room/1"]


async def test_all_engines_are_closed() -> None:
    pair = Pair()
    async with pair.router as router:
        assert router.state == "ready"
    assert pair.router.state == "closed"


# --- real workers ---

WORDS = 100


@pytest.fixture(autouse=True)
def recording() -> None:
    """Read from disk before the loop runs."""
    recorded()


def words(letter: str, **options: object) -> EngineSpec:
    """An engine of its own words, a new one every 0.4 s: a0 a1 a2 …"""
    times = [(round(0.4 * n, 1), round(0.4 * (n + 1), 1)) for n in range(WORDS)]
    spoken = [{"text": f" {letter}{n}", "start_s": start, "end_s": end} for n, (start, end) in enumerate(times)]
    return EngineSpec("scripted", {"name": letter, "utterances": [{"words": spoken}], **options})


class Stage:
    """A session whose two engines live in workers, and somebody who speaks at the pace at which they follow."""

    def __init__(self, short: EngineSpec, long: EngineSpec) -> None:
        self.clock = Clock()
        self.hosts: dict[str, EngineHost] = {}
        self.metrics = Metrics()
        endpoint = EndpointStage(hangover_ms=5_000, soft_max_s=25.0)
        recognise = RecogniseStage(language="en")
        settings = Settings(pipeline=Pipeline(endpoint=endpoint, recognise=recognise))
        self.router = Router(
            {S: self._maker("a", short), L: self._maker("b", long)},
            self.metrics,
            on_change=lambda: self.session.show(),
            clock=self.clock,
        )
        self.session = Session(Log("room", "e"), self.router.session("room"), settings, self.metrics)
        self.told: list[Status | Partial | Final] = []

    def _maker(self, name: str, spec: EngineSpec) -> Callable[[OnChange], EngineHost]:
        def make(on_change: OnChange) -> EngineHost:
            self.hosts[name] = EngineHost(
                spec, deadline_s=PATIENCE_S, start_deadline_s=PATIENCE_S, retry_s=0.0, on_change=on_change
            )
            return self.hosts[name]

        return make

    async def listen(self) -> None:
        seq = 0
        while True:
            await self.session.wait_newer(seq)
            bodies = [event.body for event in self.session.log.since(seq)]
            self.told += [body for body in bodies if isinstance(body, Status | Partial | Final)]
            seq = self.session.log.newest

    async def kill_once(self, name: str) -> None:
        """SIGKILL for the worker of an engine."""
        host = self.hosts[name]
        assert host.pid
        os.kill(host.pid, signal.SIGKILL)
        await until(lambda: host.pid is None)

    async def kill(self, name: str) -> None:
        """SIGKILL for every worker of an engine, until it has failed for good."""
        host = self.hosts[name]
        while host.state != "failed":
            if host.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(host.pid, signal.SIGKILL)
            await asyncio.sleep(0)

    @property
    def announcements(self) -> list[tuple[str | None, str | None]]:
        """Engine and detail of every status, without repetitions."""
        found = [(body.engine, body.detail) for body in self.told if isinstance(body, Status)]
        return [each for number, each in enumerate(found) if number == 0 or found[number - 1] != each]

    def is_whole(self, final: Final) -> bool:
        """No word is missing and none is there twice, and what was shown for good stays."""
        numbers = [int(number) for number in re.findall(r"[ab](\d+)", final.text)]
        shown = [body for body in self.told if isinstance(body, Partial) and body.utterance == final.utterance]
        count = -(-(final.end_ms - final.start_ms) // 400)
        stays = all(final.text.startswith(partial.text[: partial.committed]) for partial in shown)
        return numbers == list(range(count)) and stays and bool(shown)


class Speaker:
    """A recording, over and over; after each second it waits until that was recognised. `cues`: what to do then."""

    live = False
    name = "speaker"

    def __init__(self, stage: Stage, seconds: int, cues: dict[int, Callable[[], Any]] | None = None) -> None:
        self._stage = stage
        self._seconds = seconds
        self._cues = cues or {}

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        sound = b"".join(chunk for chunk in recorded() if isinstance(chunk, bytes))
        for second in range(self._seconds):
            at = second % 11 * len(SECOND)
            yield sound[at : at + len(SECOND)]
            await until(lambda: self._stage.session.status().lag_ms < 300)
            if cue := self._cues.get(second + 1):
                await cue()


@contextlib.asynccontextmanager
async def staged(short: EngineSpec | None = None, long: EngineSpec | None = None) -> AsyncIterator[Stage]:
    stage = Stage(short or words("a"), long or words("b"))
    async with asyncio.timeout(PATIENCE_S), stage.router:
        tasks = [asyncio.create_task(stage.session.run()), asyncio.create_task(stage.listen())]
        try:
            yield stage
            await until(lambda: stage.session.log.newest == 0 or bool(stage.told))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def test_speech_without_a_pause_is_handed_over_after_28_seconds() -> None:
    async with staged() as stage:
        await stage.session.hear(Speaker(stage, 34))
        first, second = finals(stage.session.log)
    assert (first.engine, first.fallback, second.engine, second.fallback) == ("a", False, "b", False)
    assert stage.is_whole(first)
    assert stage.is_whole(second)
    assert re.match(r"(a\d+ )+(b\d+ ?)+$", second.text)
    assert ("b", "b hears long speech without a pause") in stage.announcements
    assert gaps(stage.session.log) == []


async def test_an_engine_whose_workers_are_killed_is_replaced_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "BACKOFF_S", 0.0)
    monkeypatch.setattr(keeper, "MAX_BARREN", 1)
    async with staged() as stage:
        await stage.session.hear(Speaker(stage, 8, {3: lambda: stage.kill("a")}))
        (final,) = finals(stage.session.log)
        assert (final.engine, final.fallback) == ("b", True)
        assert stage.is_whole(final)
        assert re.match(r"(a\d+ )+(b\d+ ?)+$", final.text)
        assert ("b", "b until a is steady again: its worker was killed by SIGKILL") in stage.announcements
        assert any(
            "b instead of a, which failed: engine a failed 2 times" in (note or "") for _, note in stage.announcements
        )
        assert gaps(stage.session.log) == []
        await until(lambda: stage.hosts["a"].state == "ready")
        await stage.session.hear(Speaker(stage, 4))
        assert finals(stage.session.log)[-1].engine == "b"
        stage.clock.now_s += 30.0
        await stage.session.hear(Speaker(stage, 4))
        last = finals(stage.session.log)[-1]
        assert (last.engine, last.fallback, stage.is_whole(last)) == ("a", False, True)
    assert ("a", "a hears short utterances") in stage.announcements
    registry = stage.metrics.registry
    for engine, reason in (("b", "lost"), ("a", "short")):
        labels = {"engine": engine, "reason": reason}
        assert registry.get_sample_value("streamd_switches_total", labels) == 1


async def test_a_worker_that_dies_in_the_middle_of_a_call_is_replaced_by_the_other_engine() -> None:
    async with staged(words("a", faults=[{"call": 5, "kind": "exit"}])) as stage:
        await stage.session.hear(Speaker(stage, 8))
        (final,) = finals(stage.session.log)
    assert (final.engine, final.fallback) == ("b", True)
    assert stage.is_whole(final)


async def test_an_engine_that_dies_while_it_loads_leaves_everything_to_the_other() -> None:
    async with staged(words("a", faults=[{"call": 0, "kind": "exit"}])) as stage:
        await stage.session.hear(Speaker(stage, 4))
        (final,) = finals(stage.session.log)
    assert (final.engine, final.fallback) == ("b", True)
    assert "b instead of scripted, which failed: the worker" in (stage.announcements[-1][1] or "")


@pytest.mark.model
async def test_another_model_goes_on_in_the_middle_of_a_sentence(base: Path, tiny_en: Path) -> None:
    """On real speech nothing is lost or said twice, and what was shown for good stays."""
    larger, smaller = (EngineSpec("whisper", {"model_path": str(folder), "threads": 1}) for folder in (base, tiny_en))
    async with staged(larger, smaller) as stage:
        await stage.session.hear(Speaker(stage, 11, {5: lambda: stage.kill_once("a")}))
        (final,) = finals(stage.session.log)
    assert (final.engine, final.fallback) == ("whisper tiny.en int8", True)
    assert word_error_rate(spoken("jfk").text, final.text) < 0.2
    shown = [body for body in stage.told if isinstance(body, Partial)]
    assert max(partial.committed for partial in shown[:5]) > 0
    assert all(final.text.startswith(partial.text[: partial.committed]) for partial in shown)
