"""What a client shows: the fold of one session's events. clients/view.js is the twin, both read tests/vectors.

1. A welcome of another epoch, or with a lower seq than the view's, clears the view: what is retained follows.
2. An event whose seq the view has reached is ignored, so it does no harm that one comes twice.
3. A partial replaces the partial of its utterance, unless its rev is older. A final replaces both and is not replaced.
4. An utterance without text is not shown.
5. A gap with reason `restart` takes the utterances with it that have no final: the daemon died before it could journal
   their words, and a reader that comes later never hears of them.
6. A second reading replaces text and words of an utterance that has its final, and does nothing to any other one.
7. A command's event replaces the former one of the same command, unless that was its end: denied, expired, rejected,
   succeeded or failed. Commands stand in the order in which they were first told.
8. An utterance's id is the seq of the status that announced it, so ids of utterances and seqs of gaps sort together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from streamd.core.events import Command, Ended, Event, Final, Gap, Partial, Revised, Status, Vocabulary, Welcome, Word

_OVER = (None, "idle", "stopping")  # states in which no sound is expected
_SETTLED = ("denied", "expired", "rejected", "succeeded", "failed")  # in which a command stays


@dataclass(frozen=True, slots=True)
class Utterance:
    """What somebody says or said. `event` is the newest one about it."""

    id: int
    start_ms: int
    end_ms: int
    text: str
    committed: int  # leading code points of `text` that never change any more
    rev: int
    is_final: bool
    is_revised: bool  # a second reading has changed it
    words: tuple[Word, ...]
    language: str | None
    engine: str | None
    event: Event

    @property
    def stable(self) -> str:
        return self.text[: self.committed]

    @property
    def tentative(self) -> str:
        return self.text[self.committed :]


@dataclass(frozen=True, slots=True)
class Interruption:
    """Sound that nobody heard, as a gap event tells: lost, or not listened to while the daemon was off."""

    id: int
    start_ms: int
    end_ms: int
    reason: str
    event: Event

    @property
    def text(self) -> str:
        lasted = duration(self.end_ms - self.start_ms)
        return f"[captions were off for {lasted}]" if self.reason == "off" else f"[captions interrupted {lasted}]"


Item = Utterance | Interruption


@dataclass(slots=True)
class View:
    """The state of a client. `seq` is its cursor: what it asks to resume `after`."""

    epoch: str | None = None
    seq: int = 0
    status: Status | None = None
    ended: Ended | None = None
    vocabulary: tuple[str, ...] = ()  # names and jargon that are expected
    role: str | None = None  # what this connection may do
    _items: dict[int, Item] = field(default_factory=dict)
    _commands: dict[str, Command] = field(default_factory=dict)

    @property
    def commands(self) -> list[Command]:
        """Where each command stands, in the order in which they were given."""
        return list(self._commands.values())

    @property
    def items(self) -> list[Item]:
        """Utterances and interruptions in the order in which they happened."""
        return [self._items[key] for key in sorted(self._items) if self._items[key].text]

    @property
    def is_over(self) -> bool:
        """The source came to its end, and no other one has started since."""
        return self.ended is not None and (self.status.state if self.status else None) in _OVER

    def apply(self, event: Event) -> bool:
        """Take in one event. False: it was known or outdated."""
        body = event.body
        if isinstance(body, Welcome):
            self.role = body.role
            return self._welcome(body.epoch, event.seq)
        if event.seq <= self.seq:
            return False
        self.seq = event.seq
        match body:
            case Partial() | Final():
                return self._hear(body, event)
            case Revised():
                return self._reread(body, event)
            case Command():
                return self._command(body)
            case Gap():
                if body.reason == "restart":
                    self._items = {key: item for key, item in self._items.items() if _lasts(item)}
                self._items[event.seq] = Interruption(event.seq, body.start_ms, body.end_ms, body.reason, event)
            case Status():
                self.status = body
            case Vocabulary():
                self.vocabulary = body.terms
            case _:
                self.ended = body
        return True

    def _welcome(self, epoch: str, seq: int) -> bool:
        clears = epoch != self.epoch or seq < self.seq
        if clears:
            self.status = self.ended = None
            self.vocabulary = ()
            self._items.clear()
            self._commands.clear()
        self.epoch, self.seq = epoch, seq
        return clears

    def _hear(self, body: Partial | Final, event: Event) -> bool:
        known = self._items.get(body.utterance)
        if isinstance(known, Utterance) and (known.is_final or (isinstance(body, Partial) and body.rev < known.rev)):
            return False
        self._items[body.utterance] = _utterance(body, event)
        return True

    def _command(self, body: Command) -> bool:
        known = self._commands.get(body.command_id)
        if known is not None and known.state in _SETTLED:
            return False
        self._commands[body.command_id] = body
        return True

    def _reread(self, body: Revised, event: Event) -> bool:
        known = self._items.get(body.utterance)
        if not (isinstance(known, Utterance) and known.is_final):
            return False
        self._items[body.utterance] = _utterance(body, event)
        return True


def fold(events: Iterable[Event], view: View | None = None) -> View:
    """The view after all of `events`, starting from `view` or from nothing."""
    view = view or View()
    for event in events:
        view.apply(event)
    return view


def parse_known(text: str | bytes) -> Event | None:
    """The event in a wire message, None for a type that this version does not know: clients ignore those.

    Raises pydantic.ValidationError for anything that is not an event.
    """
    try:
        return Event.parse(text)
    except ValidationError as error:
        if any(problem["type"] == "union_tag_invalid" for problem in error.errors()):
            return None
        raise


def duration(ms: int) -> str:
    """A length of time in the largest unit that still tells something: 0.4 s, 4 s, 2 min, 3 h."""
    if ms < 950:
        return f"0.{max(1, (ms + 50) // 100)} s"
    if ms < 119_500:
        return f"{(ms + 500) // 1_000} s"
    if ms < 7_170_000:
        return f"{(ms + 30_000) // 60_000} min"
    return f"{(ms + 1_800_000) // 3_600_000} h"


def _lasts(item: Item) -> bool:
    return isinstance(item, Interruption) or item.is_final


def _utterance(body: Partial | Final | Revised, event: Event) -> Utterance:
    committed, rev, words, language, engine = (
        (body.committed, body.rev, (), None, None)
        if isinstance(body, Partial)
        else (len(body.text), 0, body.words, body.language, body.engine)
    )
    return Utterance(
        id=body.utterance,
        start_ms=body.start_ms,
        end_ms=body.end_ms,
        text=body.text,
        committed=committed,
        rev=rev,
        is_final=not isinstance(body, Partial),
        is_revised=isinstance(body, Revised),
        words=words,
        language=language,
        engine=engine,
        event=event,
    )
