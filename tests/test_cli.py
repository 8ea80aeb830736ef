"""The commands as people call them. Cheap ones run in this process, the daemon in its own."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamd import __version__, logs
from streamd.cli import live, main
from streamd.config import load
from streamd.core.events import Event, Final
from streamd.daemon import Running
from streamd.models import Progress, Report
from streamd.settings import Models
from streamd.sources import Device
from streamd.store import Journal
from tests.conftest import DATA
from tests.gemma_data import MODEL as GEMMA

SCRIPTED = ("--set", "pipeline.recognise.engine=scripted")


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int | str | None
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cli]:
    """Run a command in a home without configuration."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("XDG_", "STREAMD_"))]:
        monkeypatch.delenv(name)

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["streamd", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(ended.value.code or 0, *capsys.readouterr())

    root = logging.getLogger()
    handlers, level, terminate = list(root.handlers), root.level, signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, terminate)
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Path]:
    """A journal with two finals, held open as a running daemon does."""
    path = tmp_path / "journal.sqlite3"
    bodies = [
        Final(utterance=number, start_ms=number * 1_000, end_ms=number * 1_000 + 500, text=text, engine="e")
        for number, text in enumerate(["Hello there.", "And on."], 1)
    ]
    with closing(Journal.open(path)) as writer:
        writer.load("room", 0)
        events = [Event.seal(body, seq=body.utterance, session="room", at_ms=0) for body in bodies]
        writer.write("room", events, [], 3, 0)
        yield path


# --- the program ---


def test_it_says_its_version(cli: Cli) -> None:
    assert cli("--version") == Outcome(0, f"streamd {__version__}\n", "")


def test_python_m_is_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "streamd", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"streamd {__version__}\n"


def test_what_is_not_built_is_not_offered(cli: Cli) -> None:
    text = cli("--help").out + cli("models", "--help").out
    offered = set(re.findall(r"^  ([a-z]+)  ", text, re.MULTILINE))
    assert offered == {
        *("run", "listen", "transcribe", "export", "devices", "check", "bench", "models", "commands"),
        *("list", "pull", "verify"),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("run", "--port", "99999"),
        ("run", "--sourc", "mic"),
        ("run", "--set", "server.port"),
        ("listen", "ftp://a"),
        ("transcribe",),
        ("transcribe", "a.wav", "--format", "doc"),
        ("transcribe", "a.wav", "b.wav"),
        ("transcribe", "a.wav", "a.mp3", "--output", "there"),
        ("models", "export"),
    ],
)
def test_a_wrong_command_line_ends_with_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("transcribe", "a.wav", "--format", "docx"), "'docx' is none of txt, srt, vtt, jsonl."),
        (("run", "--log-level", "loud"), "'LOUD' is none of DEBUG, INFO, WARNING, ERROR."),
    ],
)
def test_a_wrong_choice_is_told_what_there_is(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    outcome = cli(*arguments)
    assert message in outcome.err
    assert "Value error" not in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--set", "server.prot=1"), "--set server.prot: unknown key server.prot; did you mean server.port?"),
        (("run", "--pipeline", "commands", *SCRIPTED, "--set", "pipeline.commands.pack=gone"), "there is no such pack"),
        (("run", "--host", "0.0.0.0"), "reachable from other machines"),
        (("run", "--session", "a b"), 'command line: session = "a b"'),
        (("run", "--config", "gone.toml"), "gone.toml: there is no such file"),
        (("export", "room", "--config", "gone.toml"), "gone.toml: there is no such file"),
    ],
)
def test_a_wrong_configuration_ends_with_78_and_one_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (78, "")
    assert re.fullmatch(rf"streamd: .*{re.escape(message)}.*\n", outcome.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--set", "engines.whisper.model=/gone"), "'/gone' is neither a folder"),
        (("run", "--source", "/gone.wav", *SCRIPTED), "/gone.wav"),
        (("transcribe", "a.wav"), "streamd models pull tiny.en"),
        (("models", "verify", "tiny.en"), "streamd models pull tiny.en"),
        (("models", "pull", "--set", "models.offline=true"), "models.offline is set"),
        (("export", "room", "--store", "/gone.sqlite3"), "/gone.sqlite3"),
        (("export", "room", "--set", "store.path="), "nothing was kept"),
    ],
)
def test_a_missing_part_ends_with_69_and_one_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (69, "")
    assert re.fullmatch(rf"streamd: .*{re.escape(message)}.*\n", outcome.err)


def test_a_traceback_appears_at_debug_only(cli: Cli) -> None:
    error = ("run", "--session", "a b", "--log-level")
    assert "Traceback" not in cli(*error, "INFO").err
    assert "Traceback" in cli(*error, "debug").err


def test_a_fault_of_ours_ends_with_70(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "set_up", lambda *_: 1 / 0)
    outcome = cli("transcribe", "a.wav")
    assert outcome.code == 70
    assert outcome.err == "streamd: internal fault, please report it: ZeroDivisionError: division by zero\n"


# --- what was said ---


def test_a_transcript_goes_to_stdout_also_where_progress_is_shown(tmp_path: Path) -> None:
    """Standard error is a terminal, standard output is not."""
    command = [sys.executable, "-m", "streamd", "transcribe", str(DATA / "jfk.flac"), *SCRIPTED]
    mine, its = pty.openpty()
    with os.fdopen(mine, "rb", buffering=0), os.fdopen(its, "wb", buffering=0) as terminal:
        environment = os.environ | {"HOME": str(tmp_path), "TERM": "xterm"}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, text=True, env=environment, check=True)
    assert done.stdout.startswith("one two three")


def test_a_transcript_goes_to_stdout(cli: Cli) -> None:
    outcome = cli("transcribe", DATA / "jfk.flac", *SCRIPTED)
    assert outcome.code == 0
    assert outcome.out.startswith("one two three")
    assert outcome.err == ""


def test_several_transcripts_go_to_a_folder_and_one_bad_file_spoils_none(cli: Cli, tmp_path: Path) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    folder = tmp_path / "new" / "there"
    outcome = cli(
        "transcribe", DATA / "jfk.flac", empty, DATA / "goforward.flac", *SCRIPTED, "-f", "srt", "--output", folder
    )
    assert outcome.code == 69
    assert f"streamd: {empty}" in outcome.err
    assert sorted(path.name for path in folder.iterdir()) == ["goforward.srt", "jfk.srt"]
    assert (folder / "jfk.srt").read_text().startswith("1\n00:00:")


def test_a_folder_that_cannot_be_is_said_before_the_work(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = cli("transcribe", DATA / "jfk.flac", "--output", tmp_path / "file")
    assert outcome.code == 69
    assert "can't be used for transcripts" in outcome.err


def test_a_transcript_that_cannot_be_written(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "jfk.txt").mkdir()
    outcome = cli("transcribe", DATA / "jfk.flac", *SCRIPTED, "--output", tmp_path)
    assert outcome.code == 69
    assert "jfk.txt: can't be written: Is a directory" in outcome.err


def test_a_session_is_exported_while_the_daemon_has_it_open(cli: Cli, journal: Path) -> None:
    assert cli("export", "room", "--store", journal).out.split() == ["Hello", "there.", "And", "on."]
    assert "WEBVTT" in cli("export", "room", "--set", f"store.path={journal}", "--format", "vtt").out
    lines = cli("export", "room", "--store", journal, "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["Hello there.", "And on."]


def test_an_unknown_session_names_the_known_ones(cli: Cli, journal: Path) -> None:
    outcome = cli("export", "lab", "--store", journal)
    assert outcome == Outcome(69, "", f"streamd: {journal}: there is no session lab; it has room\n")


def test_a_session_of_which_nothing_is_kept_and_many_others(cli: Cli, tmp_path: Path) -> None:
    journal = tmp_path / "many.sqlite3"
    with closing(Journal.open(journal)) as book:
        book.load("typo", 0)
        for number in range(10):
            name = f"hall-{number}"
            book.load(name, number)
            body = Final(utterance=1, start_ms=0, end_ms=40, text="Hello.", engine="e")
            book.write(name, [Event.seal(body, seq=2, session=name, at_ms=number)], [], 3, 10**15 - number)
    outcome = cli("export", "typo", "--store", journal)
    others = ", ".join(f"hall-{number}" for number in range(8))
    assert outcome == Outcome(
        69, "", f"streamd: {journal}: nothing is kept of session typo; it has {others} and 2 more\n"
    )


def test_an_empty_journal_is_said_to_be_empty(cli: Cli, tmp_path: Path) -> None:
    Journal.open(tmp_path / "new.sqlite3").close()
    assert "it is empty" in cli("export", "lab", "--store", tmp_path / "new.sqlite3").err


# --- this machine ---


def test_models_are_listed_with_where_they_are(cli: Cli, tiny_en: Path, tmp_path: Path) -> None:
    directory = tmp_path / "models"
    directory.mkdir()
    (directory / "tiny.en").symlink_to(tiny_en)
    (directory / "mine").mkdir()
    table = cli("models", "list", "--set", f"models.directory={directory}").out.splitlines()
    here = {line.split()[0]: line for line in table}
    assert str(directory / "tiny.en") in here["tiny.en"]
    assert "(used)" in here["tiny.en"]
    assert here["large-v3"].rstrip().endswith("-")
    assert "is missing" in here["mine"]


def test_weights_are_verified_and_damage_ends_with_69(cli: Cli, tiny_en: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_en, tmp_path / "tiny.en")
    here = ("--set", f"models.directory={tmp_path}")
    outcome = cli("models", "verify", *here)
    assert (outcome.code, outcome.out.splitlines()[-1]) == (0, "tiny.en: 4 of 4 files compared, no damage")
    assert str(tmp_path / "tiny.en") in cli("models", "pull", "tiny.en", *here).out
    with (tmp_path / "tiny.en" / "tokenizer.json").open("a") as file:
        file.write(" ")
    outcome = cli("models", "verify", "tiny.en", *here)
    assert outcome.code == 69
    assert "tokenizer.json: not what was fetched" in outcome.out
    way_out = "fetch it again with `streamd models pull tiny.en`"
    assert outcome.err == f"streamd: tiny.en: 1 of 4 files are amiss; {way_out}\n"


def test_weights_without_digests_are_not_said_to_be_whole(cli: Cli, tmp_path: Path) -> None:
    folder = shutil.copytree(GEMMA, tmp_path / "own")
    outcome = cli("models", "verify", str(folder))
    assert (outcome.code, outcome.out.splitlines()[-1]) == (0, f"{folder}: 14 of 14 files compared, no damage")
    (folder / "manifest.json").unlink()
    outcome = cli("models", "verify", str(folder))
    assert outcome.code == 69
    assert "tokenizer.json: nothing to compare with" in outcome.out
    assert f"{folder}: nothing was compared: no digests are known" in outcome.err


def test_what_was_exported_is_to_be_exported_again(cli: Cli, tmp_path: Path) -> None:
    folder = shutil.copytree(GEMMA, tmp_path / "own")
    (folder / "onnx" / "audio_encoder.onnx").unlink()
    with (folder / "config.json").open("a") as file:
        file.write(" ")
    outcome = cli("models", "verify", str(folder))
    assert (outcome.code, outcome.out.count("missing"), outcome.out.count("not what was")) == (69, 1, 1)
    assert outcome.err == f"streamd: {folder}: 2 of 14 files are amiss; export it again with `streamd models export`\n"


def test_check_ends_with_78_where_the_configuration_is_at_fault(cli: Cli) -> None:
    outcome = cli("check", "--set", "server.prot=1")
    assert outcome.code == 78
    assert outcome.out.startswith("fail configuration: --set server.prot: unknown key")


def test_check_examines_the_pipeline_that_run_would_take(cli: Cli) -> None:
    assert "ok   commands: press-line, version " in cli("check", "--pipeline", "commands", *SCRIPTED).out
    outcome = cli("check", "--pipeline", "commands", *SCRIPTED, "--set", "pipeline.commands.pack=gone")
    assert outcome.code == 78
    assert "gone: there is no such pack" in outcome.out


def test_check_shows_settings_with_their_origins(cli: Cli) -> None:
    out = cli("check", *SCRIPTED, "--set", "server.port=0", "--all").out
    assert "       server.port = 0  (--set server.port)\n" in out
    assert '       server.host = "127.0.0.1"  (default)\n' in out


def test_check_answers_programs(cli: Cli) -> None:
    findings = json.loads(cli("check", *SCRIPTED, "--set", "server.port=0", "--json").out)
    assert {finding["check"]: finding["state"] for finding in findings}["speech detection"] == "ok"


def test_devices_are_listed_or_missing(cli: Cli) -> None:
    """On this machine, whatever it has."""
    outcome = cli("devices")
    if outcome.code == 0:
        assert outcome.out.startswith("microphone")
    else:
        assert outcome.code == 69
        assert re.fullmatch(r"streamd: .*(microphone|PortAudio).*\n", outcome.err)


def test_devices_are_shown_in_columns(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Device(0, "USB", "ALSA", 48_000, 1, False), Device(1, "Built-in", "ALSA", 44_100, 2, True)]
    monkeypatch.setattr("streamd.sources.devices.list_devices", lambda: found)
    assert cli("devices").out.splitlines() == [
        "microphone  through  channels  Hz",
        "USB         ALSA     1         48000",
        "Built-in    ALSA     2         44100  default",
    ]
    found.clear()
    assert cli("devices").code == 69


def test_what_is_fetched_is_told_also_without_a_terminal(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def pull(name: str, settings: Models, report: Report) -> Path:
        for done in (1, 2):
            report(Progress("model.bin", done, 2))
        return tmp_path / name

    monkeypatch.setattr("streamd.models.pull", pull)
    assert cli("models", "pull", "base") == Outcome(0, f"base: {tmp_path / 'base'}\n", "fetching model.bin\n")


# --- live ---


def test_the_start_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load(environ={}).settings
    live._announce(settings, Running("http://127.0.0.1:8765/", "microphone: USB", "default", "whisper tiny.en"))
    live._announce(settings, Running("http://127.0.0.1:9000/", None, "default", "whisper tiny.en"))
    first, second = capsys.readouterr().err.split("engine      whisper tiny.en\n")[:2]
    assert "captions    http://127.0.0.1:8765/\n" in first
    assert "terminal    streamd listen\n" in first
    assert "listens to  microphone: USB\n" in first
    assert "terminal    streamd listen http://127.0.0.1:9000\n" in second


def test_run_says_where_a_token_goes_and_never_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load(None, ["server.tokens.viewer=['a-long-secret']"], {}).settings
    live._announce(settings, Running("http://127.0.0.1:8765/", None, "default", "whisper tiny.en"))
    text = capsys.readouterr().err
    assert "captions    http://127.0.0.1:8765/?token=…\n" in text
    assert "overlay     http://127.0.0.1:8765/overlay?token=…\n" in text
    assert "terminal    streamd listen --token …\n" in text
    assert "token       for … put one of server.tokens.viewer\n" in text
    assert "a-long-secret" not in text


HEAVY = ("av", "ctranslate2", "faster_whisper", "numpy", "onnxruntime", "soxr", "uvloop")


@pytest.mark.parametrize("arguments", [["--version"], ["listen", "ftp://x"]])
def test_what_needs_no_model_starts_without_what_models_need(arguments: list[str]) -> None:
    program = (
        "import sys; from streamd.cli import main; sys.argv = ['streamd', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit: print([name for name in sys.modules if '.' not in name])"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))


@contextmanager
def daemon(home: Path, *arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A daemon on any free port, and the address that it says it has."""
    command = [sys.executable, "-m", "streamd", "run", "--port", "0", *SCRIPTED, "--set", "store.path=", *arguments]
    with subprocess.Popen(command, env=environment(home), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("captions"):
                    break
            yield process, line.split()[1]
        finally:
            process.kill()


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "STREAMD_"))}
    return {**kept, "HOME": str(home)}


def test_a_daemon_is_listened_to_and_drains(tmp_path: Path, cli: Cli) -> None:
    with daemon(tmp_path, "--source", DATA / "jfk.flac", "--fast", "--session", "talk") as (process, url):
        text = cli("listen", url, "--once")
        assert (text.code, text.err) == (0, "")
        assert text.out.startswith("one two three")
        events = [json.loads(line) for line in cli("listen", url, "--once", "--json").out.splitlines()]
        assert events[0]["type"] == "welcome"
        assert "".join(event["text"] + "\n" for event in events if event["type"] == "final") == text.out
        assert "[idle]" in cli("listen", url, "--once", "--plain", "--session", "talk").out
        process.terminate()
        assert process.wait() == 0


def test_a_busy_port_ends_with_69(tmp_path: Path, cli: Cli) -> None:
    with daemon(tmp_path, "--source", "none") as (_, url):
        port = url.rstrip("/").rpartition(":")[2]
        outcome = cli("run", "--source", "none", "--port", port, *SCRIPTED, "--set", "store.path=")
    assert outcome.code == 69
    assert port in outcome.err.splitlines()[-1]


def test_an_interrupted_reader_ends_with_130_and_a_closed_pipe_quietly(tmp_path: Path) -> None:
    with daemon(tmp_path, "--source", DATA / "jfk.flac", "--fast") as (_, url):
        command = [sys.executable, "-m", "streamd", "listen", url]
        reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with reader:
            assert reader.stdout is not None
            assert reader.stdout.readline().startswith("one")
            reader.send_signal(signal.SIGINT)
            assert reader.wait() == 130
            assert reader.stderr is not None
            assert reader.stderr.read() == ""
        read, write = os.pipe()
        os.close(read)
        try:
            done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
        finally:
            os.close(write)
        assert (done.returncode, done.stderr) == (1, "")


def test_every_command_is_in_the_entry_point() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"streamd": "streamd.cli:main"}
