"""The SQLite file: created for its user alone, migrated, locked to one daemon; its errors in the user's words."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamd.errors import ConfigError, UnavailableError

BUSY_TIMEOUT_S = 5.0  # longest wait for another program that holds the file, such as a backup

# Script n takes a file from version n to n + 1. Scripts that were released are never edited, only added to.
MIGRATIONS = (
    """
    CREATE TABLE session (
        name TEXT PRIMARY KEY,
        epoch TEXT NOT NULL,
        reserved_seq INTEGER NOT NULL,  -- no number up to here is ever handed out again
        dropped_seq INTEGER NOT NULL,   -- the newest event that retention has deleted
        opened_at_ms INTEGER NOT NULL,
        alive_at_ms INTEGER NOT NULL    -- the daemon was seen running
    ) STRICT;
    CREATE TABLE event (
        session TEXT NOT NULL REFERENCES session (name) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        type TEXT NOT NULL,
        start_ms INTEGER NOT NULL,
        end_ms INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (session, seq)
    ) STRICT;
    CREATE TABLE open_partial (
        session TEXT NOT NULL REFERENCES session (name) ON DELETE CASCADE,
        utterance INTEGER NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (session, utterance)
    ) STRICT;
    """,
    """
    ALTER TABLE session ADD COLUMN vocabulary TEXT NOT NULL DEFAULT '[]';  -- names and jargon, a JSON list
    """,
    """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        session TEXT NOT NULL,  -- its name; the audit outlives it
        kind TEXT NOT NULL,
        record TEXT NOT NULL,
        note TEXT NOT NULL,
        hash TEXT NOT NULL      -- of the row and the hash before it
    ) STRICT;
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'rows of the audit are never changed'); END;
    CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'rows of the audit are never deleted'); END;
    """,
    """
    ALTER TABLE session ADD COLUMN released INTEGER NOT NULL DEFAULT 0;  -- 1: it was closed in order
    """,
)

_DAMAGED = "move it away to start a new one; `sqlite3 FILE .recover` may save what it held"
_DENIED = "give this user write access to the file and its folder, or set store.path to another place"
_WAYS_OUT = {  # SQLite's primary result code → what the user can do
    sqlite3.SQLITE_BUSY: "another program holds it: close that, then start again",
    sqlite3.SQLITE_LOCKED: "another program holds it: close that, then start again",
    sqlite3.SQLITE_FULL: "free space on its disk, or set store.path to another place",
    sqlite3.SQLITE_IOERR: "check the disk and the free space, or set store.path to another place",
    sqlite3.SQLITE_READONLY: _DENIED,
    sqlite3.SQLITE_PERM: _DENIED,
    sqlite3.SQLITE_CANTOPEN: _DENIED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Faults of the file and its disk as UnavailableError. Faults of our own SQL stay what they are."""
    try:
        yield
    except sqlite3.Error as error:
        way_out = _WAYS_OUT.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if way_out is None:
            raise
        raise UnavailableError(f"journal {path}: {error}: {way_out}") from error
    except OSError as error:
        raise UnavailableError(
            f"journal {path}: {error.strerror} ({error.filename}): make it writable, or set store.path to another place"
        ) from error


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:  # SQLite ends it by itself after some faults
            db.execute("ROLLBACK")


def connect(path: Path) -> sqlite3.Connection:
    """The file at `path`, created if missing, at the newest version. Call within `explained`.

    WAL with synchronous=NORMAL: kill -9 takes nothing that was committed; a power cut may take the last moments,
    but never damages the file (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite would let others read what was said
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")  # what retention deletes is overwritten, not only unlinked
        _migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def connect_read_only(path: Path) -> sqlite3.Connection:
    """The file at `path`, also while a daemon writes to it. Call within `explained`."""
    if not path.exists():
        raise UnavailableError(f"journal {path}: there is none yet: it begins with the first `streamd run`")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        if _version(db, path) < len(MIGRATIONS):
            raise UnavailableError(f"journal {path}: it is of an older version: `streamd run` brings it up to date")
    except BaseException:
        db.close()
        raise
    return db


def _version(db: sqlite3.Connection, path: Path) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"journal {path}: written by a newer streamd (version {version}, this one knows up to {len(MIGRATIONS)}): "
            "install that one, or set store.path to another file"
        )
    return version


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    for version in range(_version(db, path), len(MIGRATIONS)):
        try:
            db.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[version]}; PRAGMA user_version = {version + 1}; COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def lock(path: Path) -> int:
    """Makes the folders of `path` and locks the journal for this process. Returns the descriptor that holds the lock.

    The kernel frees the lock with the process, however that ends. Call within `explained`.
    """
    for folder in reversed(path.absolute().parents):
        folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise UnavailableError(
            f"journal {path}: in use by process {owner}: stop that daemon, or set store.path to another file"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
