"""An engine that survives its process: real workers, really killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from streamd.bridge import EngineFailed, EngineHost, keeper, link
from streamd.core.tools.tool import Tool, ToolCall
from streamd.engines import pipe
from streamd.engines.base import Context, EngineSpec
from streamd.errors import UnavailableError
from streamd.metrics import Metrics
from tests.gate import PATIENCE_S, Gate

COUNTED = "one two three four five"


def sound(seconds: float) -> bytes:
    return bytes(2 * round(16_000 * seconds))


def host(options: dict[str, object] | None = None, *, threads: int = 1, **settings: Any) -> EngineHost:
    values = {"deadline_s": PATIENCE_S, "start_deadline_s": PATIENCE_S} | settings
    return EngineHost(EngineSpec("scripted", options or {}, threads), **values)


async def say(engine: EngineHost, seconds: float, name: str = "u", *, last: bool = False) -> str:
    return (await engine.advance(name, sound(seconds), last, Context())).text


def process(engine: EngineHost) -> psutil.Process:
    assert engine.pid
    return psutil.Process(engine.pid)


async def gone(*processes: psutil.Process) -> bool:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, PATIENCE_S)
    return not alive


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with Gate(tmp_path / "gate") as gate:
        yield gate


@pytest.fixture
def other_gate(tmp_path: Path) -> Iterator[Gate]:
    with Gate(tmp_path / "other_gate") as gate:
        yield gate


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = set(psutil.Process().children())
    yield
    assert set(psutil.Process().children()) <= before


class Changes(list[tuple[str, str]]):
    """What `on_change` was told, and a way to wait for it."""

    def __init__(self) -> None:
        self._news = asyncio.Condition()

    def __call__(self, state: str, detail: str) -> None:
        self.append((state, detail))
        self._task = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def until(self, state: str) -> str:
        """Wait for `state` to come after what was told before it. Returns its detail."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: self and self[-1][0] == state)
        return self[-1][1]


# what an utterance says


async def test_only_what_is_new_is_sent_and_callers_may_reuse_their_buffer() -> None:
    async with host() as engine:
        pcm = bytearray(sound(1))
        assert (await engine.advance("u", pcm, False, Context())).text == "one two"
        pcm += sound(1)
        hypothesis = await engine.advance("u", memoryview(pcm), True, Context())
        assert (hypothesis.text, hypothesis.covered_s) == (COUNTED, 2.0)
        assert (engine.name, engine.state, engine.respawns) == ("scripted", "ready", 0)


async def test_sound_that_was_taken_back_starts_the_utterance_afresh() -> None:
    async with host() as engine:
        assert await say(engine, 2) == COUNTED
        assert await say(engine, 1) == "one two"


async def test_a_name_can_be_used_again_after_the_last_call() -> None:
    async with host() as engine:
        assert await say(engine, 2, last=True) == COUNTED
        assert await say(engine, 1) == "one two"


async def test_half_a_sample_is_refused() -> None:
    async with host() as engine:
        with pytest.raises(ValueError, match="3 bytes"):
            await engine.advance("u", b"abc", False, Context())


async def test_more_sound_than_a_message_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    async with host() as engine:
        monkeypatch.setattr(pipe, "LIMIT_BYTES", 10_000)
        with pytest.raises(EngineFailed, match="longer than the pipe carries"):
            await say(engine, 1)


# workers that die


async def test_killed_between_two_calls() -> None:
    changes = Changes()
    async with host(on_change=changes) as engine:
        assert await say(engine, 1) == "one two"
        worker = process(engine)
        worker.kill()
        await changes.until("respawning")
        assert engine.pid is None
        assert await say(engine, 2, last=True) == COUNTED
        assert engine.respawns == 1
        assert engine.pid != worker.pid
        assert changes == [
            ("starting", "loading scripted"),
            ("ready", "scripted"),
            ("respawning", "was killed by SIGKILL"),
            ("ready", "scripted"),
        ]


async def test_killed_in_the_middle_of_a_call(gate: Gate) -> None:
    metrics = Metrics()
    async with host({"faults": [gate.fault("u")]}, metrics=metrics) as engine:
        final = asyncio.create_task(say(engine, 2, last=True))
        await gate.reached()
        process(engine).kill()
        (await gate.reached()).close()
        assert await final == COUNTED
        assert engine.respawns == 1
    registry = metrics.registry
    assert registry.get_sample_value("streamd_respawns_total", {"engine": "scripted"}) == 1
    calls = {"kind": "final", "outcome": "replayed"}
    assert registry.get_sample_value("streamd_engine_calls_total", calls) == 1
    for stage, number in (("queue", 2), ("engine_final", 1), ("decoder", 1)):
        assert registry.get_sample_value("streamd_stage_seconds_count", {"stage": stage}) == number


async def test_an_utterance_that_kills_its_worker_is_given_up_and_its_final_tried_once_more() -> None:
    metrics = Metrics()
    async with host({"faults": [{"utterance": "bad", "kind": "exit"}]}, metrics=metrics) as engine:
        with pytest.raises(EngineFailed, match="gave up on an utterance: the worker exited with code 70"):
            await say(engine, 1, "bad")
        assert await say(engine, 1, "good") == "one two"
        assert engine.respawns == 3
        with pytest.raises(EngineFailed):
            await say(engine, 1.5, "bad")
        assert engine.respawns == 3
        with pytest.raises(EngineFailed):
            await say(engine, 2, "bad", last=True)
        assert await say(engine, 2, "good") == COUNTED
        assert engine.respawns == 4
    calls = {"kind": "partial", "outcome": "died"}
    assert metrics.registry.get_sample_value("streamd_engine_calls_total", calls) == 1


async def test_a_final_may_succeed_where_a_partial_was_given_up() -> None:
    faults = [{"call": 1, "kind": "raise"}, {"call": 2, "kind": "raise"}, {"call": 3, "kind": "raise"}]
    async with host({"faults": faults}) as engine:
        with pytest.raises(EngineFailed, match="RuntimeError: the script says"):
            await say(engine, 1)
        assert await say(engine, 2, last=True) == COUNTED


async def test_a_call_beside_one_that_kills_its_worker(gate: Gate, other_gate: Gate) -> None:
    """Both are under way when the first worker dies. The good one is replayed alone and pays with one try only."""
    good, bad = gate, other_gate
    faults: list[object] = [good.fault("good"), bad.fault("bad"), {"utterance": "bad", "kind": "exit"}]
    async with host({"faults": faults}, threads=2) as engine:
        ends = asyncio.create_task(say(engine, 1, "bad")), asyncio.create_task(say(engine, 2, "good"))
        await good.reached()
        (await bad.reached()).close()
        (await bad.reached()).close()  # it came first, and is alone
        (await good.reached()).close()  # now it is this one's turn
        assert await ends[1] == COUNTED
        (await bad.reached()).close()
        with pytest.raises(EngineFailed):
            await ends[0]
        assert engine.respawns == 2


async def test_an_error_of_the_engine_is_tried_again_in_the_same_worker() -> None:
    async with host({"faults": [{"call": 2, "kind": "raise"}]}) as engine:
        assert await say(engine, 1) == "one two"
        pid = engine.pid
        assert await say(engine, 2) == COUNTED
        assert engine.pid == pid


async def test_an_utterance_that_the_engine_has_lost() -> None:
    """Somebody else closes the utterance in the worker, behind the host's back."""
    async with host() as engine:
        assert await say(engine, 1) == "one two"
        engine._free("u")
        assert await say(engine, 2) == COUNTED
        assert engine.respawns == 0


async def test_a_late_call_is_killed_and_replayed(tmp_path: Path) -> None:
    options: dict[str, object] = {"memory": str(tmp_path / "memory"), "faults": [{"call": 2, "kind": "hang"}]}
    async with host(options, deadline_s=2) as engine:
        worker = process(engine)
        assert await say(engine, 1) == "one two"
        assert await say(engine, 2, last=True) == COUNTED
        assert await gone(worker)
        assert engine.respawns == 1


async def test_a_call_that_is_always_late() -> None:
    metrics = Metrics()
    async with host({"faults": [{"call": 1, "kind": "hang"}]}, deadline_s=0.2, metrics=metrics) as engine:
        with pytest.raises(EngineFailed, match=r"took longer than 0\.2 s for a call"):
            await say(engine, 2, last=True)
    calls = {"kind": "final", "outcome": "deadline"}
    assert metrics.registry.get_sample_value("streamd_engine_calls_total", calls) == 1


# callers that leave


async def test_the_log_tells_what_an_engine_is_for_and_warns_of_what_is_wrong_only(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="streamd.bridge")
    async with host({"faults": [gate.fault("left")]}, task="the second pass") as engine:
        call = asyncio.create_task(say(engine, 1, "left"))
        await gate.reached()
        call.cancel()
        await asyncio.wait([call])
        assert await say(engine, 1, "right") == "one two"
        process(engine).kill()
        assert await say(engine, 2, "right") == COUNTED
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    gone = "the worker of engine scripted for the second pass is gone: it was killed"
    assert (told[0][0], told[0][1][:47]) == ("INFO", "engine scripted for the second pass is ready af")
    assert [level for level, text in told if text.startswith(gone)] == ["INFO", "WARNING"]


async def test_cancelled_means_killed_and_raised(gate: Gate) -> None:
    async with host({"faults": [gate.fault("left")]}, threads=2) as engine:
        assert await say(engine, 1, "other") == "one two"
        worker = process(engine)
        call = asyncio.create_task(say(engine, 1, "left"))
        await gate.reached()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await gone(worker)
        assert await say(engine, 2, "other") == COUNTED


async def test_others_do_not_notice_that_a_call_is_cancelled(gate: Gate, other_gate: Gate) -> None:
    left, stays = gate, other_gate
    async with host({"faults": [left.fault("left"), stays.fault("stays")]}, threads=2) as engine:
        calls = asyncio.create_task(say(engine, 1, "left")), asyncio.create_task(say(engine, 2, "stays"))
        await asyncio.gather(left.reached(), stays.reached())
        calls[0].cancel()
        (await stays.reached()).close()
        assert await calls[1] == COUNTED


async def test_cancelling_a_call_that_waits_costs_nothing(gate: Gate) -> None:
    async with host({"faults": [gate.fault("first")]}) as engine:
        first = asyncio.create_task(say(engine, 1, "first"))
        leave = await gate.reached()
        waiting = asyncio.create_task(say(engine, 1, "second", last=True))
        await asyncio.sleep(0)
        waiting.cancel()
        leave.close()
        assert await first == "one two"
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert engine.respawns == 0


async def test_forgetting() -> None:
    async with host() as engine:
        assert await say(engine, 1) == "one two"
        await engine.forget("u")
        await engine.forget("u")
        assert not engine._utterances
        assert await say(engine, 1) == "one two"


async def test_forgetting_waits_for_the_utterance_s_calls(gate: Gate) -> None:
    async with host({"faults": [gate.fault("u")]}) as engine:
        call = asyncio.create_task(say(engine, 1))
        leave = await gate.reached()
        forgetting = asyncio.create_task(engine.forget("u"))
        leave.close()
        assert await call == "one two"
        await forgetting
        assert not engine._utterances


# who goes first


async def test_finals_go_before_partials_and_drag_their_own_partial_along(gate: Gate) -> None:
    order: list[str] = []

    async def note(name: str, utterance: str, *, last: bool) -> None:
        await say(engine, 1, utterance, last=last)
        order.append(name)

    async with host({"faults": [gate.fault("busy")]}) as engine:
        tasks = [asyncio.create_task(note("busy", "busy", last=False))]
        leave = await gate.reached()
        calls = [("partial a", "a"), ("partial b", "b"), ("final b", "b"), ("final c", "c")]
        tasks += [asyncio.create_task(note(name, who, last=name.startswith("final"))) for name, who in calls]
        await asyncio.sleep(0)
        leave.close()
        await asyncio.gather(*tasks)
    assert order == ["busy", "partial b", "final c", "final b", "partial a"]


async def test_calls_of_one_utterance_never_overlap(gate: Gate) -> None:
    async with host({"faults": [gate.fault("u")]}, threads=2) as engine:
        partial = asyncio.create_task(say(engine, 1))
        leave = await gate.reached()
        final = asyncio.create_task(say(engine, 2, last=True))
        assert await say(engine, 1, "other") == "one two"
        assert not final.done()
        leave.close()
        assert await partial == "one two"
        assert await final == COUNTED


# starting and ending


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"script": "/nowhere/demo.toml"}, "/nowhere/demo.toml: the script can't be read"),
        ({"faults": [{"call": 0, "kind": "exit"}]}, "the worker exited with code 70 while it loaded the engine"),
        ({"faults": [{"call": 0, "kind": "raise"}]}, "engine scripted can't be loaded: RuntimeError"),
    ],
)
async def test_an_engine_that_does_not_load(options: dict[str, object], message: str) -> None:
    with pytest.raises(UnavailableError, match=message):
        await host(options).start()


async def test_an_engine_that_takes_too_long_to_load() -> None:
    with pytest.raises(UnavailableError, match=r"not ready after 0\.5 s: give it longer with engines.start_deadline_s"):
        await host({"faults": [{"call": 0, "kind": "hang"}]}, start_deadline_s=0.5).start()


async def test_an_engine_for_which_the_memory_does_not_suffice(gate: Gate) -> None:
    starting = asyncio.create_task(host({"faults": [gate.loading]}).start())
    await gate.reached()
    (worker,) = psutil.Process().children()
    worker.kill()
    with pytest.raises(UnavailableError, match="was killed by SIGKILL while it loaded the engine, as the system does"):
        await starting


async def test_a_start_that_is_cancelled(gate: Gate) -> None:
    starting = asyncio.create_task(host({"faults": [gate.loading]}).start())
    await gate.reached()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_system_without_room_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UnavailableError, match="no process can be started for engine scripted"):
        await host().start()


async def test_closing_ends_calls_and_the_worker(gate: Gate) -> None:
    changes = Changes()
    engine = host({"faults": [gate.fault("u")]}, on_change=changes)
    await engine.start()
    worker = process(engine)
    under_way, waiting = asyncio.create_task(say(engine, 1)), asyncio.create_task(say(engine, 1, "v"))
    await gate.reached()
    await engine.close()
    for call in (under_way, waiting):
        with pytest.raises(EngineFailed, match="the engine is closed"):
            await call
    with pytest.raises(EngineFailed, match="the engine is closed"):
        await say(engine, 1)
    assert not worker.is_running()
    assert changes[-1] == ("closed", "the engine is closed")


async def test_closing_what_never_started() -> None:
    await host().close()


async def test_closing_a_worker_that_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CLOSE_S", 0.1)
    async with host() as engine:
        worker = process(engine)
        worker.suspend()
    assert not worker.is_running()


async def test_an_engine_that_fails_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "BACKOFF_S", 0.001)
    monkeypatch.setattr(keeper, "MAX_BARREN", 2)
    script, changes = tmp_path / "demo.json", Changes()
    good, bad = '["hello"]', "["
    await asyncio.to_thread(script.write_text, good)
    async with host({"script": str(script)}, retry_s=0.05, on_change=changes) as engine:
        await asyncio.to_thread(script.write_text, bad)
        process(engine).kill()
        await changes.until("respawning")
        waiting = asyncio.create_task(say(engine, 1))
        detail = await changes.until("failed")
        assert "engine scripted failed 3 times in a row:" in detail
        assert "demo.json: not a script" in detail
        for call in (waiting, asyncio.create_task(say(engine, 1))):
            with pytest.raises(EngineFailed, match="times in a row"):
                await call
        await asyncio.to_thread(script.write_text, good)
        await changes.until("ready")
        assert await say(engine, 1, last=True) == "hello"


async def test_what_the_worker_is_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Thread counts, no stdin, stdout with stderr, and nothing that lies about in the working directory."""
    for module in ("numpy", "signal", "streamd"):
        (tmp_path / f"{module}.py").write_text("raise RuntimeError('not me')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    async with host() as engine:
        environment = await asyncio.to_thread(process(engine).environ)
        assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("1", "2")
        if sys.platform == "linux":
            stdin, stdout, stderr = await asyncio.to_thread(standard_files, engine.pid)
            assert stdin == Path("/dev/null")
            assert stdout == stderr


def standard_files(pid: int | None) -> list[Path]:
    return [Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)]


def test_on_uvloop(gate: Gate) -> None:
    async def scenario() -> None:
        async with host({"faults": [gate.fault("u")]}) as engine:
            call = asyncio.create_task(say(engine, 2, last=True))
            await gate.reached()
            process(engine).kill()
            (await gate.reached()).close()
            assert await call == COUNTED
            assert engine.respawns == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


DAEMON = """
import asyncio, sys
from streamd.bridge import EngineHost
from streamd.engines.base import Context, EngineSpec

async def main():
    spec = EngineSpec("scripted", {"faults": [{"call": 1, "kind": "hang"}]})
    async with EngineHost(spec, deadline_s=600, start_deadline_s=60) as engine:
        print(engine.pid, flush=True)
        await engine.advance("u", bytes(32000), False, Context())

asyncio.run(main())
"""


def test_a_daemon_that_is_killed_leaves_no_worker() -> None:
    """Not even one that hangs in a call."""
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE)
    with daemon:
        assert daemon.stdout
        worker = psutil.Process(int(daemon.stdout.readline()))
        daemon.kill()
    _, alive = psutil.wait_procs([worker], PATIENCE_S)
    assert not alive


async def test_calls_that_wait_are_refused_when_the_engine_does_not_load() -> None:
    spec = EngineSpec("scripted", {"faults": [{"call": 0, "kind": "raise"}]})
    host = EngineHost(spec, deadline_s=PATIENCE_S, start_deadline_s=PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        waiting = asyncio.create_task(host.advance("a", bytes(640), True, Context()))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError):
            await host.start()
        with pytest.raises(EngineFailed):
            await waiting
        assert host.state == "failed"
        await host.close()


# tools

STOP = [Tool("stop", "Stops.")]
ASKS: dict[str, object] = {"utterances": [{"text": "stop", "call": {"name": "stop"}}, "go on"]}


async def test_after_an_utterance_a_tool_is_chosen() -> None:
    metrics = Metrics()
    async with host(ASKS, metrics=metrics) as engine:
        for name, call in (("u", ToolCall("stop", {})), ("v", None)):
            await say(engine, 1, name, last=True)
            assert (await engine.decide(name, sound(1), STOP, Context())).call == call
        assert await say(engine, 1, "u", last=True) == "stop"  # the choice left nothing behind
    decisions = {"kind": "decision", "outcome": "ok"}
    assert metrics.registry.get_sample_value("streamd_engine_calls_total", decisions) == 2


async def test_a_tool_is_chosen_in_the_middle_of_an_utterance() -> None:
    async with host(ASKS) as engine:
        await say(engine, 1)
        assert (await engine.decide("u", sound(1), STOP, Context())).call == ToolCall("stop", {})
        assert await say(engine, 2, last=True) == "stop"


async def test_a_worker_that_dies_of_a_choice_is_asked_again(tmp_path: Path) -> None:
    dies = {"memory": str(tmp_path / "memory"), "faults": [{"call": 2, "kind": "exit"}]}
    async with host(ASKS | dies) as engine:
        await say(engine, 1, last=True)
        first = process(engine)
        assert (await engine.decide("u", sound(1), STOP, Context())).call == ToolCall("stop", {})
        assert await gone(first)
        assert engine.respawns == 1


async def test_a_choice_that_fails_again_and_again_is_given_up() -> None:
    faults = [{"call": number, "kind": "raise"} for number in (1, 2, 3)]
    async with host(ASKS | {"faults": faults}) as engine:
        with pytest.raises(EngineFailed, match="the script says that this call fails"):
            await engine.decide("u", sound(1), STOP, Context())
        assert (await engine.decide("u", sound(1), STOP, Context())).call == ToolCall("stop", {})
