"""The command that measures: bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamd.cli.options import ConfigFile, LogLevel, Pipeline, Sets, loaded, prepared
from streamd.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from streamd.bench import Recording, Report
    from streamd.settings import Settings

INSTALL = "in the environment that streamd is in, run pip install 'psutil>=6' 'whisper-normalizer>=0.1'"

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE]...", help="Played one after the other; the demonstration if there is none."),
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
    output: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures to a file.")] = None,
    log: Annotated[Path | None, typer.Option(metavar="DIR", help="Write what was shown when to files.")] = None,
    pipeline: Pipeline = None,
    config: ConfigFile = None,
    sets: Sets = None,
    log_level: LogLevel = None,
) -> None:
    """Measure how early, steady, right and cheap captions are: recordings at their own pace, through a daemon."""
    numbers = _numbers(sessions)
    flags = {"engines.whisper.model": model, "pipeline_name": pipeline}
    settings = prepared(config, sets, log_level, flags, quiet=True)
    try:
        from streamd.bench import Plan, Report, Streamd, load, normaliser, run
    except ModuleNotFoundError as error:
        raise UnavailableError(f"bench needs {error.name}: {INSTALL}") from error

    subject = Streamd(loaded(config, sets, log_level, flags))
    recording = load(files or [_demonstration()])
    normalise = normaliser(recording.reference.language)
    report = Report(recording.name, subject.settings)
    recording = _timed(recording, settings, report)
    plan = Plan(chunk_ms, tail_s, log)
    for number in numbers:
        for turn in range(repeat):
            _say(f"{subject.name}, sessions: {number}, {recording.duration_s + tail_s:.0f} s, {turn + 1} of {repeat}")
            report.runs.append(run(subject, recording, number, plan, normalise))
    typer.echo(report.table(), nl=False)
    if output is not None:
        _write(report, output)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise UsageError(f"--sessions {text}: write numbers from 1, as in --sessions 1,2,4,8")
    return numbers


def _demonstration() -> Path:
    from streamd.resources import resource

    return resource("demo/demo.flac")


def _timed(recording: Recording, settings: Settings, report: Report) -> Recording:
    """The recording with the times of its words, and a note where they or the words had to be guessed."""
    if recording.reference.words:
        return recording
    from streamd.bench.offline import with_times

    _say("no word times beside the recording: finding them with the model")
    if recording.reference.text is None:
        report.notes.append(
            "no reference beside the recording: no error rate; delays are those of what the model hears"
        )
    else:
        report.notes.append(
            "word times are the model's own: Whisper ends words about 80 ms early, so delays look longer"
        )
    return with_times(recording, settings)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _write(report: Report, path: Path) -> None:
    try:
        path.write_text(json.dumps(report.json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"{path}: can't be written: {error.strerror}") from error
