"""Commands about what is said now: run, listen."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from streamd.cli.options import ConfigFile, LogLevel, Pipeline, Session, Sets, prepared

if TYPE_CHECKING:
    from streamd.daemon import Running
    from streamd.settings import Settings

DEFAULT_URL = "http://127.0.0.1:8765"


def run(
    source: Annotated[
        str | None,
        typer.Option(
            metavar="auto|mic|none|-|FILE", help="A microphone, an audio or video file, or raw s16le on stdin."
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="A file as quick as possible, not at its own pace.")] = False,
    session: Session = None,
    pipeline: Pipeline = None,
    host: Annotated[str | None, typer.Option(help="Address to serve on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to serve on; 0: any free one.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Plain http beyond this machine.")] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    log_level: LogLevel = None,
) -> None:
    """Listen, and serve captions to browsers, overlays and terminals."""
    flags = {
        "source.kind": source,
        "source.fast": fast or None,
        "session": session,
        "pipeline_name": pipeline,
        "server.host": host,
        "server.port": port,
        "server.insecure": insecure or None,
    }
    settings = prepared(config, sets, log_level, flags)
    from streamd import daemon

    daemon.run(settings, lambda running: _announce(settings, running))


def _announce(settings: Settings, running: Running) -> None:
    url = running.url.rstrip("/")
    token = "?token=…" if settings.server.tokens else ""
    for name, value in (
        ("captions", f"{url}/{token}"),
        ("overlay", f"{url}/overlay{token}"),
        ("terminal", "streamd listen" + ("" if url == DEFAULT_URL else f" {url}") + (token and " --token …")),
        *([("token", f"for … put one of {_roles(settings)}")] if token else []),
        ("listens to", running.source or "nothing yet: sound comes from browsers and other programs"),
        ("session", running.session),
        ("engine", running.engines),
    ):
        typer.echo(f"{typer.style(f'{name:12}', bold=True)}{value}", err=True)


def _roles(settings: Settings) -> str:
    """The keys that tokens stand in; never the tokens."""
    return ", ".join(f"server.tokens.{role}" for role, tokens in settings.server.tokens if tokens)


def listen(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of the daemon or of its captions page.")] = DEFAULT_URL,
    session: Session = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines that are never changed, for screen readers and braille.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Events as they come, one a line.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Leave when the source is at its end.")] = False,
    token: Annotated[
        str | None, typer.Option(envvar="STREAMD_TOKEN", show_envvar=False, help="Or in STREAMD_TOKEN.")
    ] = None,
) -> None:
    """Show captions in this terminal. Into a pipe or file: what was said, one utterance a line, and what is missing.

    What a second pass corrects comes again there, after "[corrected]".
    """
    from streamd.listen import Address, Listener, choose

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the terminal is left as it was
    address = Address.parse(url, session, token)
    screen = choose(plain=plain, as_json=as_json)
    try:
        Listener(address, screen).run(once=once)
    finally:
        screen.close()
