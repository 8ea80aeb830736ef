"""Commands about this machine: devices, check, models."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamd import logs
from streamd.cli.options import ConfigFile, LogLevel, Pipeline, Sets, loaded, one_of, prepared
from streamd.errors import UnavailableError

if TYPE_CHECKING:
    from rich.progress import TaskID

models = typer.Typer(help="Weights: what there is, fetch, verify, export.", no_args_is_help=True)


class Dtype(StrEnum):
    """Of exported weights, as engines/gemma/export/dtypes.py has them."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"
    q4 = "q4"
    q4f16 = "q4f16"


DTYPE = typer.Option(
    parser=lambda text: one_of(Dtype, text), metavar="|".join(Dtype), help="What weights are stored and computed as."
)


def devices() -> None:
    """Show the microphones that there are. Part of a name selects one: --set source.device=NAME."""
    from streamd.sources.devices import list_devices

    found = list_devices()
    if not found:
        raise UnavailableError("no microphone found; `streamd check` says more")
    rows = [(it.name, it.host_api, str(it.channels), str(it.rate), "default" if it.default else "") for it in found]
    _table(("microphone", "through", "channels", "Hz", ""), *rows)


def check(
    everything: Annotated[bool, typer.Option("--all", help="Show every setting, not only the changed ones.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    pipeline: Pipeline = None,
    config: ConfigFile = None,
    sets: Sets = None,
    log_level: LogLevel = None,
) -> None:
    """Check configuration, microphone, model, journal and port, and recognise a test sentence."""
    logs.set_up(log_level or "WARNING")
    flags = {"pipeline_name": pipeline}
    from streamd.check import examine, verdict

    findings = []
    for finding in examine(lambda: loaded(config, sets, log_level, flags), everything=everything):
        findings.append(finding)
        if not as_json:
            typer.echo(f"{finding.state:5}{finding.check}: {finding.detail}")
            sys.stdout.writelines(f"       {line}\n" for line in finding.more)
            sys.stdout.flush()
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    raise typer.Exit(verdict(findings))


def _table(*rows: Sequence[str]) -> None:
    """Columns as wide as they have to be, whole lines: for eyes, screen readers and grep alike."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@models.command("list")
def list_models(config: ConfigFile = None, sets: Sets = None) -> None:
    """Show the weights that can be had and those that are here."""
    from streamd.models import CATALOGUE, installed

    settings = loaded(config, sets, None).settings
    here = {found.name: found for found in installed(settings.models)}
    rows = []
    for name in dict.fromkeys([*CATALOGUE, *here]):
        known, found = CATALOGUE.get(name), here.get(name)
        size = known.megabytes if known else here[name].size_bytes // 1_000_000
        place = (found.fault or str(found.folder)) if found else "-"
        used = " (used)" if name == settings.weights else ""
        rows.append((f"{name}{used}", known.languages if known else "?", str(size), place))
    _table(("model", "languages", "MB", "here"), *rows)


Names = Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="The configured one, if none is named.")]


@models.command()
def pull(names: Names = None, config: ConfigFile = None, sets: Sets = None, log_level: LogLevel = None) -> None:
    """Fetch weights and compare them with their digests. What is here already is not fetched again."""
    settings = prepared(config, sets, log_level, quiet=True)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from streamd import models as weights

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    folders: list[tuple[str, Path]] = []
    terminal = console.is_terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report(now: weights.Progress) -> None:
            if now.what not in tasks:
                tasks[now.what] = progress.add_task(now.what)
                if progress.disable:
                    typer.echo(f"fetching {now.what}", err=True)
            progress.update(tasks[now.what], completed=now.done_bytes, total=now.total_bytes)

        for name in names or [settings.weights]:
            folders.append((name, weights.pull(name, settings.models, report)))
    for name, folder in folders:
        typer.echo(f"{name}: {folder}")


@models.command()
def verify(names: Names = None, config: ConfigFile = None, sets: Sets = None) -> None:
    """Compare every file of weights with its digest."""
    settings = loaded(config, sets, None).settings
    from streamd import models as weights

    faults = []
    for name in names or [settings.weights]:
        states = []
        for file in weights.verify(name, settings.models):
            typer.echo(f"{name}: {file.file}: {_STATES[file.state]}")
            states.append(file.state)
        if wrong := states.count("missing") + states.count("differs"):
            faults.append(f"{name}: {wrong} of {len(states)} files are amiss; {weights.way_out(name, settings.models)}")
        elif "ok" not in states:
            faults.append(f"{name}: nothing was compared: no digests are known; a pull or an export notes them")
        else:
            typer.echo(f"{name}: {states.count('ok')} of {len(states)} files compared, no damage")
    if faults:
        raise UnavailableError("; ".join(faults))


@models.command("export")
def export_model(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a Gemma 4 E2B or E4B.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; further dtypes may be added later.")],
    dtype: Annotated[Dtype, DTYPE] = Dtype.q4,
) -> None:
    """Turn a Hugging Face checkpoint of Gemma 4 into the graphs that its engine runs (needs the extra `export`)."""
    from streamd.engines.gemma.export import export

    logs.set_up("WARNING")
    manifest = export(checkpoint, out, dtype, lambda what: typer.echo(what, err=True))
    typer.echo(f"{dtype}: {manifest}")


_STATES = {
    "ok": "ok",
    "missing": "missing",
    "differs": "not what was fetched or exported",
    "unpinned": "nothing to compare with",
}
