"""The numbered log of one session: append → seq; since(seq); superseded events are left out.

A reader is an integer. What it sees after any pause is what is still true: finals, gaps and commands in full, of
partials, statuses and ends only those that nothing newer replaced.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import attrgetter

from streamd.core.events import DURABLE, Body, Ended, Event, Final, Partial, Status, Vocabulary, Welcome

RETAINED_EVENTS = 5_000  # durable events held in memory: hours of speech. Older ones are in the journal.

_seq = attrgetter("seq")


class Log:
    """Events of one session in one epoch.

    With `write_ahead`, a durable event and whatever follows it stay invisible to readers until `confirm` says that
    the journal holds it: no reader ever sees a final that a crash could take back.
    `history` is what the journal held at the start, `dropped` the newest durable seq that it no longer holds.
    """

    def __init__(
        self,
        session: str,
        epoch: str,
        *,
        next_seq: int = 1,
        history: Iterable[Event] = (),
        dropped: int = 0,
        write_ahead: bool = False,
        retain: int = RETAINED_EVENTS,
    ) -> None:
        self.session = session
        self.epoch = epoch
        self._next = next_seq
        self._durable = list(history)
        self._fleeting: dict[object, Event] = {}  # what it is about → the newest event about it
        self._write_ahead = write_ahead
        self._confirmed = next_seq - 1
        self._retain = retain
        self._dropped = dropped  # the newest durable seq that is not in `_durable`
        if self._durable and self._durable[-1].seq >= next_seq:
            raise ValueError(f"history of session {session!r} ends at seq {self._durable[-1].seq}, next is {next_seq}")

    @property
    def next_seq(self) -> int:
        return self._next

    @property
    def oldest(self) -> int:
        """The oldest position from which nothing is missing."""
        return self._dropped + 1

    @property
    def newest(self) -> int:
        """The newest seq that readers may see."""
        if self._write_ahead:
            waiting = bisect_right(self._durable, self._confirmed, key=_seq)
            if waiting < len(self._durable):
                return self._durable[waiting].seq - 1
        return self._next - 1

    def append(self, body: Body, at_ms: int, note: str = "{}") -> Event:
        """Number `body`, keep it, and forget what it supersedes. `note` goes with it into the journal's audit."""
        event = Event.seal(body, seq=self._next, session=self.session, at_ms=at_ms, note=note)
        self._next += 1
        if isinstance(body, DURABLE):
            self._durable.append(event)
            if isinstance(body, Final):
                self._fleeting.pop(body.utterance, None)
            self._trim()
        else:
            about = _subject(body)
            self._fleeting.pop(about, None)  # keeps the dict in order of seq
            self._fleeting[about] = event
        return event

    def confirm(self, seq: int) -> None:
        """The journal holds everything up to `seq`."""
        self._confirmed = max(self._confirmed, seq)

    def unconfirmed(self) -> list[Event]:
        """Durable events that the journal does not hold yet, in order."""
        return self._durable[bisect_right(self._durable, self._confirmed, key=_seq) :]

    def open_partials(self) -> list[Event]:
        """The newest partial of every utterance that has no final."""
        return [event for event in self._fleeting.values() if isinstance(event.body, Partial)]

    def since(self, seq: int) -> list[Event]:
        """Visible events after `seq`, in order, superseded ones left out."""
        newest = self.newest
        start = bisect_right(self._durable, seq, key=_seq)
        stop = bisect_right(self._durable, newest, key=_seq)
        fleeting = (event for event in self._fleeting.values() if seq < event.seq <= newest)
        return sorted([*self._durable[start:stop], *fleeting], key=_seq)

    def next_after(self, seq: int) -> Event | None:
        """The first of `since(seq)`, at the same price however long the log is."""
        start = bisect_right(self._durable, seq, key=_seq)
        fleeting = next((event for event in self._fleeting.values() if event.seq > seq), None)
        candidates = [event for event in (*self._durable[start : start + 1], fleeting) if event is not None]
        first = min(candidates, key=_seq, default=None)
        return first if first is not None and first.seq <= self.newest else None

    def resume(self, after: int | None, epoch: str | None) -> int:
        """The cursor for a reader that comes (back) with `after`: that, or 0 where only a snapshot is honest."""
        if after is None or (epoch is not None and epoch != self.epoch):
            return 0
        return after if self.oldest - 1 <= after <= self.newest else 0

    def welcome(self, cursor: int, server: str, at_ms: int, role: str | None = None) -> Event:
        body = Welcome(epoch=self.epoch, oldest=self.oldest, newest=self.newest, server=server, role=role)
        return Event.seal(body, seq=cursor, session=self.session, at_ms=at_ms)

    def _trim(self) -> None:
        surplus = len(self._durable) - self._retain
        if surplus > self._retain // 10:  # in blocks, so that it costs nothing on average
            surplus = min(
                surplus, bisect_right(self._durable, self._confirmed, key=_seq) if self._write_ahead else surplus
            )
            if surplus > 0:
                self._dropped = self._durable[surplus - 1].seq
                del self._durable[:surplus]


def _subject(body: Body) -> object:
    """What a fleeting event is about: a newer event about the same thing replaces it."""
    match body:
        case Partial():
            return body.utterance
        case Status() | Vocabulary() | Ended():
            return type(body)
        case _:
            raise TypeError(f"{body.type} events are not superseded")
