"""The worker's loop over a real socket pair, and its process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NoReturn

import psutil
import pytest

from streamd.bridge.link import ONE_THREAD_EACH
from streamd.core.commands.hearing import Arc, Choices, Comparison, Comparisons, Lattice, Reading
from streamd.core.tools.tool import Tool, ToolCall
from streamd.engines import worker
from streamd.engines.base import Context, EngineSpec, Hypothesis
from streamd.engines.pipe import (
    HEADER,
    Advance,
    Channel,
    Compare,
    Compared,
    Decide,
    Decided,
    Failed,
    Forget,
    Message,
    Ready,
    Result,
    Unavailable,
    Unknown,
    pack,
)
from streamd.engines.worker import Worker
from streamd.errors import ConfigError, UnavailableError
from tests.gate import Gate

SECOND = bytes(32_000)
CHOICES = Choices("one", Lattice(((Arc("stop", 1),), ()), frozenset({1})), "", "en")
PATIENCE_S = 60


def request(call: int, utterance: str = "u", *, first: bool = True, last: bool = False) -> Advance:
    return Advance(call, utterance, SECOND, last, first, Context())


@pytest.fixture
def daemon() -> Iterator[Channel]:
    """The daemon's end; a worker serves the other one in a thread until the test ends."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)
    channel = Channel(ours)
    served = Channel(theirs)
    thread = threading.Thread(target=Worker(served).serve)
    thread.start()
    yield channel
    ours.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    channel.close()
    served.close()


def loaded(daemon: Channel, spec: EngineSpec) -> None:
    daemon.send(spec)
    assert isinstance(daemon.receive(), Ready)


def text(reply: Message | None) -> str:
    assert isinstance(reply, Result)
    return reply.hypothesis.text


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with Gate(tmp_path / "gate") as gate:
        yield gate


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], EngineSpec]:
    """Makes an engine kind of a `build` function."""

    def make(build: Callable[..., object]) -> EngineSpec:
        module = ModuleType("streamd.engines.fake")
        vars(module)["build"] = build
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return EngineSpec("fake")

    return make


def test_calls_are_answered(daemon: Channel) -> None:
    loaded(daemon, EngineSpec("scripted"))
    daemon.send(request(1))
    assert text(daemon.receive()) == "one two"
    daemon.send(request(2, first=False, last=True))
    assert text(daemon.receive()) == "one two three four five"
    daemon.send(request(3, first=False))
    assert daemon.receive() == Unknown(3)


def test_tools_are_chosen_from(daemon: Channel) -> None:
    loaded(daemon, EngineSpec("scripted", {"utterances": [{"text": "stop", "call": {"name": "stop"}}]}))
    daemon.send(Decide(1, "u", SECOND, (Tool("stop", ""),), Context()))
    reply = daemon.receive()
    assert isinstance(reply, Decided)
    assert (reply.call, reply.decision.call) == (1, ToolCall("stop", {}))


def test_an_engine_is_prepared_for_its_tools_before_it_is_ready(
    daemon: Channel, fake: Callable[[Callable[..., object]], EngineSpec], caplog: pytest.LogCaptureFixture
) -> None:
    """Where that can't be done there are captions all the same."""
    told: list[object] = []

    def prepare(tools: object) -> None:
        told.append(tools)
        if len(told) > 1:
            raise ConfigError("tool stop: no")

    engine = SimpleNamespace(name="fake", warm_up=lambda: None, prepare=prepare, decide=lambda: None)
    spec = fake(lambda _: engine)
    loaded(daemon, spec)
    assert told == []
    loaded(daemon, replace(spec, tools=(Tool("stop", ""),)))
    assert told == [(Tool("stop", ""),)]
    loaded(daemon, replace(spec, tools=(Tool("stop", ""),)))
    assert "no tool can be chosen: tool stop: no" in caplog.text


def test_an_engine_that_cannot_call_tools(
    daemon: Channel, fake: Callable[[Callable[..., object]], EngineSpec], caplog: pytest.LogCaptureFixture
) -> None:
    spec = fake(lambda _: SimpleNamespace(name="deaf", warm_up=lambda: None))
    loaded(daemon, replace(spec, tools=(Tool("stop", ""),)))
    daemon.send(Decide(1, "u", SECOND, (Tool("stop", ""),), Context()))
    assert daemon.receive() == Failed(1, "UnavailableError", "engine deaf can't call tools: use Gemma")
    assert "engine failed in the choice among 1 tools for utterance u of 16000 samples" in caplog.text


def test_an_engine_that_cannot_compare_sentences(daemon: Channel, caplog: pytest.LogCaptureFixture) -> None:
    loaded(daemon, EngineSpec("scripted"))
    daemon.send(Compare(1, SECOND, (CHOICES,)))
    assert daemon.receive() == Failed(1, "UnavailableError", "engine scripted can't compare sentences: use whisper")
    assert "engine failed in the comparison of 16000 samples with 1 grammars" in caplog.text


def test_sentences_are_compared_in_the_languages_that_the_engine_speaks(
    daemon: Channel, fake: Callable[[Callable[..., object]], EngineSpec]
) -> None:
    comparison = Comparison((), (Reading("stop", -1.0, 2, -9.0, 0.5, 0.0),), 0.0, 1.0, "ear")
    engine = SimpleNamespace(
        name="ear", warm_up=lambda: None, speaks=lambda language: language == "en", compare=lambda *_: comparison
    )
    loaded(daemon, fake(lambda _: engine))
    daemon.send(Compare(1, SECOND, (CHOICES, replace(CHOICES, language="de"))))
    assert daemon.receive() == Compared(1, Comparisons((("en", comparison),)))


def test_forget_comes_before_what_follows_it(daemon: Channel) -> None:
    loaded(daemon, EngineSpec("scripted", threads=2))
    daemon.send(request(1))
    assert text(daemon.receive()) == "one two"
    daemon.send(Forget("u"))
    daemon.send(request(2, first=False))
    assert daemon.receive() == Unknown(2)


def test_as_many_calls_at_a_time_as_there_are_threads(daemon: Channel, gate: Gate) -> None:
    """The second call is answered while the first one waits, and the first one after it."""
    loaded(daemon, EngineSpec("scripted", {"faults": [gate.fault("slow")]}, threads=2))
    daemon.send(request(1, "slow"))
    with gate.arrival():
        daemon.send(request(2, "quick"))
        assert isinstance(reply := daemon.receive(), Result)
        assert reply.call == 2
    assert isinstance(reply := daemon.receive(), Result)
    assert reply.call == 1


def test_an_error_belongs_to_its_call(daemon: Channel, caplog: pytest.LogCaptureFixture) -> None:
    loaded(daemon, EngineSpec("scripted", {"faults": [{"call": 1, "kind": "raise"}]}))
    daemon.send(request(1))
    assert daemon.receive() == Failed(1, "RuntimeError", "the script says that this call fails")
    daemon.send(request(2))
    assert text(daemon.receive()) == "one two"
    assert "advance of utterance u by 16000 samples (first=True, last=False)" in caplog.text


def test_an_error_of_forget_is_logged(
    daemon: Channel, fake: Callable[..., EngineSpec], caplog: pytest.LogCaptureFixture
) -> None:
    def forget(_: str) -> NoReturn:
        raise RuntimeError("no")

    def advance(*_: object, first: bool) -> Hypothesis:
        return Hypothesis((), "fake", covered_s=float(first))

    engine = SimpleNamespace(name="fake", advance=advance, forget=forget, warm_up=lambda: None)
    loaded(daemon, fake(lambda _: engine))
    daemon.send(Forget("u"))
    daemon.send(request(1))
    assert text(daemon.receive()) == ""
    assert "engine failed in Forget" in caplog.text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UnavailableError("weights.bin: not there: fetch it"), "weights.bin: not there: fetch it"),
        (RuntimeError("no"), "engine fake can't be loaded: RuntimeError: no"),
    ],
)
def test_why_an_engine_does_not_load(
    daemon: Channel, fake: Callable[..., EngineSpec], error: Exception, message: str
) -> None:
    def build(_: object) -> NoReturn:
        raise error

    daemon.send(fake(build))
    assert daemon.receive() == Unavailable(message)
    daemon.send(request(1))
    assert daemon.receive() == Failed(1, "RuntimeError", "the daemon did not wait for the engine to be ready")


def test_an_engine_that_does_not_exist(daemon: Channel) -> None:
    daemon.send(EngineSpec("telepathy"))
    assert isinstance(reply := daemon.receive(), Unavailable)
    assert "ModuleNotFoundError" in reply.message


def test_only_requests_go_to_a_worker(daemon: Channel, caplog: pytest.LogCaptureFixture) -> None:
    loaded(daemon, EngineSpec("scripted"))
    daemon.send(Unknown(1))
    daemon.send(request(2))
    assert text(daemon.receive()) == "one two"
    assert "only requests go to a worker" in caplog.text


def test_the_first_message_says_what_to_load(daemon: Channel) -> None:
    daemon.send(Forget("u"))  # the worker leaves, which the fixture checks


def test_nobody_waits_for_the_answer(gate: Gate) -> None:
    """The daemon goes in the middle of a call: its answer is thrown away."""
    ours, theirs = socket.socketpair()
    daemon, served = Channel(ours), Channel(theirs)
    thread = threading.Thread(target=Worker(served).serve)
    thread.start()
    loaded(daemon, EngineSpec("scripted", {"faults": [gate.fault("u")]}))
    daemon.send(request(1))
    engine = next(each for each in threading.enumerate() if each.name.startswith("engine"))
    with gate.arrival():
        daemon.close()
        thread.join(PATIENCE_S)
    engine.join(PATIENCE_S)
    assert not engine.is_alive()
    served.close()


class Process:
    """A real worker and the daemon's end of its pipe."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE_S)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamd.engines.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            text=True,
            env=ONE_THREAD_EACH | os.environ,
        )
        theirs.close()
        self.sock = ours
        self.channel = Channel(ours)

    def ends(self) -> tuple[int, str]:
        """Close our end. Exit code and what was logged."""
        self.channel.close()
        _, logged = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, logged


@pytest.fixture
def process() -> Iterator[Process]:
    started = Process()
    yield started
    started.process.kill()
    started.process.communicate()
    started.channel.close()


def test_it_ignores_the_signals_that_are_meant_for_the_daemon(process: Process) -> None:
    loaded(process.channel, EngineSpec("scripted"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.process.send_signal(number)
    process.channel.send(request(1))
    assert text(process.channel.receive()) == "one two"
    assert process.ends() == (0, "")


def test_it_ends_with_the_daemon_while_it_hangs(process: Process, gate: Gate) -> None:
    loaded(process.channel, EngineSpec("scripted", {"faults": [gate.fault("u"), {"call": 1, "kind": "hang"}]}))
    process.channel.send(request(1))
    gate.arrival().close()
    assert process.ends() == (0, "")


def test_it_ends_with_the_daemon_while_it_loads(process: Process, gate: Gate) -> None:
    process.channel.send(EngineSpec("scripted", {"faults": [gate.loading]}))
    gate.arrival()
    assert process.ends() == (0, "")


def test_it_ends_at_what_is_no_message(process: Process) -> None:
    process.sock.sendall(HEADER.pack(3) + b"abc")
    code, logged = process.ends()
    assert code == 1
    assert "are no message" in logged


def test_it_starts_without_the_daemon_s_libraries(process: Process) -> None:
    """What an engine doesn't need is not loaded: a worker is replaced while somebody speaks."""
    probe = "import sys, streamd.engines.worker; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not {"asyncio", "pydantic", "websockets", "av", "ctranslate2"} & set(run.stdout.split())


@pytest.mark.parametrize(("sent", "code"), [(pack(EngineSpec("scripted"))[:2], 0), (HEADER.pack(3) + b"abc", 1)])
def test_main_serves_a_file_descriptor(monkeypatch: pytest.MonkeyPatch, sent: bytes, code: int) -> None:
    """In this process, with the exit and the signals taken out."""
    ours, theirs = socket.socketpair()
    ours.sendall(sent)
    ours.close()
    served = Channel(theirs)
    fds: list[int] = []

    def serve(sock: socket.socket) -> Channel:
        fds.append(sock.detach())
        return served

    monkeypatch.setattr(worker, "Channel", serve)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("os._exit", sys.exit)
    with pytest.raises(SystemExit) as leaving:
        worker.main(theirs.fileno())
    assert (leaving.value.code, fds) == (code, [theirs.fileno()])
    served.close()


def test_a_worker_takes_no_more_than_its_share(process: Process) -> None:
    """One thread waits for the daemon, `threads` serve; nothing else is started."""
    loaded(process.channel, EngineSpec("scripted", threads=2))
    assert psutil.Process(process.process.pid).num_threads() <= 3
