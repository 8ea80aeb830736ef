"""A daemon reduced to its log, its journal and its readers, driven by chance.

Everything a daemon may do to its readers happens here in random order: finals that wait for the journal, late and
repeated partials, readers that sleep, lose their connection or hear something twice, crashes, a lost journal.
`python -m tests.random_room` writes what the readers of some rooms heard to tests/vectors, for the twin in JavaScript.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from random import Random

from streamd.core.events import Body, Command, CommandState, Ended, Event, Final, Gap, Partial, Revised, Status, Word
from streamd.core.log import Log
from streamd.core.revise import revise
from streamd.core.view import Item, Utterance, View
from streamd.core.words import HypothesisWord

VECTORS = Path(__file__).parent / "vectors"
WORDS = ("truth", "universally", "🎉", "👩🏽‍🦰", "नमस्ते", "दुनिया", "字幕", "𐍈𐌹", "naïve", "e\u0301te\u0327", "<b>&amp;")


class Reader:
    """One client. `heard` is every message it got, in the order of arrival."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.view = View()
        self.heard: list[str] = []
        self.log: Log | None = None  # the log that it is connected to

    def poll(self) -> None:
        if self.log is not self.room.log:
            self.connect()
        for event in self.room.log.since(self.view.seq):
            self.hear(event)

    def connect(self) -> None:
        self.log = self.room.log
        cursor = self.log.resume(self.view.seq, self.view.epoch)
        self.hear(self.log.welcome(cursor, "test", self.room.now_ms))

    def hear(self, event: Event) -> None:
        self.heard.append(event.json)
        self.view.apply(Event.parse(event.json))

    def hear_again(self, random: Random) -> None:
        """A message of this connection comes twice. Not its welcome, that tells where it goes on."""
        events = [Event.parse(text) for text in self.heard]
        start = max((i + 1 for i, event in enumerate(events) if event.body.type == "welcome"), default=0)
        if events[start:]:
            self.hear(random.choice(events[start:]))


class Room:
    """The daemon's side. Every method is one thing that may happen."""

    def __init__(self, random: Random, *, write_ahead: bool) -> None:
        self.random = random
        self.write_ahead = write_ahead
        self.crashed = False
        self.now_ms = 1_000
        self.epochs = 1
        self.log = self._log()
        self.journal: list[Event] = []
        self.partials: dict[int, Partial] = {}  # the newest one of each utterance; they are journalled too
        self.readers = [Reader(self) for _ in range(3)]

    def _log(self, next_seq: int = 1, history: Iterable[Event] = ()) -> Log:
        epoch = f"epoch-{self.epochs}"
        return Log("room", epoch, next_seq=next_seq, history=history, write_ahead=self.write_ahead)

    def _append(self, body: Body) -> Event:
        self.now_ms += 40
        return self.log.append(body, self.now_ms)

    def say(self) -> str:
        words = self.random.choices(WORDS, k=self.random.randrange(4))
        return "".join(word + self.random.choice(("", " ", ", ")) for word in words)

    def begin(self) -> None:
        event = self._append(Status(state="speech", source="mic"))
        text = self.say()
        self._partial(event.seq, 1, text, self.random.randint(0, len(text)))

    def _partial(self, utterance: int, rev: int, text: str, committed: int) -> None:
        partial = Partial(
            utterance=utterance, rev=rev, start_ms=utterance, end_ms=self.now_ms, text=text, committed=committed
        )
        self._append(partial)
        self.partials[utterance] = partial

    def revise(self) -> None:
        """Also of an utterance that has its final."""
        if self.partials:
            old = self.random.choice(list(self.partials.values()))
            text = old.text[: old.committed] + self.say()
            self._partial(old.utterance, old.rev + 1, text, self.random.randint(old.committed, len(text)))

    def finish(self) -> None:
        held = {event.body.utterance for event in self.log.since(0) if isinstance(event.body, Final)}
        waiting = {event.body.utterance for event in self.log.unconfirmed() if isinstance(event.body, Final)}
        unfinished = [key for key in self.partials if key not in held | waiting]
        if unfinished:
            self._final(self.random.choice(unfinished), "scripted")

    def _final(self, utterance: int, engine: str) -> None:
        partial = self.partials[utterance]
        text = partial.text[: partial.committed] + self.say()
        words = tuple(Word(text=word, start_ms=utterance, end_ms=self.now_ms, confidence=0.5) for word in text.split())
        self._append(
            Final(utterance=utterance, start_ms=utterance, end_ms=self.now_ms, text=text, words=words, engine=engine)
        )

    def read_again(self) -> None:
        """Also what nobody was told of yet, and what was read again before."""
        finals = [event.body for event in self.log.since(0) if isinstance(event.body, Final)]
        if finals:
            final = self.random.choice(finals)
            revision = revise(heard(final.text), heard(final.text[: self.random.randint(0, 9)] + self.say()))
            times = {"start_ms": final.start_ms, "end_ms": final.end_ms}
            again = Revised(
                utterance=final.utterance, text=revision.text, changes=revision.changes, engine="second", **times
            )
            self._append(again)

    def command(self) -> None:
        """A command is given, or goes on in some way; also in ways that it should not."""
        told = [event.body for event in self.log.since(0) if isinstance(event.body, Command)]
        states: tuple[CommandState, ...] = ("awaiting_confirmation", "confirmed", "denied", "dispatched", "succeeded")
        if told and self.random.random() < 0.7:
            self._append(self.random.choice(told).model_copy(update={"state": self.random.choice(states)}))
        else:
            number = self.log.next_seq
            name, params = self.random.choice(WORDS), {"rpm": number}
            self._append(Command(command_id=f"c{number}", state="proposed", name=name, params=params, utterance=number))

    def lose_sound(self) -> None:
        self._append(Gap(start_ms=self.now_ms, end_ms=self.now_ms + self.random.randrange(9_000), reason="overflow"))

    def tell(self) -> None:
        self._append(Status(state=self.random.choice(("listening", "idle", "degraded")), lag_ms=40))

    def end(self) -> None:
        self._append(Ended(audio_ms=self.now_ms))

    def write(self, share: float = 1.0) -> None:
        """The journal takes some of what waits for it, and says so."""
        self._store(share)
        if self.journal:
            self.log.confirm(self.journal[-1].seq)

    def _store(self, share: float) -> None:
        held = self.journal[-1].seq if self.journal else 0
        waiting = [event for event in self.log.unconfirmed() if event.seq > held]
        self.journal += waiting[: round(share * len(waiting))]

    def write_some(self) -> None:
        self.write(self.random.random())

    def crash(self) -> None:
        """Kill and restart. The journal may hold more than it had time to confirm, and not all partials."""
        self._store(self.random.random() if self.write_ahead else 1.0)
        self.crashed = True
        self.log = self._log(self.log.next_seq + 1_000, self.journal)
        finished = {event.body.utterance for event in self.journal if isinstance(event.body, Final)}
        for utterance in sorted(self.partials.keys() - finished):
            if self.random.random() < 0.7:
                self._final(utterance, "interrupted")
            else:  # the journal had no time for its partials
                del self.partials[utterance]
        self._append(Gap(start_ms=self.now_ms, end_ms=self.now_ms + self.random.randrange(9_000), reason="restart"))
        self._append(Status(state="starting"))

    def forget(self) -> None:
        """The journal is lost: a new epoch."""
        self.epochs += 1
        self.journal, self.partials = [], {}
        self.log = self._log()

    def somebody_polls(self) -> None:
        self.random.choice(self.readers[1:]).poll()

    def somebody_reconnects(self) -> None:
        self.random.choice(self.readers).connect()

    def somebody_hears_again(self) -> None:
        self.random.choice(self.readers).hear_again(self.random)

    def settle(self) -> None:
        """All is said, written and read."""
        self.tell()
        self.write()
        for reader in self.readers:
            reader.poll()


_USUAL = (
    *(Room.begin, Room.revise, Room.revise, Room.finish, Room.finish, Room.lose_sound, Room.tell),
    *(Room.read_again, Room.command, Room.end),
    *(Room.write, Room.write_some, Room.somebody_polls, Room.somebody_reconnects, Room.somebody_hears_again),
)
_RARE = (Room.crash, Room.crash, Room.forget)


def heard(text: str) -> tuple[HypothesisWord, ...]:
    """Words that make up `text`."""
    return tuple(HypothesisWord(word, 0.0, 0.0) for word in re.findall(r"\s*\S+", text.rstrip()))


def play(random: Random, steps: int) -> Room:
    """A room after `steps` random steps, settled. The first reader never sleeps."""
    room = Room(random, write_ahead=random.random() < 0.8)
    for _ in range(steps):
        random.choice(_RARE if random.random() < 0.05 else _USUAL)(room)
        room.readers[0].poll()
    room.settle()
    return room


def portable(view: View) -> dict[str, object]:
    """A view as vectors spell it."""
    return {
        "epoch": view.epoch,
        "seq": view.seq,
        "state": view.status.state if view.status else None,
        "is_over": view.is_over,
        "items": [_portable(item) for item in view.items],
        "commands": [f"{command.command_id} {command.state}" for command in view.commands],
    }


def _portable(item: Item) -> dict[str, object]:
    if isinstance(item, Utterance):
        return {"id": item.id, "stable": item.stable, "tentative": item.tentative, "is_final": item.is_final}
    return {"id": item.id, "text": item.text}


def cases(seed: int = 7, rooms: int = 8, steps: int = 40) -> list[dict[str, object]]:
    """What the readers of some rooms heard, and what they show in the end."""
    random = Random(seed)
    return [
        {
            "name": f"room {number}, reader {index}",
            "messages": [json.loads(text) for text in reader.heard],
            "view": portable(reader.view),
        }
        for number in range(rooms)
        for index, reader in enumerate(play(random, steps).readers)
    ]


def dumps(vectors: list[dict[str, object]]) -> str:
    """One message a line, so that changes can be read."""
    blocks = []
    for vector in vectors:
        messages = ",\n".join("    " + json.dumps(message, ensure_ascii=False) for message in vector["messages"])  # type: ignore[attr-defined]  # a list of objects
        head = json.dumps(vector["name"])
        view = json.dumps(vector["view"], ensure_ascii=False)
        blocks.append(f'  {{"name": {head}, "messages": [\n{messages}\n  ], "view": {view}}}')
    return "[\n" + ",\n".join(blocks) + "\n]\n"


if __name__ == "__main__":
    (VECTORS / "view_random.json").write_text(dumps(cases()), encoding="utf-8")
