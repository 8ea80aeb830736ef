"""`streamd check`: every finding, against real parts."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from streamd import check
from streamd.check import Finding, examine, verdict
from streamd.config import load
from streamd.core.events import Event, Final
from streamd.errors import ConfigError, StreamdError, UnavailableError
from streamd.resources import resource
from streamd.router import Outlook
from streamd.settings import Engines, Gemma, Models, Server, Settings, Source, Store, Tokens, Whisper
from streamd.sources import Device
from streamd.store import Journal
from tests.conftest import DATA
from tests.gemma_data import MODEL
from tests.needs import need


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


# --- all of it ---


def test_a_machine_that_can_caption(tiny_en: Path) -> None:
    """The real engine hears the real demonstration."""
    sets = [f"engines.whisper.model={tiny_en}", "source.kind=none", f"server.port={free_port()}"]
    findings = list(examine(lambda: load(None, sets, {})))
    assert [finding.check for finding in findings] == [
        "configuration",
        "source",
        "speech detection",
        "model",
        "gemma",
        "test sentence",
        "journal",
        "port",
        "access",
    ]
    assert {finding.state for finding in findings} <= {"ok", "warn"}
    assert verdict(findings) == 0
    assert "words right by whisper tiny.en int8" in findings[5].detail
    assert "country" in findings[5].more[0]
    assert findings[5].more[1].startswith("live: whisper tiny.en int8 hears everything (")


def test_without_a_model_no_sentence_is_tried() -> None:
    findings = {finding.check: finding for finding in examine(lambda: load(None, ["source.kind=none"], {}))}
    assert findings["model"].state == "fail"
    assert "streamd models pull tiny.en" in findings["model"].detail
    assert findings["test sentence"] == Finding(
        "test sentence", "warn", "not tried: first the model has to be set right"
    )
    assert verdict(list(findings.values())) == 69


def test_a_broken_configuration_is_the_only_finding() -> None:
    findings = list(examine(lambda: load(None, ["server.prot=1"], {})))
    assert [(finding.check, finding.state) for finding in findings] == [("configuration", "fail")]
    assert verdict(findings) == 78


def test_the_configuration_shows_what_was_changed_and_by_whom() -> None:
    loaded = load(None, ["server.tokens.viewer=['a-long-secret']"], {"STREAMD_SERVER__PORT": "9"})
    brief = check.configuration(loaded, everything=False)
    assert brief.more == (
        "server.port = 9  (environment STREAMD_SERVER__PORT)",
        "server.tokens.viewer = (secret)  (--set server.tokens.viewer)",
    )
    assert len(check.configuration(loaded, everything=True).more) == len(loaded.origins)


# --- source and speech ---


@pytest.mark.parametrize(("kind", "detail"), [("none", "nothing"), ("-", "raw sound on stdin")])
def test_sources_that_are_always_there(kind: str, detail: str) -> None:
    assert check.source(Source(kind=kind)) == Finding("source", "ok", detail)


def test_a_file_must_have_sound(tmp_path: Path) -> None:
    assert check.source(Source(kind=str(DATA / "jfk.flac"))).state == "ok"
    with pytest.raises(UnavailableError, match="gone"):
        check.source(Source(kind=str(tmp_path / "gone.wav")))


def test_a_microphone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "find_device", lambda _: Device(0, "USB", "ALSA", 48_000, 1, True))
    assert check.source(Source(kind="mic")) == Finding("source", "ok", "USB, ALSA, 48000 Hz")


def test_without_a_microphone_auto_can_do_and_mic_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_: str) -> Device:
        raise UnavailableError("no microphone found")

    monkeypatch.setattr(check, "find_device", find)
    assert check.source(Source(kind="auto")).state == "warn"
    for wanted in (Source(kind="mic"), Source(kind="auto", device="USB")):
        with pytest.raises(UnavailableError, match="no microphone found"):
            check.source(wanted)


def test_speech_detection_that_hears_ghosts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check.speech_detection(Settings()).state == "ok"
    monkeypatch.setattr(check, "VoiceActivity", lambda _: SimpleNamespace(probability=lambda _: 0.9))
    with pytest.raises(UnavailableError, match="takes silence for speech"):
        check.speech_detection(Settings())


# --- model and sentence ---


def test_the_scripted_engine_needs_neither_weights_nor_a_sentence() -> None:
    settings = load(None, ["pipeline.recognise.engine=scripted"], {}).settings
    assert check.model(settings).detail == "scripted needs none"
    assert check.sentence(settings).detail.startswith("not tried")


def test_the_weights_of_both_engines_are_looked_at(tiny_en: Path) -> None:
    engines = Engines(whisper=Whisper(model=str(tiny_en)), gemma=Gemma(model=str(MODEL)))
    detail = check.model(Settings(engines=engines)).detail
    assert detail.startswith(f"{MODEL}, 14 of 14 files compared")
    assert f"; {tiny_en}, " in detail


def test_damaged_weights(tiny_en: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_en, tmp_path / "tiny.en")
    settings = Settings(models=Models(directory=tmp_path))
    assert "4 of 4 files" in check.model(settings).detail
    with (tmp_path / "tiny.en" / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(UnavailableError, match=r"not what was fetched or exported: tokenizer\.json; fetch it again"):
        check.model(settings)


def with_gemma(engine: str, model: object) -> Settings:
    return load(None, [f"pipeline.recognise.engine={engine}", f"engines.gemma.model={model}"], {}).settings


def test_gemma_says_where_it_is_and_what_it_runs_on() -> None:
    for engine in ("auto", "gemma"):
        found = check.gemma(with_gemma(engine, MODEL))
        assert (found.state, found.detail) == ("ok", f"{MODEL}, on CPU")
        assert found.more[0].startswith("ONNX Runtime")


def test_graphs_that_captions_can_do_without_are_warned_of(tmp_path: Path, tiny_en: Path) -> None:
    """What `check` says is what `run` does: it runs, but something is lost."""
    folder = shutil.copytree(MODEL, tmp_path / "gemma")
    for name in ("audio_encoder_stream.onnx", "audio_encoder_stream.onnx_data"):
        (folder / "onnx" / name).unlink()
    settings = with_gemma("gemma", folder)
    found = check.model(settings)
    assert (found.state, found.detail) == ("warn", f"{folder}, 12 of 14 files compared with their digests")
    assert "onnx/audio_encoder_stream.onnx, onnx/audio_encoder_stream.onnx_data" in found.more[0]
    found = check.gemma(settings)
    assert (found.state, found.exit_code) == ("warn", 0)
    assert found.more[1].startswith("no audio_encoder_stream: audio_encoder reads the last seconds of sound again")


def test_captions_can_do_without_gemma_but_not_if_it_alone_hears() -> None:
    found = check.gemma(with_gemma("auto", "gemma-4-E4B-it-q4"))
    assert found.state == "ok"
    assert "not used, Whisper hears everything: the model gemma-4-E4B-it-q4 is not on this machine" in found.detail
    with pytest.raises(UnavailableError, match="streamd models pull gemma-4-E4B-it-q4"):
        check.gemma(with_gemma("gemma", "gemma-4-E4B-it-q4"))


@pytest.mark.parametrize("problem", ["is not there", "has another tokenizer"])
def test_a_gemma_that_was_asked_for_and_can_not_be_used_is_warned_of(tmp_path: Path, problem: str) -> None:
    folder = tmp_path / "gemma"
    if problem == "has another tokenizer":
        shutil.copytree(MODEL, folder)
        (folder / "tokenizer.json").write_text("{}")
    found = check.gemma(with_gemma("auto", folder))
    assert found.state == "warn"
    assert str(folder) in found.detail
    with pytest.raises(UnavailableError, match=str(folder)):
        check.gemma(with_gemma("gemma", folder))


def test_two_onnx_runtimes_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def both() -> str:
        raise UnavailableError("run packaging/gpu.py")

    monkeypatch.setattr("streamd.engines.gemma.providers.installed", both)
    found = check.gemma(with_gemma("auto", MODEL))
    assert (found.state, found.detail) == ("warn", "run packaging/gpu.py; until then Whisper hears everything")
    with pytest.raises(UnavailableError, match=r"packaging/gpu\.py"):
        check.gemma(with_gemma("gemma", MODEL))


def heard(monkeypatch: pytest.MonkeyPatch, outcome: str | StreamdError) -> None:
    """Let the engine hear `outcome` in the demonstration."""

    def transcribe(_settings: object, paths: list[Path], _progress: object, done: object) -> Outlook:
        assert callable(done)
        for path in paths:
            done(path, [final(outcome)] if isinstance(outcome, str) else outcome)
        return Outlook("gemma takes 0.90 s for a second of sound: e instead of it", is_fallback=True)

    monkeypatch.setattr("streamd.daemon.transcribe", transcribe)


def final(text: str) -> Event:
    return Event.seal(Final(utterance=1, start_ms=0, end_ms=1, text=text, engine="e"), seq=1, session="s", at_ms=0)


def test_a_model_that_hears_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    heard(monkeypatch, "Thank you for watching.")
    found = check.sentence(Settings())
    assert (found.state, found.exit_code) == ("fail", 69)
    assert "words right by e" in found.detail
    assert found.more[0] == "Thank you for watching."


def test_a_machine_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = check._Demo.model_validate_json(resource("demo/demo.json").read_bytes())
    heard(monkeypatch, demo.text)
    finding = check.sentence(Settings())
    assert (finding.state, finding.exit_code) == ("warn", 0)
    assert re.fullmatch(
        r"live: gemma takes 0\.90 s for a second of sound: e instead of it \(\d+ cores\)", finding.more[1]
    )
    monkeypatch.setattr(check, "_duration_s", lambda _: 1e-9)
    finding = check.sentence(Settings())
    assert finding.state == "warn"
    assert "too slow for live captions" in finding.detail


def test_an_engine_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    heard(monkeypatch, UnavailableError("no engine"))
    with pytest.raises(UnavailableError, match="no engine"):
        check.sentence(Settings())


# --- journal, port, access ---


def test_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.sqlite3"
    assert check.journal(Store(path=None)).state == "warn"
    assert check.journal(Store(path=path)).detail == f"{path}, none yet"
    assert not path.parent.exists()  # a check leaves nothing behind
    path.parent.mkdir()
    with closing(Journal.open(path)) as journal:
        journal.load("room", 0)
        assert check.journal(Store(path=path)).detail == f"{path}, 0 finals of 1 sessions"
    path.write_bytes(b"rubbish" * 1_000)
    with pytest.raises(UnavailableError, match="journal"):
        check.journal(Store(path=path))


def test_a_journal_where_nothing_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so the answer of the system is given here."""
    path = tmp_path / "journal.sqlite3"
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UnavailableError, match=r"can't be made: .* is not writable"):
        check.journal(Store(path=path))
    Journal.open(path).close()
    with pytest.raises(UnavailableError, match="is not writable"):
        check.journal(Store(path=path))


def test_a_port_that_something_else_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamd.listen.address.TIMEOUT_S", 0.01)
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port} can't be used: Address already in use"):
            check.port(Server(port=port))
    assert check.port(Server(port=port)).state == "ok"


@pytest.fixture
def streamd_port() -> Iterator[int]:
    """The port of a server that answers as streamd does."""

    def answer(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(HTTPStatus.OK, '{"sessions": []}')

    with serve(lambda _: None, "127.0.0.1", 0, process_request=answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def test_a_port_that_streamd_has(streamd_port: int) -> None:
    finding = check.port(Server(port=streamd_port))
    assert finding.state == "warn"
    assert "in use by a running streamd" in finding.detail


def test_a_host_that_is_not_here() -> None:
    server = Server(host="192.0.2.1", tokens=Tokens(viewer=("a-long-secret",)), insecure=True)
    with pytest.raises(UnavailableError, match=r"192\.0\.2\.1:8765 can't be used: Cannot assign requested address"):
        check.port(server)


def test_who_may_connect(tmp_path: Path) -> None:
    tokens = Tokens(viewer=("a-long-secret",), operator=("another-secret",))
    assert check.access(Server()).detail == "this machine only"
    plain = check.access(Server(host="0.0.0.0", tokens=tokens, insecure=True))
    assert (plain.state, plain.detail.split(",")[0]) == ("warn", "tokens for viewer")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([need("openssl"), *request, "-keyout", key, "-out", cert], check=True, capture_output=True)
    secure = check.access(Server(host="0.0.0.0", tokens=tokens, tls_cert=cert, tls_key=key))
    assert secure == Finding("access", "ok", "TLS and tokens for viewer, operator")
    key.write_text("rubbish")
    with pytest.raises(ConfigError, match=r"server\.tls_cert"):
        check.access(Server(tls_cert=cert, tls_key=key))
    with pytest.raises(ConfigError, match="No such file"):
        check.access(Server(tls_cert=cert, tls_key=tmp_path / "gone.pem"))
