"""Commands about what was said: transcribe, export."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from streamd.cli.options import ConfigFile, Format, LogLevel, Pipeline, Sets, TranscriptFormat, loaded, prepared
from streamd.core.subtitle import stream
from streamd.core.view import fold
from streamd.errors import StreamdError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamd.core.events import Event
    from streamd.store import Recorded

LISTED = 8  # sessions in an error: those that were used last
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder for the transcripts.")]


def transcribe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Audio or video.", show_default=False)],
    form: TranscriptFormat = Format.txt,
    output: Output = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="See `streamd models list`, or a folder.")] = None,
    language: Annotated[str | None, typer.Option(metavar="TAG", help="en, de, fr, … or auto.")] = None,
    pipeline: Pipeline = None,
    config: ConfigFile = None,
    sets: Sets = None,
    log_level: LogLevel = None,
) -> None:
    """Transcribe recordings, as quick as this machine can. One goes to stdout; several need --output."""
    flags = {"engines.whisper.model": model, "pipeline.recognise.language": language, "pipeline_name": pipeline}
    settings = prepared(config, sets, log_level, flags, quiet=True)
    targets = _targets(files, form, output)
    from streamd import daemon

    failed: list[StreamdError] = []
    finals: list[Event] = []  # of the file that goes to stdout: written once nothing else draws on the terminal

    def done(path: Path, outcome: list[Event] | StreamdError) -> None:
        if isinstance(outcome, StreamdError):
            failed.append(outcome)
            typer.echo(f"streamd: {outcome}", err=True)
        elif targets[path] is None:
            finals.extend(outcome)
        else:
            _write(outcome, form, targets[path])

    with _progress(files) as progress:
        daemon.transcribe(settings, files, progress, done)
    if failed:
        raise typer.Exit(failed[-1].exit_code)
    if output is None:
        _write(finals, form, None)


def export(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="As `streamd run` named it.")],
    form: TranscriptFormat = Format.txt,
    store: Annotated[Path | None, typer.Option(metavar="FILE", help="A journal other than the configured one.")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Write what a session said to stdout, from the journal; also while the daemon runs."""
    path = store or loaded(config, sets, None).settings.store.path
    if path is None:
        raise UnavailableError("nothing was kept: store.path is empty; name a journal with --store FILE")
    from streamd.store import Journal

    journal = Journal.read(path)
    try:
        _check_recorded(session, journal.sessions(), path)
        _write(journal.history(session), form, None)
    finally:
        journal.close()


def _check_recorded(session: str, recorded: Sequence[Recorded], path: Path) -> None:
    """Raises UnavailableError if there is nothing of that session, with those of which there is something."""
    told = [one.name for one in recorded if one.finals or one.gaps]
    if session in told:
        return
    opened = any(one.name == session for one in recorded)
    reason = f"nothing is kept of session {session}" if opened else f"there is no session {session}"
    more = f" and {len(told) - LISTED} more" if len(told) > LISTED else ""
    known = f"it has {', '.join(told[:LISTED])}{more}" if told else "it is empty"
    raise UnavailableError(f"{path}: {reason}; {known}")


def _targets(files: Sequence[Path], form: Format, folder: Path | None) -> dict[Path, Path | None]:
    """Where each transcript goes; None: stdout. Raises UsageError before hours of work rather than after."""
    if folder is None:
        if len(files) > 1:
            raise UsageError(f"{len(files)} files: say with --output DIR where their transcripts go")
        return dict.fromkeys(files)
    targets: dict[Path, Path | None] = {file: folder / f"{file.stem}.{form}" for file in files}
    if len(set(targets.values())) < len(files):
        raise UsageError("two of these files have the same name: their transcripts would overwrite each other")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"{folder}: can't be used for transcripts: {error.strerror}") from error
    return targets


def _write(events: Iterable[Event], form: Format, target: Path | None) -> None:
    pieces = stream(fold(events).items, form.value)
    if target is None:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
        return
    try:
        with target.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
    except OSError as error:
        raise UnavailableError(f"{target}: can't be written: {error.strerror}") from error
    typer.echo(str(target), err=True)


class _Report(Protocol):
    def __call__(self, path: Path, heard_ms: int) -> None: ...


@contextmanager
def _progress(files: Sequence[Path]) -> Iterator[_Report]:
    """How far each file is, on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    console = Console(stderr=True)
    terminal = console.is_terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not terminal) as progress:
        task = progress.add_task(f"{files[0].name}: loading the model", total=None)

        def report(path: Path, heard_ms: int) -> None:
            minutes, seconds = divmod(heard_ms // 1000, 60)
            progress.update(task, description=f"{path.name}: {minutes}:{seconds:02d} transcribed")

        yield report
