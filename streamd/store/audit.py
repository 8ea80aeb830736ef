"""The audit: what was heard, decided, sent and answered, in a chain of hashes that nobody can change unnoticed.

Each row's hash covers the row and the hash before it. Whoever keeps the newest hash elsewhere can tell whether any row
up to there was changed, removed or added afterwards. Rows are never deleted, also not with what was said.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from streamd.core.events import Command, Event

FIRST = "0" * 64  # the hash before the first row
LISTENED = "listened"  # the kind of row that tells how much sound commands were looked for in
_PAGE_ROWS = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. `record` and `note` are JSON objects as written: of a command, its event and what is beside it."""

    id: int
    at_ms: int
    session: str
    kind: str
    record: str
    note: str
    hash: str

    def follows(self, before: str) -> bool:
        """Whether this is what was written after the row with the hash `before`."""
        return self.hash == _digest(before, self.id, self.at_ms, self.session, self.kind, self.record, self.note)

    def json(self) -> str:
        """One line for export."""
        record, note = json.loads(self.record), json.loads(self.note)
        head = {"id": self.id, "at_ms": self.at_ms, "session": self.session, "kind": self.kind}
        return json.dumps(head | {"record": record, "note": note, "hash": self.hash}, ensure_ascii=False)


def add(db: sqlite3.Connection, at_ms: int, session: str, kind: str, record: str, note: str) -> None:
    """Append a row. Within a transaction."""
    newest = db.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone() or (0, FIRST)
    row = (newest[0] + 1, at_ms, session, kind, record, note)
    db.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, _digest(newest[1], *row)))


def add_event(db: sqlite3.Connection, event: Event) -> None:
    """The row of a command's event."""
    assert isinstance(event.body, Command)
    add(db, event.at_ms, event.session, event.body.type, event.json, event.note)


def entries(db: sqlite3.Connection) -> Iterator[Entry]:
    """All rows, in order; a few at a time, so that others may write in between."""
    last = 0
    query = "SELECT id, at_ms, session, kind, record, note, hash FROM audit WHERE id > ? ORDER BY id LIMIT ?"
    while page := [Entry(*row) for row in db.execute(query, (last, _PAGE_ROWS))]:
        yield from page
        last = page[-1].id


def broken(rows: Iterable[Entry], head: str | None = None) -> str | None:
    """What is wrong with the chain, in words; None: nothing. `head`: a hash that has to be in it."""
    before, seen, expected = FIRST, False, 1
    for row in rows:
        if row.id != expected or not row.follows(before):
            return f"row {expected} was changed, removed or added afterwards"
        before, expected = row.hash, expected + 1
        seen = seen or row.hash == head
    return None if head is None or seen else f"the hash {head[:12]}… is not in it: rows at its end were removed"


def _digest(before: str, *row: object) -> str:
    return hashlib.sha256(json.dumps([before, *row], ensure_ascii=False).encode()).hexdigest()
