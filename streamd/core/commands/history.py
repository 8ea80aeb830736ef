"""What a former run left in a session's log: commands, when they were sent, and finals that it never read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streamd.core.events import Command, Event, Final

UNREAD_MS = 30_000
"""Finals so much older than the journal's last event had been read when the daemon died."""


@dataclass(frozen=True, slots=True)
class History:
    """`sent_ms` is by the wall's clock of then, which may be ahead of today's: clocks are set."""

    commands: list[Command] = field(default_factory=list)
    sent_ms: dict[str, int] = field(default_factory=dict)  # command's name → when it was sent last
    unread: list[Final] = field(default_factory=list)


def history(events: Iterable[Event]) -> History:
    """What the events of a log say of voice commands; others are passed by."""
    left = History()
    finals: list[tuple[int, Final]] = []
    last_ms = 0
    for event in events:
        match event.body:
            case Command() as told:
                left.commands.append(told)
                if told.state == "dispatched" and told.name is not None:
                    left.sent_ms[told.name] = max(event.at_ms, left.sent_ms.get(told.name, 0))
            case Final() as final:
                finals.append((event.at_ms, final))
            case _:
                continue
        last_ms = event.at_ms
    known = {told.utterance for told in left.commands}
    left.unread.extend(
        final for at_ms, final in finals if final.utterance not in known and at_ms >= last_ms - UNREAD_MS
    )
    return left
