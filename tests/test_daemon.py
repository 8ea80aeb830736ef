"""The daemon's life within this process: real signals, a real server, a real worker with the scripted engine."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from streamd import daemon
from streamd.core.events import Ended, Event, Final, Gap, Revised, Status
from streamd.core.route import Role
from streamd.core.view import fold
from streamd.daemon import Running, run, transcribe
from streamd.engines.base import EngineSpec
from streamd.errors import StreamdError, UnavailableError
from streamd.settings import (
    Engines,
    Pipeline,
    RecogniseStage,
    ReviseStage,
    Scripted,
    Server,
    Settings,
    Source,
    Store,
    Whisper,
)
from streamd.specs import SECOND_NICENESS, Hearing
from streamd.store import Journal
from tests.gate import Gate
from tests.parts import Played, speech
from tests.speech import recording

PATIENCE_S = 60.0
JFK = recording("jfk").path


def settings(
    *,
    source: str = "none",
    journal: Path | None = None,
    script: Path | None = None,
    drain_s: float = PATIENCE_S,
    days: int = 0,
) -> Settings:
    return Settings(
        server=Server(port=0, drain_s=drain_s),
        source=Source(kind=source, fast=True),
        store=Store(path=journal, retention_days=days),
        engines=Engines(scripted=Scripted(script=script)),
        pipeline=Pipeline(recognise=RecogniseStage(engine="scripted", partials=False)),
    )


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The daemon leaves signals to the system when it ends; the tests go on."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def live(settings: Settings, visit: Callable[[Running], None], number: signal.Signals = signal.SIGTERM) -> Running:
    """Run the daemon, stop it by a signal after the visit."""
    told: list[Running] = []

    def visit_and_stop(running: Running) -> None:
        try:
            visit(running)
        finally:
            os.kill(os.getpid(), number)

    with ThreadPoolExecutor(1) as pool:
        visits = []

        def announce(running: Running) -> None:
            told.append(running)
            visits.append(pool.submit(visit_and_stop, running))

        run(settings, announce)
        visits[0].result()
    return told[0]


def read(running: Running, until: Callable[[Event], bool]) -> list[Event]:
    """What a reader is told, up to an event."""
    events: list[Event] = []
    address = running.url.replace("http", "ws") + f"v1/sessions/{running.session}/events"
    with connect(address, open_timeout=PATIENCE_S, proxy=None) as socket:
        while not events or not until(events[-1]):
            events.append(Event.parse(socket.recv(PATIENCE_S)))
    return events


def has_ended(event: Event) -> bool:
    return isinstance(event.body, Ended)


def get(running: Running, path: str) -> httpx.Response:
    return httpx.get(running.url + path, timeout=PATIENCE_S, trust_env=False)


def test_a_model_that_is_missing_is_named(tmp_path: Path) -> None:
    nowhere = Settings(engines=Engines(whisper=Whisper(model=str(tmp_path / "none"))))
    with pytest.raises(UnavailableError, match="none"):
        run(nowhere, lambda _: None)
    with pytest.raises(UnavailableError, match="none"):
        transcribe(nowhere, [JFK], lambda *_: None, lambda *_: None)


# --- its life ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_stopped(number: signal.Signals) -> None:
    def visit(running: Running) -> None:
        events = read(running, lambda event: isinstance(event.body, Status) and event.body.state == "idle")
        assert events[0].body.type == "welcome"
        assert get(running, "readyz").status_code == 200
        deadline_s = time.monotonic() + PATIENCE_S
        while "streamd_loop_delay_seconds_count 0.0" in get(running, "metrics").text:
            assert time.monotonic() < deadline_s, "the loop's delay is not measured"

    running = live(settings(), visit, number)
    assert (running.source, running.session) == (None, "default")
    with pytest.raises(httpx.ConnectError):
        get(running, "healthz")


def test_what_a_source_said_is_served_after_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def visit(running: Running) -> None:
        read(running, has_ended)
        assert get(running, "v1/sessions/default/transcript.txt").text.startswith("one two three")

    caplog.set_level("INFO")
    running = live(settings(source=str(JFK), journal=tmp_path / "journal.sqlite3"), visit)
    assert "source ended name=file: jfk.flac; readers are served until Ctrl-C" in caplog.text
    assert running.source == "file: jfk.flac"
    with closing(Journal.read(tmp_path / "journal.sqlite3")) as journal:
        assert next(journal.history("default")).body.type == "final"


def test_a_source_that_another_one_replaces_is_not_said_to_have_ended_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(daemon, "open_source", lambda *_, **_options: Played([], endless=True))
    caplog.set_level("INFO")

    def visit(running: Running) -> None:
        read(running, lambda event: isinstance(event.body, Status) and event.body.source == "played")
        address = running.url.replace("http", "ws") + "v1/sessions/default/audio?takeover=1"
        with connect(address, open_timeout=PATIENCE_S, proxy=None) as speaker:
            speaker.send('{"type": "end"}')
            for _ in speaker:
                pass

    live(settings(), visit)
    assert "source ended name=played; another source took over" in caplog.text


def test_what_is_being_said_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The source never ends; the utterance that is open when the daemon stops gets its final."""
    monkeypatch.setattr(daemon, "open_source", lambda *_, **_options: Played(speech()[:18], endless=True))
    path = tmp_path / "journal.sqlite3"
    caplog.set_level("INFO")

    def visit(running: Running) -> None:
        read(running, lambda event: isinstance(event.body, Status) and event.body.state == "speech")

    live(settings(journal=path), visit)
    assert "source ended name=played; the daemon stops" in caplog.text
    with closing(Journal.read(path)) as journal:
        (final,) = [event.body for event in journal.history("default")]
    assert isinstance(final, Final)
    assert (final.text.startswith("one two"), final.fallback) == (True, False)


def test_the_last_words_are_not_waited_for_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, script = tmp_path / "journal.sqlite3", tmp_path / "script.json"
    with Gate(tmp_path / "gate") as gate:
        script.write_text(json.dumps({"faults": [gate.loading | {"call": 1}]}))
        live(settings(script=script, source=str(JFK), journal=path, drain_s=0), lambda _: print(gate.arrival()))
    assert "not everything that was said is recognised after 0 s (server.drain_s); the engine is ready" in caplog.text
    with closing(Journal.read(path)) as journal:
        bodies = [event.body for event in journal.history("default")]
    assert {body.fallback for body in bodies if isinstance(body, Final)} == {True}
    assert {body.reason for body in bodies if isinstance(body, Gap)} == {"engine"}


def test_what_is_too_old_is_deleted_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with closing(Journal.open(path)) as journal:
        journal.load("default", now_ms=0)
        body = Final(utterance=1, start_ms=0, end_ms=40, text="long ago", engine="e")
        journal.write("default", [Event.seal(body, seq=2, session="default", at_ms=0)], [], 3, 0)

    def visit(running: Running) -> None:
        read(running, has_ended)

    live(settings(source=str(JFK), journal=path, days=1), visit)
    with closing(Journal.read(path)) as journal:
        assert "long ago" not in "".join(event.json for event in journal.history("default"))


# --- what makes it impossible ---


def test_a_source_that_fails_before_its_first_sound_ends_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Played([], error=UnavailableError("the microphone is taken: close the other program"))
    monkeypatch.setattr(daemon, "open_source", lambda *_, **_options: broken)
    with pytest.raises(UnavailableError, match="close the other program"):
        run(settings(), lambda _: None)
    assert broken.closed


def test_a_source_without_any_sound_ends_the_daemon_also_where_the_journal_knows_the_session(tmp_path: Path) -> None:
    """The time since the last run is no sound of this one."""
    journal, silent = tmp_path / "journal.sqlite3", tmp_path / "silent.wav"
    with wave.open(str(silent), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2_000))
    silent.write_bytes(silent.read_bytes()[:44])  # its header
    live(settings(source=str(JFK), journal=journal), lambda running: print(read(running, has_ended)[-1]))
    with pytest.raises(UnavailableError, match=r"silent\.wav: nothing in it can be decoded; is the file whole"):
        run(settings(source=str(silent), journal=journal), lambda _: None)


def test_readers_are_told_of_a_file_that_breaks_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    half = tmp_path / "half.flac"
    half.write_bytes(JFK.read_bytes()[: JFK.stat().st_size // 2])

    def visit(running: Running) -> None:
        events = read(running, has_ended)
        assert any(isinstance(event.body, Final) and event.body.text for event in events)
        (told,) = [event.body for event in events if isinstance(event.body, Status)][-1:]
        assert re.fullmatch(r"half\.flac breaks off after 5\.\d s of 11\.\d s", told.detail or "")

    live(settings(source=str(half)), visit)
    assert f"{half} breaks off after" in caplog.text


def test_a_source_that_fails_later_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    broken = Played(speech(), error=UnavailableError("the disk is gone"))
    monkeypatch.setattr(daemon, "open_source", lambda *_, **_options: broken)

    def visit(running: Running) -> None:
        events = read(running, has_ended)
        assert any(isinstance(event.body, Final) for event in events)
        assert get(running, "healthz").status_code == 200

    live(settings(), visit)
    assert "source failed: the disk is gone" in caplog.text


def test_an_engine_that_does_not_load_ends_the_daemon(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"nowhere.json: the script can't be read"):
        run(settings(script=tmp_path / "nowhere.json"), lambda _: None)


def test_a_taken_port_ends_the_daemon_before_it_is_announced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"{port} is in use"):
            run(settings().model_copy(update={"server": Server(port=port)}), lambda _: pytest.fail("announced"))


# --- two engines ---


def pair(monkeypatch: pytest.MonkeyPatch, **short: object) -> None:
    """The daemon has two engines, of which the one for short utterances has these options."""
    first, second = EngineSpec("scripted", {"name": "a", **short}), EngineSpec("scripted", {"name": "b"})
    specs = {Role.SHORT: first, Role.LONG: second}
    monkeypatch.setattr(daemon, "hearing", lambda _: Hearing(specs, "a and b"))


def test_short_utterances_go_to_the_engine_for_them_once_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pair(monkeypatch)
    monkeypatch.setattr(daemon, "open_source", lambda *_, **_options: None)
    caplog.set_level("INFO")

    def visit(running: Running) -> None:
        read(running, lambda event: isinstance(event.body, Status) and event.body.engine == "a")
        address = running.url.replace("http", "ws") + "v1/sessions/default/audio"
        with connect(address, open_timeout=PATIENCE_S, proxy=None) as speaker:
            speaker.send(recording("jfk").pcm.tobytes())
            speaker.send('{"type": "end"}')
            events = [Event.parse(message).body for message in speaker]
        assert {event.engine for event in events if isinstance(event, Final)} == {"a"}

    assert live(settings(), visit).engines == "a and b"
    assert "engine a takes 0.0" in caplog.text


def test_the_daemon_starts_with_one_engine_where_the_other_does_not_load(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pair(monkeypatch, faults=[{"call": 0, "kind": "exit"}])

    def visit(running: Running) -> None:
        events = read(running, has_ended)
        said = [event.body for event in events if isinstance(event.body, Final)]
        assert {(final.engine, final.fallback) for final in said} == {("b", True)}
        told = "b instead of scripted, which failed: the worker exited with code 70 while it loaded the engine"
        read(running, lambda event: isinstance(event.body, Status) and event.body.detail == told)
        assert get(running, "readyz").status_code == 200

    live(settings(source=str(JFK)), visit)
    assert "b hears everything: the worker exited with code 70 while it loaded the engine" in caplog.text


# --- files ---


def test_files_are_transcribed_and_a_broken_one_spoils_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    progress: dict[Path, list[int]] = {}
    outcomes: dict[Path, list[Event] | StreamdError] = {}
    files = [JFK, broken, recording("goforward").path]
    transcribe(settings(), files, lambda path, ms: progress.setdefault(path, []).append(ms), outcomes.__setitem__)
    assert list(outcomes) == files
    assert isinstance(outcomes[broken], UnavailableError)
    for path in (files[0], files[2]):
        finals = outcomes[path]
        assert isinstance(finals, list)
        assert [event.body.type for event in finals] == ["final"] * len(finals) != []
        assert progress[path] == sorted(progress[path])
        assert progress[path][-1] > 3_000


# --- the second pass ---


@pytest.mark.model
def test_a_larger_model_corrects_what_was_said(base: Path, tmp_path: Path) -> None:
    """Its process stands back behind the first one's; what it corrects is journalled and served."""
    plain = settings(source=str(JFK), journal=tmp_path / "journal.sqlite3")
    pipeline = plain.pipeline.model_copy(update={"revise": ReviseStage(model=str(base))})

    def visit(running: Running) -> None:
        read(running, lambda event: isinstance(event.body, Revised) and "your country" in event.body.text)
        nice = [child.nice() for child in psutil.Process().children() if "streamd.engines.worker" in child.cmdline()]
        assert max(nice) - min(nice) == SECOND_NICENESS
        text = get(running, "v1/sessions/default/transcript.txt").text
        assert "country" in text

    live(plain.model_copy(update={"pipeline": pipeline}), visit)
    with closing(Journal.read(tmp_path / "journal.sqlite3")) as journal:
        assert any("country" in item.text for item in fold(journal.history("default")).items)
