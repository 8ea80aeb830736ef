"""A chain that tells whether anybody has changed what it says."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.store import LISTENED, Entry, Journal, broken
from streamd.store.audit import FIRST, _digest
from tests.audits import write_audit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite3"
    write_audit(path)
    return path


def rows(path: Path) -> list[Entry]:
    with closing(Journal.read(path)) as journal:
        return list(journal.audit())


def test_each_step_of_a_command_is_a_row_in_order(path: Path) -> None:
    entries = rows(path)
    assert [entry.id for entry in entries] == [1, 2, 3, 4]
    assert [json.loads(entry.record).get("state") for entry in entries] == ["proposed", "confirmed", "succeeded", None]
    assert [entry.kind for entry in entries] == ["command"] * 3 + [LISTENED]
    assert broken(entries) is None
    line = json.loads(entries[1].json())
    assert (line["at_ms"], line["session"], line["note"]) == (2_001, "room", {"heard": "set two 1"})
    assert line["record"]["params"] == {"rpm": 95}


def test_sqlite_itself_refuses_to_change_or_delete(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        for statement in ("UPDATE audit SET note = '{}'", "DELETE FROM audit WHERE id = 4"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                db.execute(statement)


def test_deleting_what_was_said_leaves_the_audit(path: Path) -> None:
    with closing(Journal.open(path)) as journal:
        assert journal.delete("room")
        journal.prune(10**15)
    assert len(rows(path)) == 4
    assert broken(rows(path)) is None


CHANGES: list[tuple[str, Callable[[list[Entry]], list[Entry]], int]] = [
    ("changed", lambda rows: [rows[0], replace(rows[1], note='{"heard": "nothing"}'), *rows[2:]], 2),
    ("moved in time", lambda rows: [replace(rows[0], at_ms=5), *rows[1:]], 1),
    ("removed", lambda rows: [*rows[:1], *rows[2:]], 2),
    ("swapped", lambda rows: [rows[1], rows[0], *rows[2:]], 1),
    ("added", lambda rows: [*rows, replace(rows[-1], id=5)], 5),
    ("the first is missing", lambda rows: rows[1:], 1),
]


@pytest.mark.parametrize(
    ("change", "row"), [(change, row) for _, change, row in CHANGES], ids=[name for name, *_ in CHANGES]
)
def test_a_change_is_found(path: Path, change: Callable[[list[Entry]], list[Entry]], row: int) -> None:
    assert broken(change(rows(path))) == f"row {row} was changed, removed or added afterwards"


def test_a_hash_that_was_kept_elsewhere_tells_of_an_end_that_is_missing(path: Path) -> None:
    entries = rows(path)
    head = entries[-1].hash
    assert broken(entries, head) is None
    assert broken(entries, entries[1].hash) is None
    assert "rows at its end were removed" in str(broken(entries[:-1], head))


@given(st.integers(), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.integers(0, 4))
def test_every_part_of_a_row_counts(at_ms: int, session: str, record: str, note: str, part: int) -> None:
    entry = Entry(1, at_ms, session, "command", record, note, "")
    sealed = replace(entry, hash=_digest(FIRST, 1, at_ms, session, "command", record, note))
    assert sealed.follows(FIRST)
    other = [
        *(replace(sealed, at_ms=at_ms + 1), replace(sealed, session=session + "x"), replace(sealed, kind=LISTENED)),
        *(replace(sealed, record=record + "x"), replace(sealed, note=note + "x")),
    ][part]
    assert not other.follows(FIRST)
    assert not sealed.follows("1" * 64)
