"""What every source of sound delivers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Missing:
    """Samples (16 kHz) that never arrived, and why: `overflow`, `source_lost`, `damaged`."""

    samples: int
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What readers should know about the source, in plain words."""

    state: Literal["source_lost", "source_found", "broken_off"]  # the last: there was to be more of it
    detail: str


Chunk = bytes | Missing | Notice


class Source(Protocol):
    """A stream of sound. Iterate it within `contextlib.aclosing`: closing it releases its device, file or thread."""

    @property
    def name(self) -> str:
        """As shown to readers: `microphone: USB Audio`, `file: talk.mp4`, `socket 127.0.0.1`."""
        ...

    @property
    def live(self) -> bool:
        """True: real time, and sound that nobody takes is lost. False: it waits."""
        ...

    def chunks(self) -> AsyncGenerator[Chunk, None]:
        """16 kHz mono s16le in pieces of any length, what is missing between them, and notices, until the end.

        Raises UnavailableError if the source can't be opened.
        """
        ...
