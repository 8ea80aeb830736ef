"""What the server needs of the rest of the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from streamd.core.commands.definition import Scalar
from streamd.core.commands.request import Person
from streamd.core.events import Event
from streamd.core.log import Log
from streamd.core.wire import Answer
from streamd.sources import Source


class SourceBusy(Exception):  # noqa: N818 - an answer rather than an error
    """The session has a source. The message says which one."""


class SessionLimit(Exception):  # noqa: N818 - as above
    """There are as many sessions as there may be. The message names them."""


class Session(Protocol):
    """One audio timeline with one log."""

    readers: int  # connected now; the server counts

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Log: ...

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Names and jargon that are expected now."""
        ...

    async def wait_newer(self, seq: int) -> None:
        """Return once readers may see something after `seq`."""
        ...

    def delivered(self, event: Event) -> None:
        """A reader has been sent this event."""
        ...

    def answer(self, answer: Answer, by: Person) -> None:
        """Somebody answers a question. Raises NoAnswer where that does not count."""
        ...

    async def hear(self, source: Source, *, take_over: bool = False, speaker: Person | None = None) -> None:
        """Feed `source` to its end, finalise what is open, append `ended`.

        `speaker`: whose sound it is, as far as that is known. With `take_over` another source is ended first, and its
        `hear` returns; without it raises SourceBusy.
        """
        ...


class Hub(Protocol):
    """The daemon's sessions."""

    stopping: asyncio.Event  # the daemon drains: speakers are cut off, readers stay until the server closes

    def names(self) -> list[str]:
        """Sessions that are open."""
        ...

    async def get(self, name: str) -> Session | None:
        """The session of that name, open or journalled; None: there never was one. Raises SessionLimit."""
        ...

    async def history(self, name: str) -> list[Event] | None:
        """Every durable event of a session, also those no longer in memory; None: there never was one of that name."""
        ...

    async def open(self, name: str) -> Session:
        """The session of that name, made if need be. Raises SessionLimit."""
        ...

    async def expect(self, name: str, terms: tuple[str, ...]) -> tuple[str, ...]:
        """Names and jargon that the session of that name, made if need be, expects from now on; lasts its life long.

        They take the place of former ones; returns them with the pipeline's. Raises ValueError if that is too much
        in all, and SessionLimit.
        """
        ...

    def states(self, told: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
        """What is known of the plant after it was told these; None where there are no commands that could ask."""
        ...

    def now_ms(self) -> int:
        """Wall-clock milliseconds since 1970: the clock that `at_ms` of events is from."""
        ...

    def state(self) -> list[dict[str, object]]:
        """A summary of each session for /v1/sessions: `name`, `state`, `source`, `readers`, …"""
        ...

    def ready(self) -> str | None:
        """None: captions can be made. Otherwise why not, in plain words."""
        ...
