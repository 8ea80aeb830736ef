"""What captions are shown on: a terminal, a screen reader's terminal, a pipe, a program."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

from streamd.core.events import Event, Final, Gap, Revised, Status, Welcome
from streamd.core.view import Interruption, Utterance, View, duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_ROUTINE = ("listening", "speech")  # states that follow each other all the time


@dataclass(frozen=True, slots=True)
class News:
    """What came at once."""

    messages: Sequence[str]  # as received
    events: Sequence[Event]  # in them that say something new; a welcome only where the view began anew
    view: View  # what holds now


class Screen(Protocol):
    """Where captions appear."""

    def show(self, news: News) -> None:
        """Show what came."""
        ...

    def notice(self, text: str) -> None:
        """How the connection is: why there is none, or empty if all is well."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def choose(*, plain: bool = False, as_json: bool = False, out: TextIO | None = None) -> Screen:
    """The screen for `out` (stdout): a live view on a terminal, clean finals anywhere else."""
    out = out or sys.stdout
    if as_json:
        return JsonLines(out)
    if plain:
        return PlainLines(out)
    return LiveScreen() if out.isatty() else Transcript(out)


class _Lines:
    """Lines on one stream, and what goes wrong on another."""

    def __init__(self, out: TextIO, notices: TextIO | None = None) -> None:
        self._out = out
        self._notices = notices or sys.stderr
        self._noticed = ""

    def notice(self, text: str) -> None:
        if text and text != self._noticed:
            print(f"streamd: {printable(text)}", file=self._notices, flush=True)
        self._noticed = text

    def close(self) -> None:
        self._out.flush()

    def _print(self, lines: Iterable[str]) -> None:
        if text := "".join(f"{line}\n" for line in lines):
            self._out.write(text)
            self._out.flush()


class JsonLines(_Lines):
    """Every message as it was received, one a line."""

    def show(self, news: News) -> None:
        self._print(news.messages)


class Transcript(_Lines):
    """What was said, one utterance a line, and what is missing; a second reading's lines come again, marked."""

    def show(self, news: News) -> None:
        self._print(line for event in news.events for line in self._lines(event))

    def _lines(self, event: Event) -> list[str]:
        if isinstance(event.body, Revised):
            return [f"[corrected] {printable(event.body.text)}"]
        return permanent(event)


class PlainLines(_Lines):
    """Lines that a screen reader reads once: utterances, interruptions, and what is happening when that changes."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out, notices=out)
        self._state = ""

    def notice(self, text: str) -> None:
        if not text and self._noticed:
            print("streamd: connected", file=self._notices, flush=True)
        super().notice(text)

    def show(self, news: News) -> None:
        self._print(line for event in news.events for line in self._lines(event))

    def _lines(self, event: Event) -> Iterable[str]:
        if not isinstance(event.body, Status):
            return permanent(event)
        state = "listening" if event.body.state in _ROUTINE else event.body.state
        told = f"[{': '.join(part for part in (state.replace('_', ' '), event.body.detail) if part)}]"
        changed, self._state = told != self._state, told
        return [printable(told)] if changed else []


class LiveScreen:
    """Utterances scroll into the terminal's own history; the open one and a line of status stay at the bottom."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._view = View()
        self._trouble = ""
        self._live.start()

    def show(self, news: News) -> None:
        self._view = news.view
        if lines := [line for event in news.events for line in permanent(event)]:
            self._console.print("\n".join(lines), markup=False, highlight=False)
        self._draw()

    def notice(self, text: str) -> None:
        self._trouble = printable(text)
        self._draw()

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> None:
        self._live.update(self._bottom(), refresh=True)

    def _bottom(self) -> RenderableType:
        from rich.console import Group

        spoken = open_text(self._view).wrap(self._console, self._console.width)
        room = max(1, self._console.height - 3)  # what does not fit would scroll away and be drawn twice
        return Group(*spoken[-room:], status_line(self._view, self._trouble))


def open_text(view: View) -> Text:
    """What is being said: committed words plain, tentative ones dim, an utterance a line."""
    from rich.text import Text

    text = Text()
    for item in view.items:
        if isinstance(item, Utterance) and not item.is_final:
            text.append("\n" if text else "")
            text.append(printable(item.stable)).append(printable(item.tentative), style="dim")
    return text


def status_line(view: View, trouble: str) -> Text:
    """One line that tells whether it works."""
    from rich.text import Text

    if trouble:
        return Text(f"○ {trouble}", style="yellow", no_wrap=True, overflow="ellipsis")
    status = view.status
    if status is None:
        return Text("○ connected", style="dim", no_wrap=True)
    mark, style = ("●", "green") if status.state in _ROUTINE else ("○", "yellow")
    parts = [status.state.replace("_", " ")]
    if status.lag_ms >= 100:
        parts.append(f"{duration(status.lag_ms)} behind")
    parts += [printable(part) for part in (status.detail, status.source, status.engine) if part]
    line = Text(mark, style=style, no_wrap=True, overflow="ellipsis")
    return line.append(" " + " · ".join(parts), style="default" if style == "yellow" else "dim")


def permanent(event: Event) -> list[str]:
    """The lines that stay of an event."""
    match event.body:
        case Final(text=text) if text:
            return [printable(text)]
        case Gap(start_ms=start_ms, end_ms=end_ms, reason=reason):
            return [Interruption(event.seq, start_ms, end_ms, reason, event).text]
        case Welcome():
            return ["[captions begin anew]"]
        case _:
            return []


def printable(text: str) -> str:
    """Without control characters: what a server sends must not steer the terminal."""
    return _CONTROLS.sub(" ", text)
