"""A journal with an audit in it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from streamd.core.events import Command, CommandState, Gap
from streamd.core.log import Log
from streamd.store import Journal


def told(state: CommandState) -> Command:
    return Command(command_id="c1", state=state, name="set_speed", params={"rpm": 95}, utterance=1)


def write_audit(path: Path) -> None:
    """A command and some gaps have happened, and it was listened for ten minutes."""
    with closing(Journal.open(path)) as journal:
        loaded = journal.load("room", 1_000)
        log = Log("room", loaded.epoch, next_seq=loaded.next_seq, write_ahead=True)
        states: tuple[CommandState, ...] = ("proposed", "confirmed", "succeeded")
        for number, state in enumerate(states):
            note = {"heard": f"set two {number}"} | ({} if number else {"grammar": "g1"})
            log.append(told(state), 2_000 + number, json.dumps(note))
            log.append(Gap(start_ms=0, end_ms=1, reason="overflow"), 2_500)
        for _ in range(2):  # the second time changes nothing
            journal.write("room", log.unconfirmed(), [], log.next_seq, 3_000)
        journal.listened("room", '{"heard_ms": 600000, "grammar": "g1", "shadow": false}', 4_000)
