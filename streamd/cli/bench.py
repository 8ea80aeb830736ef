"""The command that measures: bench."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Sequence
from itertools import cycle, product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamd.cli.options import ConfigFile, LogLevel, Pipeline, Sets, loaded, prepared
from streamd.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from streamd.bench import Recording, Report, Subject
    from streamd.settings import Settings

INSTALL = "in the environment that streamd is in, run pip install 'psutil>=6' 'whisper-normalizer>=0.1'"

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE", help="Played one after the other; the demonstration if there is none."),
]


def bench(
    files: Files = None,
    sessions: Annotated[
        str, typer.Option(metavar="N,N,...", help="How many at once; one measurement for each number.")
    ] = "1",
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="See `streamd models list`, or a folder.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Measure so many times: the median and the range are shown.")] = 1,
    chunk_ms: Annotated[int, typer.Option(min=10, max=2_000, help="Sound in a message.")] = 100,
    tail_s: Annotated[float, typer.Option(min=0, help="Near silence after the recordings.")] = 6.0,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="PEER", help="Another server, right after: see benchmarks/README.md. Can be repeated."),
    ] = None,
    python: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="The interpreter that the peer is installed for, one for each --against."),
    ] = None,
    peer_model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The same weights, where a peer needs another form of them.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures to a file.")] = None,
    log: Annotated[Path | None, typer.Option(metavar="DIR", help="Write what was shown when to files.")] = None,
    pipeline: Pipeline = None,
    config: ConfigFile = None,
    sets: Sets = None,
    log_level: LogLevel = None,
) -> None:
    """Measure how early, steady, right and cheap captions are: recordings at their own pace, through a daemon."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server is left behind
    numbers = _numbers(sessions)
    flags = {"engines.whisper.model": model, "pipeline_name": pipeline}
    settings = prepared(config, sets, log_level, flags, quiet=True)
    try:
        from streamd.bench import Plan, Report, Streamd, load, normaliser, run
    except ModuleNotFoundError as error:
        raise UnavailableError(f"bench needs {error.name}: {INSTALL}") from error

    ours = Streamd(loaded(config, sets, log_level, flags))
    recording = load(files or [_demonstration()])
    language = recording.reference.language or "en"
    subjects = [ours, *_peers(against or [], python or [], peer_model, language, settings)]
    report = Report(recording.name, ours.settings)
    recording = _timed(recording, settings, report)
    plan = Plan(chunk_ms, tail_s, log)
    failed: UnavailableError | None = None
    for number, turn, subject in product(numbers, range(repeat), subjects):
        if number > subject.max_sessions:
            report.note(f"{subject.name} takes {subject.max_sessions} at once, so not {number}")
            continue
        _say(f"{subject.name}, sessions: {number}, {recording.duration_s + tail_s:.0f} s, {turn + 1} of {repeat}")
        try:
            report.runs.append(run(subject, recording, number, plan, normaliser(language)))
        except UnavailableError as error:
            if subject is ours:
                raise
            failed = error
            report.note(str(error))  # what was measured so far is worth telling
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    typer.echo(report.table(width), nl=False)
    if output is not None:
        _write(report, output)
    if failed:
        raise typer.Exit(failed.exit_code)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise UsageError(f"--sessions {text}: write numbers from 1, as in --sessions 1,2,4,8")
    return numbers


def _peers(
    names: Sequence[str], pythons: Sequence[Path], model: Path | None, language: str, settings: Settings
) -> list[Subject]:
    """Peers with the weights, the language and the threads that streamd has."""
    from streamd import models
    from streamd.bench import peer
    from streamd.specs import hearing

    if not names:
        return []
    wanting = [name for name in names if name != "offline"]
    if len(pythons) not in (1, len(wanting)) and wanting:
        raise UsageError(f"--against {', '.join(wanting)}: give --python as often, in the same order")
    interpreters = cycle(pythons)
    folder = model or models.locate(settings.engines.whisper.model, settings.models)
    threads = hearing(settings).threads
    return [peer(name, None if name == "offline" else next(interpreters), folder, language, threads) for name in names]


def _demonstration() -> Path:
    from streamd.resources import resource

    return resource("demo/demo.flac")


def _timed(recording: Recording, settings: Settings, report: Report) -> Recording:
    """The recording with the times of its words, and a note where they or the words had to be guessed."""
    if recording.reference.words or recording.reference.text == "":
        return recording
    from streamd.bench.offline import with_times

    _say("no word times beside the recording: finding them with the model")
    if recording.reference.text is None:
        report.note("no reference beside the recording: no error rate; delays are those of what the model hears")
    report.note("word times are the model's own and some 0.1 s late: delays look that much shorter")
    return with_times(recording, settings)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _write(report: Report, path: Path) -> None:
    try:
        path.write_text(json.dumps(report.json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"{path}: can't be written: {error.strerror}") from error
