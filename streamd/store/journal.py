"""What the journal can do. Blocking code for one writing thread."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from streamd.core.events import Command, Event, Final, Gap, Partial, Revised
from streamd.core.log import RETAINED_EVENTS
from streamd.errors import UnavailableError
from streamd.store import audit
from streamd.store.database import connect, connect_read_only, explained, lock, transaction

RESERVE_BLOCK = 10_000  # sequence numbers that one write sets aside
RESERVE_LOW = 5_000  # and how few of them may be left before the next does
_PAGE_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the journal knows of a session that opens (again): the log's beginning."""

    epoch: str
    next_seq: int  # beyond anything that was handed out
    dropped: int  # the newest seq that is not in `history`, 0 if all are
    history: list[Event]  # the newest finals and gaps, in order
    interrupted: list[Event]  # partials of utterances that have no final
    last_end_ms: int  # where the last of these events ends on the timeline, 0 for a new session
    last_at_ms: int  # when that event was appended
    alive_at_ms: int  # when the session was last seen alive
    vocabulary: tuple[str, ...] = ()  # names and jargon that it expects
    released: bool = False  # it was closed in order, with the daemon or for room: what was said until then is all there

    def unheard(self, now_ms: int) -> Gap:
        """The time in which nobody listened."""
        start_ms = self.last_end_ms + max(0, self.alive_at_ms - self.last_at_ms)
        end_ms = start_ms + max(0, now_ms - self.alive_at_ms)
        return Gap(start_ms=start_ms, end_ms=end_ms, reason="off" if self.released else "restart")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One session in the journal."""

    name: str
    epoch: str
    opened_at_ms: int
    alive_at_ms: int
    finals: int
    gaps: int


class Journal:
    """Durable events of all sessions in one SQLite file.

    Not for use by two threads at a time. Every method raises UnavailableError, naming the file and the way out,
    if the file is damaged, not writable, held by another program for long, or its disk is full.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, lock_descriptor: int | None = None) -> None:
        self.path = path
        self._db = db
        self._lock = lock_descriptor
        self._reserved: dict[str, int] = {}  # of the sessions that are loaded

    @classmethod
    def open(cls, path: Path) -> Journal:
        """The journal at `path` for the one daemon that writes it; made, or brought up to date, if need be.

        Raises UnavailableError if another process has it open, ConfigError if a newer streamd wrote it.
        """
        with explained(path):
            descriptor = lock(path)
            try:
                return cls(path, connect(path), descriptor)
            except BaseException:
                os.close(descriptor)
                raise

    @classmethod
    def read(cls, path: Path) -> Journal:
        """The journal at `path` for reading, beside the daemon that writes it. Raises as `open` does."""
        with explained(path):
            return cls(path, connect_read_only(path))

    def close(self) -> None:
        """Close the file and let others open it. May be called again."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self, session: str, now_ms: int, retain: int = RETAINED_EVENTS) -> Loaded:
        """Open a session, a new one if need be, with its newest `retain` durable events, and reserve its numbers."""
        with self._writing():
            self._db.execute(
                "INSERT INTO session VALUES (?, ?, 0, 0, ?, ?, '[]', 0) ON CONFLICT DO NOTHING",
                (session, uuid4().hex, now_ms, now_ms),
            )
            epoch, reserved, dropped, alive_at_ms, terms, released = self._db.execute(
                "SELECT epoch, reserved_seq, dropped_seq, alive_at_ms, vocabulary, released "
                "FROM session WHERE name = ?",
                (session,),
            ).fetchone()
            self._db.execute("UPDATE session SET released = 0 WHERE name = ?", (session,))
            history = self._events(
                "SELECT json FROM event WHERE session = ? ORDER BY seq DESC LIMIT ?", (session, retain)
            )[::-1]
            if history:
                dropped = max(dropped, self._newest_before(session, history[0].seq))
            partials = self._events("SELECT json FROM open_partial WHERE session = ? ORDER BY utterance", (session,))
            self._reserve(session, reserved + RESERVE_BLOCK)
        self._reserved[session] = reserved + RESERVE_BLOCK
        told = [event for event in (*history, *partials) if not isinstance(event.body, Revised | Command)]
        last_end_ms, last_at_ms = max(map(_end, told), default=(0, alive_at_ms))
        finished = {event.body.utterance for event in history if isinstance(event.body, Final)}
        interrupted = [event for event in partials if _spoken(event).utterance not in finished]
        return Loaded(
            epoch,
            reserved + 1,
            dropped,
            history,
            interrupted,
            last_end_ms,
            last_at_ms,
            alive_at_ms,
            tuple(json.loads(terms)),
            bool(released),
        )

    def write(
        self, session: str, durable: Sequence[Event], partials: Sequence[Event], next_seq: int, now_ms: int
    ) -> None:
        """Add `durable`, replace the session's open partials by `partials`, keep numbers reserved beyond `next_seq`.

        One transaction, in which commands get their rows in the audit. Writing the same events again changes nothing.
        The session must have been loaded.
        """
        reserved = self._reserved[session]
        if reserved - next_seq < RESERVE_LOW:
            reserved = next_seq + RESERVE_BLOCK
        with self._writing():
            for event in durable:
                self._add(event)
            self._db.execute("DELETE FROM open_partial WHERE session = ?", (session,))
            self._db.executemany(
                "INSERT INTO open_partial VALUES (?, ?, ?)",
                ((session, _spoken(event).utterance, event.json) for event in partials),
            )
            self._db.execute("UPDATE session SET alive_at_ms = ? WHERE name = ?", (now_ms, session))
            self._reserve(session, reserved)
        self._reserved[session] = reserved

    def listened(self, session: str, note: str, now_ms: int) -> None:
        """Write into the audit how long commands were listened for, and by which rules."""
        with self._writing():
            audit.add(self._db, now_ms, session, audit.LISTENED, "{}", note)

    def audit(self) -> Iterator[audit.Entry]:
        """Every row of the audit, in order."""
        with explained(self.path):
            yield from audit.entries(self._db)

    def expect(self, session: str, terms: Sequence[str]) -> None:
        """Keep names and jargon for a session, in place of former ones."""
        with self._writing():
            text = json.dumps(terms, ensure_ascii=False)
            self._db.execute("UPDATE session SET vocabulary = ? WHERE name = ?", (text, session))

    def release(self, session: str, next_seq: int) -> None:
        """A session has closed for good: numbers from `next_seq` on were never handed out, its next run uses them."""
        with self._writing():
            self._reserve(session, next_seq - 1)
            self._db.execute("UPDATE session SET released = 1 WHERE name = ?", (session,))
        del self._reserved[session]

    def history(self, session: str) -> Iterator[Event]:
        """Every durable event of a session, in order; a few at a time, so that others may write in between."""
        seq = 0
        while page := self.page(session, seq):
            yield from page
            seq = page[-1].seq

    def knows(self, session: str) -> bool:
        """Has a session of that name ever been opened?"""
        with explained(self.path):
            return self._db.execute("SELECT 1 FROM session WHERE name = ?", (session,)).fetchone() is not None

    def page(self, session: str, after: int) -> list[Event]:
        """The next durable events after `after`, few enough to hold nobody up; none at the end."""
        with explained(self.path):
            return self._events(
                "SELECT json FROM event WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?",
                (session, after, _PAGE_EVENTS),
            )

    def sessions(self) -> list[Recorded]:
        """All sessions, the one that was used last first."""
        with explained(self.path):
            rows = self._db.execute(
                "SELECT name, epoch, opened_at_ms, alive_at_ms, "
                "count(*) FILTER (WHERE type = 'final'), count(*) FILTER (WHERE type = 'gap') "
                "FROM session LEFT JOIN event ON session = name GROUP BY name ORDER BY alive_at_ms DESC, name"
            )
            return [Recorded(*row) for row in rows]

    def prune(self, before_ms: int) -> int:
        """Delete what was said before that wall-clock time, and sessions of which nothing is left. Returns events."""
        with self._writing():
            self._db.execute(
                "UPDATE session SET dropped_seq = max(dropped_seq, "
                "coalesce((SELECT max(seq) FROM event WHERE session = name AND at_ms < ?), 0))",
                (before_ms,),
            )
            deleted = self._db.execute("DELETE FROM event WHERE at_ms < ?", (before_ms,)).rowcount
            unused = self._db.execute(
                "SELECT name FROM session WHERE alive_at_ms < ? AND name NOT IN (SELECT session FROM event)",
                (before_ms,),
            ).fetchall()
            gone = [row for row in unused if row[0] not in self._reserved]
            self._db.executemany("DELETE FROM session WHERE name = ?", gone)
        self._forget_traces()
        return deleted

    def delete(self, session: str) -> bool:
        """Delete a session that is not loaded, with all it said. False if there is none of that name."""
        if session in self._reserved:
            raise ValueError(f"session {session!r} is running")
        with self._writing():
            deleted = self._db.execute("DELETE FROM session WHERE name = ?", (session,)).rowcount > 0
        self._forget_traces()
        return deleted

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with explained(self.path), transaction(self._db):
            yield

    def _add(self, event: Event) -> None:
        added = self._db.execute(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", _row(event)
        ).rowcount
        if added and isinstance(event.body, Command):
            audit.add_event(self._db, event)

    def _reserve(self, session: str, seq: int) -> None:
        self._db.execute("UPDATE session SET reserved_seq = ? WHERE name = ?", (seq, session))

    def _newest_before(self, session: str, seq: int) -> int:
        query = "SELECT coalesce(max(seq), 0) FROM event WHERE session = ? AND seq < ?"
        return int(self._db.execute(query, (session, seq)).fetchone()[0])

    def _events(self, query: str, values: tuple[object, ...]) -> list[Event]:
        try:
            return [Event.parse(row[0]) for row in self._db.execute(query, values)]
        except ValidationError as error:
            raise UnavailableError(
                f"journal {self.path}: it holds an event that this streamd can't read: "
                "update streamd, or move the file away to start a new one"
            ) from error

    def _forget_traces(self) -> None:
        """Empty the WAL, which still holds what was deleted."""
        with explained(self.path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _spoken(event: Event) -> Partial:
    assert isinstance(event.body, Partial)
    return event.body


def _end(event: Event) -> tuple[int, int]:
    """Where the event ends on the timeline, and when that was told, both in ms."""
    assert isinstance(event.body, Final | Gap | Partial)
    return event.body.end_ms, event.at_ms


def _row(event: Event) -> tuple[object, ...]:
    body = event.body
    assert isinstance(body, Final | Revised | Gap | Command)
    times = (0, 0) if isinstance(body, Command) else (body.start_ms, body.end_ms)
    return event.session, event.seq, body.type, *times, event.at_ms, event.json
