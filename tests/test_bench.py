"""`streamd bench`: what it reads, how it feeds, what it tells. How quick this machine is, is nobody's claim here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from streamd.bench import Report, Streamd, load, normaliser
from streamd.bench.offline import timed
from streamd.bench.own import snapshots
from streamd.bench.run import Run, near_silence
from streamd.bench.subject import Tape
from streamd.bench.usage import Sample, between
from streamd.config import load as load_settings
from streamd.core.events import Body, Event, Final, Gap, Partial
from streamd.core.figures import Figures
from streamd.core.measure import Reference
from streamd.errors import ConfigError
from tests.conftest import DATA
from tests.e2e.daemon import PATIENCE_S, has_ended, own_environment, streamd
from tests.sound_files import tone, write_media

HEARD = [("Hello", 0.2, 0.6), ("dear", 0.7, 1.0), ("whirled.", 2.5, 3.0)]


def sound_file(folder: Path, name: str, seconds: float = 1.0) -> Path:
    path = folder / f"{name}.wav"
    write_media(path, "pcm_s16le", tone(seconds, 16_000), 16_000)
    return path


# --- recordings -----------------------------------------------------------------------------------------------------


def test_recordings_are_played_one_after_the_other() -> None:
    one, two = (load([DATA / f"{name}.flac"]) for name in ("jfk", "goforward"))
    both = load([DATA / "jfk.flac", DATA / "goforward.flac"])
    assert both.sound == one.sound + two.sound
    assert both.reference.text == f"{one.reference.text} {two.reference.text}"
    assert both.name == "jfk.flac + goforward.flac"
    count = len(one.reference.words)
    ends_s = [word.end_s for word in both.reference.words[count:]]
    assert ends_s == [(word.end_s or 0) + one.duration_s for word in two.reference.words]
    assert both.reference.last_words == (*one.reference.last_words, *(count + n for n in two.reference.last_words))


def test_utterances_are_pieces_or_what_is_between_pauses(tmp_path: Path) -> None:
    path = sound_file(tmp_path, "said")
    said: dict[str, object] = {"text": "a b c d", "words": [["a", 0, 1], ["b", 1, 2], ["c", 3.5, 4], ["d", 4, 5]]}
    path.with_suffix(".json").write_text(json.dumps(said))
    assert load([path]).reference.last_words == (1, 3)
    said |= {"lang": "de", "pieces": [{"offset": 0, "dur": 1}, {"offset": 1, "dur": 2}, {"offset": 3, "dur": 2}]}
    path.with_suffix(".json").write_text(json.dumps(said))
    assert load([path]).reference.last_words == (0, 1, 3)
    assert load([path]).reference.language == "de"


def test_a_text_or_nothing_may_be_beside_the_sound(tmp_path: Path) -> None:
    path = sound_file(tmp_path, "said")
    assert load([path]).reference == Reference(None)
    path.with_suffix(".txt").write_text("Hello,\nworld\n")
    assert load([path]).reference == Reference("Hello, world", language="en")
    assert load([path, sound_file(tmp_path, "unknown")]).reference.text is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"text": 1}', "text: Input should be a valid string"),
        (b"{", "Invalid JSON"),
        (b'{"text": "a", "words": [["a"]]}', "words.0.1: Field required"),
        (b"\xff", "byte 0 is not UTF-8"),
    ],
)
def test_a_reference_that_is_none_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    path = sound_file(tmp_path, "said")
    path.with_suffix(".json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"said\.json") as caught:
        load([path])
    assert told in str(caught.value)


def test_times_come_from_words_that_were_heard() -> None:
    """What was misheard has none; without a text, what was heard is the reference."""
    found = timed(Reference("Hello dear world"), HEARD)
    assert [word.end_s for word in found.words] == [0.6, 1.0, None]
    assert found.last_words == (1,)
    guessed = timed(Reference(None), HEARD)
    assert guessed.text is None
    assert [word.end_s for word in guessed.words] == [0.6, 1.0, 3.0]
    assert guessed.last_words == (1, 2)


def test_error_rates_are_normalised_by_language() -> None:
    assert normaliser("en")("Mr. Smith isn't twenty") == normaliser(None)("mister smith is not 20")
    assert normaliser("ja")("晴れ。").split() == ["晴", "れ"]
    assert normaliser("fr")("L'Été !") == normaliser("fr")("l été ")


# --- feeding and reading --------------------------------------------------------------------------------------------


async def test_a_chunk_is_due_when_its_last_sample_would_have_been_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr("streamd.bench.subject.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("streamd.bench.subject.asyncio.sleep", sleep)
    tape = Tape(bytes(range(256)) * 30, chunk_ms=100)  # 240 ms
    sent = [(clock[0] - tape.start_s, chunk) async for chunk in tape.chunks()]
    assert [at_s for at_s, _ in sent] == pytest.approx([0.1, 0.2])
    assert b"".join(chunk for _, chunk in sent) == tape.sound[:6_400]
    assert tape.late_s == pytest.approx(0.0, abs=1e-9)


def test_near_silence_is_quiet_and_always_the_same() -> None:
    noise = np.frombuffer(near_silence(1.0), np.int16)
    assert len(noise) == 16_000
    assert 20 * np.log10(np.sqrt(np.mean((noise / 32_768) ** 2))) == pytest.approx(-62, abs=1)
    assert near_silence(1.0) == near_silence(1.0)


def test_snapshots_are_what_a_page_shows() -> None:
    bodies: list[Body] = [
        Partial(utterance=1, rev=1, start_ms=0, end_ms=500, text="Hello wor", committed=5),
        Final(utterance=1, start_ms=0, end_ms=1_000, text="Hello world.", engine="e"),
        Gap(start_ms=1_000, end_ms=2_000, reason="overflow"),
        Partial(utterance=4, rev=1, start_ms=2_000, end_ms=2_500, text="Again", committed=0),
    ]
    messages = [
        (float(seq), Event.seal(body, seq=seq, session="s", at_ms=0).json) for seq, body in enumerate(bodies, start=1)
    ]
    shots = snapshots([(0.0, '{"type": "unheard-of", "seq": 1, "session": "s", "at_ms": 0}'), *messages])
    assert [(shot.at_s, shot.shown, shot.committed, shot.final) for shot in shots] == [
        (1.0, "Hello wor", "Hello", ""),
        (2.0, "Hello world.", "Hello world.", "Hello world."),
        (3.0, "Hello world.", "Hello world.", "Hello world."),
        (4.0, "Hello world. Again", "Hello world.", "Hello world."),
    ]


def test_the_measured_daemon_has_our_settings(tmp_path: Path) -> None:
    """Those of a pipeline of our own, of --set and of the environment; but not our port and our journal."""
    sets = ["pipeline.endpoint.hangover_ms=820", 'pipeline.recognise.vocabulary=["Ann \\"A\\" Lee", "Å"]']
    environment = {"STREAMD_ENGINES__WHISPER__THREADS": "3", "STREAMD_SERVER__PORT": "9"}
    ours = load_settings(None, sets, environment, {"pipeline_name": "session", "models.directory": str(tmp_path)})
    command = list(map(str, Streamd(ours).command(1234, tmp_path, 9)))
    theirs = load_settings(
        Path(command[command.index("--config") + 1]), [it[6:] for it in command if it.startswith("--set=")], {}
    )
    assert theirs.settings.pipeline == ours.settings.pipeline
    assert theirs.settings.engines == ours.settings.engines
    assert theirs.settings.models == ours.settings.models
    assert theirs.settings.store.path is None
    assert theirs.settings.server.max_sessions == 9
    assert command[command.index("--port") + 1] == "1234"


def test_usage_is_between_two_moments_and_memory_since_the_start() -> None:
    samples = [Sample(float(n), 2.0 * n, 500.0 if n == 0 else 100.0 + n, 3.0 * n) for n in range(12)]
    usage = between(samples, 1.0, 11.0, 10.0)
    assert (usage.cpu_s, usage.other_cores, usage.peak_mb) == (20.0, 3.0, 500.0)
    assert usage.cpu_by_fifth == (2.0,) * 5
    assert usage.memory_by_fifth == (102.0, 104.0, 106.0, 108.0, 110.0)


# --- the report -----------------------------------------------------------------------------------------------------


def run_of(subject: str, sessions: int = 1, **figures: float | None) -> Run:
    return Run(subject, sessions, {"other_cores": 0.0, **figures}, {}, (), (), ())


def test_a_table_shows_ratios_medians_and_ranges() -> None:
    report = Report("x.flac", {})
    report.runs += [run_of("streamd", stays_p50_s=value, wer=0.0) for value in (0.2, 0.25, 0.3)]
    report.runs.append(run_of("peer", stays_p50_s=1.0, stays_p95_s=2.0, wer=0.1, sent_late_s=1.0))
    lines = report.table().splitlines()
    stays = next(line for line in lines if line.startswith("word stays"))
    assert "0.25 (0.20…0.30) / - / -" in stays
    assert "1.00 / 2.00 / -" in stays
    assert "4.0x / - / -" in stays
    assert not any(line.startswith("first text") for line in lines)
    assert "x" not in next(line for line in lines if line.startswith("word error"))


def test_a_wide_table_is_continued_below() -> None:
    """With the names of the figures in each part; a column that is too wide for all is alone."""
    report = Report("x.flac", {})
    report.runs += [run_of("streamd", sessions=number, wer=number / 100) for number in (1, 2, 4)]
    parts = report.table(80).rstrip().split("\n\n")
    assert [part.splitlines()[0].split("  ")[-1].strip() for part in parts] == [
        "streamd, 2 sessions",
        "streamd, 4 sessions",
    ]
    assert all(part.splitlines()[1].startswith("word error rate") for part in parts)
    assert len(report.table(1).split("\n\n")) == 3


def test_a_table_says_what_makes_it_doubtful() -> None:
    report = Report("x.flac", {}, notes=["a note"])
    figures: Figures = {"other_cores": 1.5, "wer": 0.1, "sent_late_s": 2.0}
    report.runs.append(Run("streamd", 2, figures, {}, (), (), ("did not come to an end",)))
    assert report.table().endswith(
        "a note\nstreamd, sessions: 2: did not come to an end\n"
        "other programs kept up to 1.50 cores busy: quote ratios, not seconds\n"
        "sound was sent up to 2.00 s late: a server did not take it, or this machine was too busy\n"
    )


# --- the command ----------------------------------------------------------------------------------------------------


def test_bench_measures_a_real_daemon(tmp_path: Path) -> None:
    """All of it, with the scripted engine, which counts: two sessions at once."""
    done = streamd(
        tmp_path,
        "bench",
        *(DATA / "goforward.flac", "--set", "pipeline.recognise.engine=scripted", "--sessions", "2"),
        *("--tail-s", "1", "--json", tmp_path / "out.json", "--log", tmp_path / "log"),
    )
    assert done.returncode == 0, done.stderr
    assert "streamd, 2 sessions" in done.stdout
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["settings"] == {"pipeline.recognise.engine": "scripted"}
    (run,) = written["runs"]
    assert (run["sessions"], run["faults"]) == (2, [])
    figures = run["figures"]
    assert figures["wer"] == 1.0
    assert figures["peak_mb"] > 0
    assert figures["utterances_lost"] == 0
    assert figures["first_text_s"] is not None
    shots = [json.loads(line) for line in (tmp_path / "log" / "streamd-2.1.jsonl").read_text().splitlines()]
    assert shots[-1]["shown"] == shots[-1]["final"] != ""
    assert not (tmp_path / "journal.sqlite3").exists()


@pytest.mark.parametrize("sessions", ["0", "two", "1,,2"])
def test_bench_refuses_numbers_that_are_none(sessions: str, tmp_path: Path) -> None:
    done = streamd(tmp_path, "bench", "--sessions", sessions)
    assert done.returncode == 2
    assert f"--sessions {sessions}: write numbers from 1" in done.stderr


def test_bench_tells_why_a_daemon_does_not_start(tmp_path: Path) -> None:
    """With the end of its log."""
    done = streamd(
        tmp_path, "bench", DATA / "goforward.flac", "--set=pipeline.recognise.engine=scripted",
        "--set", f"engines.scripted.script={tmp_path / 'none.toml'}",
    )  # fmt: skip
    assert done.returncode == 69
    assert "streamd ended with code" in done.stderr
    assert "none.toml" in done.stderr


def test_bench_tells_what_it_needs(tmp_path: Path) -> None:
    """Where only what running needs is installed."""
    (tmp_path / "psutil.py").write_text("raise ModuleNotFoundError('psutil', name='psutil')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "streamd", "bench"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 69
    assert "bench needs psutil" in done.stderr
    assert "pip install 'psutil>=6' 'whisper-normalizer" in done.stderr


def test_bench_leaves_no_server_behind(tmp_path: Path) -> None:
    """However it is ended."""
    command = [sys.executable, "-m", "streamd", "bench", "--set", "pipeline.recognise.engine=scripted"]
    environment = own_environment(tmp_path)
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as bench:
        family: list[psutil.Process] = []
        while len(family) < 2:  # the daemon and its worker
            assert bench.poll() is None
            family = psutil.Process(bench.pid).children(recursive=True)
        bench.terminate()
        assert bench.wait(PATIENCE_S) != 0
    assert all(has_ended(process.pid) for process in family)
