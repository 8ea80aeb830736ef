"""What a log holds of voice commands when the daemon comes back."""

from __future__ import annotations

from typing import Any

from streamd.core.commands.history import UNREAD_MS, History, history
from streamd.core.events import Command, Final, Status
from streamd.core.log import Log


def command(number: int, state: Any, name: str | None = "light_on") -> Command:
    return Command(command_id=f"c{number}", state=state, name=name, params={}, utterance=number)


def final(number: int) -> Final:
    return Final(utterance=number, text="light on", start_ms=0, end_ms=9, engine="whisper")


def test_an_empty_log_has_no_history() -> None:
    assert history([]) == History([], {}, [])


def test_it_is_known_when_each_command_was_sent_last() -> None:
    log = Log("room", "0123456789abcdef")
    for at_ms, told in (
        (3_000, command(1, "dispatched")),
        (2_000, command(2, "dispatched")),  # the clock was set back
        (4_000, command(3, "proposed")),
        (5_000, command(4, "rejected", None)),
        (6_000, command(5, "dispatched", "fan_on")),
    ):
        log.append(told, at_ms)
    left = history(log.since(0))
    assert left.sent_ms == {"light_on": 3_000, "fan_on": 6_000}
    assert [told.utterance for told in left.commands] == [1, 2, 3, 4, 5]


def test_late_finals_that_no_command_followed_were_not_read() -> None:
    log = Log("room", "0123456789abcdef")
    log.append(final(1), 10_000 - 1)
    log.append(final(2), 10_000)
    log.append(final(3), 20_000)
    log.append(command(3, "rejected"), 10_000 + UNREAD_MS)
    log.append(Status(state="speech"), 90_000)  # says nothing of when finals were read
    assert [final.utterance for final in history(log.since(0)).unread] == [2]
