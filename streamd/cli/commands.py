"""Voice commands: check packs, test them, try them, take over other systems' grammars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from streamd.errors import ConfigError, UnavailableError, UsageError

commands = typer.Typer(help="Voice commands: lint, test, try, import packs of them.", no_args_is_help=True)

Packs = Annotated[
    list[str],
    typer.Argument(metavar="PACK", help="A YAML file, a folder of them, a shipped pack's name, or module:attribute."),
]


@commands.command()
def lint(
    packs: Packs,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    spoken: Annotated[bool, typer.Option("--spoken", help="Have a voice read sentences, and hear them.")] = False,
    model: Annotated[str, typer.Option(metavar="NAME", help="Hears what is spoken.")] = "base",
) -> None:
    """Check packs: sentences of two meanings, tests that fail, values that can't be enforced, what sounds alike."""
    from streamd.commands.documents import shown
    from streamd.commands.files import load
    from streamd.core.commands.lint import lint as examine

    loaded = load(packs)
    grammar = loaded.grammar()
    found = examine(grammar)
    if spoken:
        from streamd.commands.speak import round_trip

        found += round_trip(grammar, model)
    for finding in found:
        typer.echo(f"{loaded.origins[finding.place]}: {finding.level}: {shown(finding.place)}: {finding.message}")
    levels = [finding.level for finding in found]
    errors, warnings = levels.count("error"), levels.count("warning")
    size = f"{len(loaded.pack.commands)} commands in {', '.join(loaded.pack.languages)}"
    typer.echo(f"{size}: {errors} errors, {warnings} warnings; version {loaded.pack.version}")
    if errors or (strict and warnings):
        raise typer.Exit(ConfigError.exit_code)


@commands.command()
def test(packs: Packs) -> None:
    """Run the tests that packs hold: what must be understood, and what must not."""
    from streamd.commands.files import load
    from streamd.core.commands.lint import tests

    loaded = load(packs)
    failed = list(tests(loaded.grammar()))
    for finding in failed:
        typer.echo(f"{loaded.origins[finding.place]}: {finding.message}")
    count = sum(len(command.tests.accept) + len(command.tests.reject) for command in loaded.pack.commands.values())
    typer.echo(f"{count - len(failed)} of {count} tests passed")
    if failed:
        raise typer.Exit(ConfigError.exit_code)


class _Greedy(TyperCommand):
    """`--text` and `--audio` take all that follows, up to the next option, once the pack has been named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_spelt_out(args)))


_MANY = ("--text", "--audio")
_ONE = ("--language", "--model")


def _spelt_out(args: Iterable[str]) -> Iterator[str]:
    """The option before each of its values: --text A B is --text A --text B."""
    option, values, named = "", 0, False
    for arg in args:
        if arg.startswith("-"):
            option, values = arg, 0
        elif option in _MANY and (values == 0 or named):
            if values:
                yield option
            values += 1
        elif option in _ONE and values == 0:
            values = 1
        else:
            named = True
        yield arg


@commands.command("try", cls=_Greedy)
def try_(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="As for lint.", show_default=False)],
    texts: Annotated[list[str] | None, typer.Option("--text", metavar="TEXT", help="As if it had been heard.")] = None,
    audio: Annotated[list[Path] | None, typer.Option("--audio", metavar="FILE", help="Recordings, or folders.")] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help="Hears recordings; see `streamd models list`.")] = "base",
    language: Annotated[str | None, typer.Option(metavar="TAG", help="en, de, …; all of the pack's otherwise.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one line for each input.")] = False,
) -> None:
    """Show what would be done, asked about or rejected, and why. Nothing is sent anywhere.

    Of recordings it shows what was heard, and signs of how certain that is: commands/README.md explains them.
    """
    if not texts and not audio:
        raise UsageError("nothing to try: give --text TEXT or --audio FILE")
    from streamd.commands.files import load
    from streamd.commands.trial import one_of, try_text

    grammar = load([pack]).grammar()
    language = language if language is None else one_of(grammar, language)
    for text in texts or ():
        tried = try_text(grammar, text, language)
        typer.echo(tried.as_json() if as_json else tried.in_words())
    if audio:
        from streamd.commands.hear import recordings, try_recordings

        for heard in try_recordings(grammar, recordings(audio), model, language, _warn):
            typer.echo(heard.as_json() if as_json else heard.in_words())


def _warn(line: str) -> None:
    typer.echo(f"streamd: {line}", err=True)


class Origin(StrEnum):
    """Systems whose grammars are taken over."""

    rhino = "rhino"
    hassil = "hassil"
    rhasspy = "rhasspy"
    openai = "openai"
    mcp = "mcp"


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The grammar, sentences or tools of another system.")],
    origin: Annotated[Origin, typer.Option("--from", help="Where it comes from.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="PACK", help="The pack that is written.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace a pack that is there.")] = False,
) -> None:
    """Make a pack of another system's grammar. Its slots become parameters of the same names."""
    from streamd.commands.documents import write_yaml
    from streamd.commands.files import load
    from streamd.commands.imports import convert

    if out.exists() and not force:
        raise UsageError(f"{out}: is there already; --force replaces it")
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise UnavailableError(f"{file}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: byte {error.start} is not UTF-8") from error
    written = f"# From {file.name} ({origin}). Review it: what it says of safety is a guess.\n\n"
    written += write_yaml(convert(origin, text, str(file)))
    try:
        out.write_text(written, encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"{out}: can't be written: {error.strerror}") from error
    pack = load([out])
    pack.grammar()
    risks = ", ".join(sorted({command.safety.risk for command in pack.pack.commands.values()}))
    typer.echo(f"{out}: {len(pack.pack.commands)} commands, risk {risks}; next: streamd commands lint {out}")


@commands.command()
def replay(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="As for lint.", show_default=False)],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `streamd commands audit` wrote.", exists=True, dir_okay=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs: every utterance, one line for each.")] = False,
) -> None:
    """Show what a changed pack would make of utterances that were heard, before it goes live. Nothing is sent."""
    from streamd.commands.files import load
    from streamd.commands.replay import replay as again

    grammar = load([pack]).grammar()
    with file.open(encoding="utf-8") as rows:
        replayed = list(again(grammar, rows, str(file)))
    if as_json:
        for utterance in replayed:
            typer.echo(utterance.as_json())
        return
    differing = [utterance for utterance in replayed if utterance.differs]
    for utterance in differing:
        typer.echo(utterance.in_words())
    typer.echo(
        f"{len(replayed)} utterances, {len(differing)} with another outcome under version {grammar.pack.version}"
    )
