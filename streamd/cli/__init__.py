"""The commands. Each module has a few; what is heavy is imported inside the command that needs it."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from streamd import __version__
from streamd.cli import audit, bench, commands, live, machine, recordings
from streamd.errors import StreamdError

STDERR = 2

app = typer.Typer(
    name="streamd",
    help="Live captions from your own microphone, offline, on your own hardware.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # no boxes: help and errors are read by screen readers and log files too
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(live.run)
app.command()(live.listen)
app.command()(recordings.transcribe)
app.command()(recordings.export)
app.command()(machine.devices)
app.command()(machine.check)
app.command()(bench.bench)
app.add_typer(machine.models, name="models")
commands.commands.command()(audit.audit)
app.add_typer(commands.commands, name="commands")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamd {__version__}")
        raise typer.Exit


@app.callback()
def _streamd(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run one command and end with its exit code: 0 done, 2 usage, 69 unavailable, 70 internal, 78 configuration.

    What went wrong is said in one line; the traceback appears at --log-level DEBUG.
    """
    _open_standard_streams()
    try:
        app()
    except StreamdError as error:
        _end(error, str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - a fault of ours gets its exit code, and a line instead of fifty
        _end(error, f"internal fault, please report it: {type(error).__name__}: {error}", StreamdError.exit_code)


def _open_standard_streams() -> None:
    """Where they are closed (`<&-`) the first sockets would get their numbers, on which libuv aborts."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def _end(error: Exception, line: str, code: int) -> NoReturn:
    logging.getLogger("streamd").debug("where it went wrong", exc_info=error)
    typer.echo(f"streamd: {line}", err=True)
    sys.exit(code)
