"""`streamd commands audit`: what commands did, for the files and for the safety officer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamd.cli.options import ConfigFile, Sets, loaded
from streamd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamd.core.commands.soak import Soak
    from streamd.store import Entry


def audit(
    session: Annotated[str | None, typer.Option(metavar="NAME", help="Rows of this session only.")] = None,
    soak: Annotated[
        bool, typer.Option("--soak", help="Hours listened and actions per hour, by grammar, instead of rows.")
    ] = False,
    head: Annotated[
        str | None, typer.Option(metavar="HASH", help="A hash that was kept elsewhere and has to be in the chain.")
    ] = None,
    store: Annotated[Path | None, typer.Option(metavar="FILE", help="A journal other than the configured one.")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Write the audit of commands as JSON Lines, and verify that nobody has changed it; also while the daemon runs.

    Ends with 69 if the chain of hashes is broken.
    """
    from streamd.store import FIRST, Journal, broken

    path = store or loaded(config, sets, None).settings.store.path
    if path is None:
        raise UnavailableError("nothing was kept: store.path is empty; name a journal with --store FILE")
    journal = Journal.read(path)
    try:
        rows = list(journal.audit())
    finally:
        journal.close()
    chosen = [row for row in rows if session in (None, row.session)]
    if soak:
        _write_soak(chosen)
    else:
        sys.stdout.writelines(f"{row.json()}\n" for row in chosen)
        sys.stdout.flush()
    if fault := broken(rows, head):
        raise UnavailableError(f"{path}: the audit is broken: {fault}")
    typer.echo(f"{len(rows)} rows, none was changed; the newest hash is {rows[-1].hash if rows else FIRST}", err=True)


def _write_soak(rows: Iterable[Entry]) -> None:
    from streamd.core.commands.soak import tally

    for soak in tally((row.kind, json.loads(row.record), json.loads(row.note)) for row in rows):
        mode = "shadow" if soak.shadow else "live"
        names = ", ".join(f"{name} {count}" for name, count in soak.acted.most_common()) or "none"
        typer.echo(
            f"grammar {soak.grammar or 'unknown'}, {mode}: {soak.hours:.2f} h, actions: {names}; "
            f"{_rate(soak)}; "
            f"asked {soak.asked.total()} times"
        )


def _rate(soak: Soak) -> str:
    if not soak.heard_ms:
        return "nobody has told yet how long was listened"
    return f"{soak.acted_per_hour:.3f} per hour, at most {soak.at_most_per_hour:.3f} (95 %)"
