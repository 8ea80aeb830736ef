"""The journal against real SQLite files: nothing that was confirmed is ever lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.core.events import Body, Event, Final, Gap, Partial, Revised, Status
from streamd.core.log import Log
from streamd.errors import ConfigError, UnavailableError
from streamd.metrics import Metrics
from streamd.store import Journal, Loaded, Recorded, database, keep, keeper, retain
from streamd.store.journal import RESERVE_BLOCK, RESERVE_LOW
from tests.bodies import DURABLES, PARTIALS

Result = TypeVar("Result")

# A file as the first version left it, with one session in it. Never edited.
VERSION_1 = """
    CREATE TABLE session (
        name TEXT PRIMARY KEY, epoch TEXT NOT NULL, reserved_seq INTEGER NOT NULL, dropped_seq INTEGER NOT NULL,
        opened_at_ms INTEGER NOT NULL, alive_at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE event (
        session TEXT NOT NULL REFERENCES session (name) ON DELETE CASCADE, seq INTEGER NOT NULL, type TEXT NOT NULL,
        start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL, json TEXT NOT NULL,
        PRIMARY KEY (session, seq)
    ) STRICT;
    CREATE TABLE open_partial (
        session TEXT NOT NULL REFERENCES session (name) ON DELETE CASCADE, utterance INTEGER NOT NULL,
        json TEXT NOT NULL, PRIMARY KEY (session, utterance)
    ) STRICT;
    INSERT INTO session VALUES ('room', 'e1', 20000, 0, 1000, 9000);
    INSERT INTO event VALUES ('room', 7, 'final', 400, 2000, 5000,
        '{"type":"final","seq":7,"session":"room","at_ms":5000,"utterance":3,"start_ms":400,"end_ms":2000,
          "text":"Good morning.","words":[],"language":"en","engine":"whisper","fallback":false}');
    INSERT INTO open_partial VALUES ('room', 8,
        '{"type":"partial","seq":9,"session":"room","at_ms":8000,"utterance":8,"rev":1,"start_ms":3000,"end_ms":4000,
          "text":"every body","committed":5}');
    PRAGMA user_version = 1;
"""


def say(seq: int, text: str = "Good morning.", *, session: str = "room", at_ms: int = 1_000) -> Event:
    body = Final(utterance=seq, start_ms=seq * 100, end_ms=seq * 100 + 50, text=text, engine="scripted")
    return Event.seal(body, seq=seq, session=session, at_ms=at_ms)


def guess(seq: int, utterance: int, text: str = "every body", *, session: str = "room", at_ms: int = 1_000) -> Event:
    body = Partial(utterance=utterance, rev=1, start_ms=seq * 100, end_ms=seq * 100 + 50, text=text, committed=5)
    return Event.seal(body, seq=seq, session=session, at_ms=at_ms)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal.open(path)) as journal:
        yield journal


def reopened(path: Path, session: str = "room", now_ms: int = 0) -> Loaded:
    with closing(Journal.open(path)) as journal:
        return journal.load(session, now_ms)


# the file


def test_folders_and_files_are_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "journal.sqlite3"
    with closing(Journal.open(path)) as journal:
        journal.load("room", 0)
        modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in (tmp_path / "a").rglob("*")}
    assert modes.pop("b") == stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert {name.removeprefix("journal.sqlite3") for name in modes} == {"", "-wal", "-shm", ".lock"}
    assert set(modes.values()) == {0o600}


def test_the_file_is_in_wal_mode(journal: Journal, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_second_daemon_is_refused_until_the_first_has_gone(journal: Journal, path: Path) -> None:
    with pytest.raises(UnavailableError, match=rf"{path}: in use by process {os.getpid()}: stop .* store\.path"):
        Journal.open(path)
    journal.close()
    journal.close()
    Journal.open(path).close()


def test_a_failed_opening_does_not_keep_the_lock(path: Path) -> None:
    path.write_text("these are not the bytes of a database, whoever looks at them")
    for _ in range(2):
        with pytest.raises(UnavailableError, match=rf"{path}: file is not a database: move it away"):
            Journal.open(path)


def test_damage_in_the_middle_is_told_when_it_is_met(path: Path) -> None:
    with closing(Journal.open(path)) as journal:
        journal.load("room", 0)
        journal.write("room", [say(seq, "word " * 500) for seq in range(1, 200)], [], 200, 0)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8_192)
        file.write(b"\xff" * (size - 8_192))
    with pytest.raises(UnavailableError, match=rf"{path}: .*malformed.*: move it away .* \.recover"):
        reopened(path)


def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "journal.sqlite3"
    with pytest.raises(UnavailableError, match=rf"{path}: .*\({tmp_path}/file\): make it writable, or set store.path"):
        Journal.open(path)


def test_a_folder_in_place_of_the_file_is_told(path: Path) -> None:
    path.mkdir()
    with pytest.raises(UnavailableError, match=rf"{path}: Is a directory"):
        Journal.open(path)


def test_another_program_that_holds_the_file_is_told(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.load("room", 0)
    journal._db.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match=rf"{path}: database is locked: another program holds it"):
            journal.write("room", [say(1)], [], 2, 0)
        other.execute("ROLLBACK")
    journal.write("room", [say(1)], [], 2, 0)


def test_a_full_disk_is_told_and_nothing_half_is_kept(journal: Journal, path: Path) -> None:
    journal.load("room", 0)
    journal.write("room", [say(1)], [], 2, 0)
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(UnavailableError, match=rf"{path}: database or disk is full: free space"):
        journal.write("room", [say(seq, "word " * 1_000) for seq in range(2, 9)], [], 9, 0)
    assert list(journal.history("room")) == [say(1)]
    journal._db.execute("PRAGMA max_page_count = 4294967294")
    journal.write("room", [say(2)], [], 3, 0)
    assert list(journal.history("room")) == [say(1), say(2)]


def test_faults_of_our_own_statements_are_not_blamed_on_the_file(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.OperationalError), database.explained(path):
        db.execute("SELEKT")


# versions


@pytest.fixture
def version_1(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
    return path


def test_a_file_of_the_first_version_is_brought_up_to_date(version_1: Path) -> None:
    loaded = reopened(version_1)
    assert (loaded.epoch, loaded.next_seq, loaded.alive_at_ms) == ("e1", 20_001, 9_000)
    assert [event.seq for event in loaded.history] == [7]
    assert [event.seq for event in loaded.interrupted] == [9]


def test_the_first_version_is_what_the_first_script_makes(path: Path) -> None:
    def tables(script: str) -> list[tuple[str, str, int]]:
        with closing(sqlite3.connect(":memory:")) as db:
            db.executescript(script)
            names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
            return [(name, row[1], row[3]) for name in names for row in db.execute(f"PRAGMA table_info({name})")]

    assert tables(VERSION_1) == tables(database.MIGRATIONS[0])


def test_each_missing_step_is_made_once(version_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    present = database.MIGRATIONS
    steps = tuple(f"CREATE TABLE step_{number} (n)" for number in (1, 2))
    for known in (steps[:1], steps, steps):
        monkeypatch.setattr(database, "MIGRATIONS", (*present, *known))
        assert len(reopened(version_1).history) == 1
    with closing(sqlite3.connect(version_1)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(present) + 2,)
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'step__'").fetchone() == (2,)


def test_a_step_that_fails_leaves_the_file_as_it_was(version_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, "CREATE TABLE half (n); CREATE TABLE half (n)"))
        with pytest.raises(sqlite3.OperationalError, match="half"):
            Journal.open(version_1)
    assert len(reopened(version_1).history) == 1
    with closing(sqlite3.connect(version_1)) as db:
        assert not db.execute("SELECT * FROM sqlite_schema WHERE name = 'half'").fetchall()


@pytest.mark.parametrize("door", [Journal.open, Journal.read])
def test_a_newer_version_is_refused(path: Path, door: Callable[[Path], Journal]) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(ConfigError, match=rf"{path}: written by a newer streamd \(version 999, .*store\.path"):
        door(path)


def test_an_event_of_a_newer_version_is_told(version_1: Path) -> None:
    with closing(sqlite3.connect(version_1)) as db, db:
        db.execute("UPDATE event SET json = replace(json, '\"language\"', '\"dialect\"')")
    with pytest.raises(UnavailableError, match=rf"{version_1}: it holds an event that this streamd can't read"):
        reopened(version_1)


# beside the daemon


def test_others_read_what_the_daemon_writes(journal: Journal, path: Path) -> None:
    journal.load("room", 0)
    with closing(Journal.read(path)) as reader:
        journal.write("room", [say(1)], [], 2, 0)
        assert list(reader.history("room")) == [say(1)]
        with pytest.raises(UnavailableError, match="attempt to write a readonly database"):
            reader.load("room", 0)


def test_reading_a_closed_journal(path: Path) -> None:
    with closing(Journal.open(path)) as journal:
        journal.load("room", 0)
        journal.write("room", [say(1)], [], 2, 0)
    with closing(Journal.read(path)) as reader:
        assert list(reader.history("room")) == [say(1)]


def test_reading_where_there_is_nothing_makes_nothing(path: Path) -> None:
    with pytest.raises(UnavailableError, match=rf"{path}: there is none yet"):
        Journal.read(path)
    assert not path.exists()


def test_reading_an_older_version_is_refused(path: Path) -> None:
    path.touch()
    with pytest.raises(UnavailableError, match=rf"{path}: it is of an older version"):
        Journal.read(path)


# numbers and sessions


def test_a_new_session_begins_at_one_with_an_epoch_of_its_own(journal: Journal) -> None:
    one, other = journal.load("one", 5_000), journal.load("other", 5_000)
    assert one == Loaded(one.epoch, 1, 0, [], [], 0, 5_000, 5_000)
    assert one.epoch != other.epoch
    assert one.unheard(5_000) == Gap(start_ms=0, end_ms=0, reason="restart")


def test_after_a_crash_numbers_go_on_beyond_all_that_was_reserved(path: Path) -> None:
    first, second = reopened(path), reopened(path)
    assert (first.next_seq, second.next_seq) == (1, RESERVE_BLOCK + 1)
    assert first.epoch == second.epoch


def test_a_session_that_closed_goes_on_with_the_next_number(path: Path) -> None:
    with closing(Journal.open(path)) as journal:
        journal.load("room", 0)
        journal.write("room", [say(1)], [], 3, 0)
        journal.release("room", 3)
    assert reopened(path).next_seq == 3


@given(st.lists(st.integers(0, RESERVE_LOW), max_size=8))
@settings(max_examples=20, deadline=None)
def test_what_is_reserved_stays_ahead_of_what_is_handed_out(steps: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, next_seq = Path(folder) / "journal.sqlite3", 1
        with closing(Journal.open(path)) as journal:
            journal.load("room", 0)
            for step in steps:
                next_seq += step
                journal.write("room", [], [], next_seq, 0)
                row = journal._db.execute("SELECT reserved_seq FROM session").fetchone()
                assert RESERVE_LOW <= row[0] - next_seq <= RESERVE_BLOCK
        assert reopened(path).next_seq > next_seq + RESERVE_LOW


def test_a_session_that_was_not_loaded_is_not_written(journal: Journal) -> None:
    with pytest.raises(KeyError):
        journal.write("room", [say(1)], [], 2, 0)


# what is kept


@given(st.data(), st.lists(st.tuples(DURABLES, st.integers(1, 3)), max_size=12))
@settings(max_examples=20, deadline=None)
def test_what_is_written_comes_back(data: st.DataObject, bodies: list[tuple[Final | Gap, int]]) -> None:
    """In batches of any size, some of them written twice."""
    seq, events = 0, []
    for body, step in bodies:
        seq += step
        events.append(Event.seal(body, seq=seq, session="room", at_ms=seq))
    partials = [
        Event.seal(body, seq=seq + 1 + number, session="room", at_ms=seq)
        for number, body in enumerate(data.draw(st.lists(PARTIALS, max_size=3, unique_by=lambda body: body.utterance)))
    ]
    finished = {body.utterance for body, _ in bodies if isinstance(body, Final)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite3"
        with closing(Journal.open(path)) as journal:
            journal.load("room", 0)
            done = 0
            while done < len(events):
                upto = data.draw(st.integers(done, len(events)))
                journal.write("room", events[done:upto], partials, seq + 1, 0)
                done = data.draw(st.integers(max(0, upto - 2), upto)) if upto < len(events) else upto
            journal.write("room", [], partials, seq + 4, 0)
            assert list(journal.history("room")) == events
        loaded = reopened(path)
    assert loaded.history == events
    interrupted = [
        event for event in partials if isinstance(event.body, Partial) and event.body.utterance not in finished
    ]
    assert sorted(loaded.interrupted, key=lambda event: event.seq) == interrupted


def test_a_long_history_is_loaded_from_its_newest_part(journal: Journal) -> None:
    journal.load("room", 0)
    events = [say(seq) for seq in range(2, 2_402, 2)]
    journal.write("room", events, [], 2_402, 0)
    loaded = journal.load("room", 0, retain=100)
    assert loaded.history == events[-100:]
    assert loaded.dropped == events[-101].seq
    assert journal.load("room", 0, retain=1_200).dropped == 0
    assert list(journal.history("room")) == events


def test_a_log_with_a_dropped_part_sends_old_readers_a_snapshot(journal: Journal) -> None:
    journal.load("room", 0)
    journal.write("room", [say(seq) for seq in range(1, 11)], [], 11, 0)
    loaded = journal.load("room", 0, retain=4)
    log = Log("room", loaded.epoch, next_seq=loaded.next_seq, history=loaded.history, dropped=loaded.dropped)
    assert log.oldest == 7
    assert [log.resume(after, loaded.epoch) for after in (5, 6, 10)] == [0, 6, 10]


def test_a_vocabulary_is_kept_for_its_session(path: Path) -> None:
    with closing(Journal.open(path)) as journal:
        assert journal.load("room", 0).vocabulary == ()
        journal.load("hall", 0)
        for terms in (["Lasecki"], ["字幕", 'Mac"Intyre']):
            journal.expect("room", terms)
    assert reopened(path).vocabulary == ("字幕", 'Mac"Intyre')
    assert reopened(path, "hall").vocabulary == ()


def test_a_second_reading_tells_nothing_of_when_the_session_was_heard_last(journal: Journal) -> None:
    journal.load("room", 0)
    late = Revised(utterance=7, start_ms=700, end_ms=750, text="Good evening.", changes=(), engine="second")
    events = [say(7, at_ms=1_000), Event.seal(late, seq=8, session="room", at_ms=9_000)]
    journal.write("room", events, [], 9, 9_500)
    loaded = journal.load("room", 20_000)
    assert [event.body.type for event in loaded.history] == ["final", "revised"]
    assert loaded.unheard(20_000) == Gap(start_ms=750 + 8_500, end_ms=750 + 8_500 + 10_500, reason="restart")


def test_partials_are_replaced_and_go_with_their_final(journal: Journal) -> None:
    journal.load("room", 0)
    journal.write("room", [], [guess(3, 2)], 4, 0)
    journal.write("room", [], [guess(5, 2, "every bod"), guess(6, 4)], 7, 0)
    assert journal.load("room", 0).interrupted == [guess(5, 2, "every bod"), guess(6, 4)]
    journal.write("room", [say(7)], [guess(6, 4)], 8, 0)
    assert journal.load("room", 0).interrupted == [guess(6, 4)]


def test_a_partial_that_came_after_its_final_interrupted_nothing(journal: Journal) -> None:
    journal.load("room", 0)
    journal.write("room", [say(2)], [guess(3, 2), guess(5, 4)], 6, 0)
    assert journal.load("room", 0).interrupted == [guess(5, 4)]


def test_sessions_do_not_touch_each_other(journal: Journal) -> None:
    for name in ("one", "other"):
        journal.load(name, 0)
        journal.write(name, [say(1, name, session=name)], [guess(2, 2, name, session=name)], 3, 0)
    journal.write("one", [], [], 3, 0)
    other = journal.load("other", 0)
    assert other.history == [say(1, "other", session="other")]
    assert other.interrupted == [guess(2, 2, "other", session="other")]


def test_the_time_in_which_nobody_listened_starts_with_the_last_sign_of_life(path: Path) -> None:
    with closing(Journal.open(path)) as journal:
        journal.load("room", 10_000)
        journal.write("room", [say(1, at_ms=11_000)], [guess(3, 2, at_ms=12_000)], 4, 72_000)
    loaded = reopened(path)
    assert (loaded.last_end_ms, loaded.last_at_ms, loaded.alive_at_ms) == (350, 12_000, 72_000)
    assert loaded.unheard(now_ms=75_000) == Gap(start_ms=60_350, end_ms=63_350, reason="restart")
    assert loaded.unheard(now_ms=1_000).end_ms == 60_350  # the wall clock was set back


def test_an_orderly_stop_is_told_from_a_crash(path: Path) -> None:
    """Each life of a session is one or the other, whatever the one before it was."""
    reasons = []
    for orderly in (True, False, True, True):
        with closing(Journal.open(path)) as journal:
            reasons.append(journal.load("room", 0).unheard(0).reason)
            if orderly:
                journal.release("room", 1)
    reasons.append(reopened(path).unheard(0).reason)
    assert reasons == ["restart", "off", "restart", "off", "off"]


# what is told, and what is forgotten


def test_sessions_are_listed_with_what_they_hold(journal: Journal) -> None:
    epochs = [journal.load(name, at_ms).epoch for name, at_ms in (("old", 1_000), ("new", 2_000))]
    gap = Event.seal(Gap(start_ms=0, end_ms=9, reason="overflow"), seq=2, session="old", at_ms=1_500)
    journal.write("old", [say(1, session="old"), gap, say(3, session="old")], [], 4, 1_600)
    assert journal.sessions() == [
        Recorded("new", epochs[1], opened_at_ms=2_000, alive_at_ms=2_000, finals=0, gaps=0),
        Recorded("old", epochs[0], opened_at_ms=1_000, alive_at_ms=1_600, finals=2, gaps=1),
    ]


def test_pruning_deletes_what_is_old_and_remembers_up_to_where(path: Path) -> None:
    with closing(Journal.open(path)) as journal:
        for name in ("gone", "quiet", "room"):
            journal.load(name, 0)
        journal.write("room", [say(1, at_ms=1_000), say(2, at_ms=2_000), say(3, at_ms=3_000)], [], 4, 3_000)
        journal.write("gone", [say(1, session="gone", at_ms=1_000)], [guess(2, 2, session="gone")], 3, 1_000)
        journal.release("gone", 3)
        assert journal.prune(before_ms=2_500) == 3
        assert [event.seq for event in journal.history("room")] == [3]
        assert {recorded.name for recorded in journal.sessions()} == {"room", "quiet"}  # quiet is loaded
        assert journal.prune(before_ms=2_500) == 0
        assert journal.prune(before_ms=3_500) == 1
        loaded = journal.load("room", 0)
    assert (loaded.history, loaded.dropped) == ([], 3)


def test_a_deleted_session_leaves_no_word_on_the_disk(journal: Journal, path: Path) -> None:
    journal.load("room", 0)
    journal.write("room", [say(1, "a very private word")], [guess(3, 2, "a very private word")], 4, 0)
    with pytest.raises(ValueError, match="'room' is running"):
        journal.delete("room")
    journal.release("room", 4)
    assert journal.delete("room")
    assert not journal.delete("room")
    assert not any(b"very private" in file.read_bytes() for file in path.parent.iterdir())
    assert list(journal.history("room")) == []


# the cursor


class Room:
    """A session reduced to its log, as the journal sees it, with one thread for the journal."""

    def __init__(self, journal: Journal, loaded: Loaded) -> None:
        self.journal = journal
        self.log = Log(
            "room",
            loaded.epoch,
            next_seq=loaded.next_seq,
            history=loaded.history,
            dropped=loaded.dropped,
            write_ahead=True,
        )
        self.metrics = Metrics()
        self.writes: list[tuple[list[int], list[int]]] = []  # seqs of each batch: durable ones, partials
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)

    def append(self, body: Body) -> Event:
        event = self.log.append(body, 1_000)
        self._wake()
        return event

    def confirm(self, seq: int) -> None:
        self.log.confirm(seq)
        self._wake()

    async def wait_appended(self, next_seq: int) -> None:
        while self.log.next_seq <= next_seq:
            await self._changed.wait()

    async def until(self, happened: Callable[[], object]) -> None:
        while not happened():
            await self._changed.wait()

    async def shown(self, event: Event) -> None:
        await self.until(lambda: self.log.newest >= event.seq)

    async def run(self, function: Callable[..., Result], /, *args: object) -> Result:
        result = await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        if function == self.journal.write:
            _, durable, partials, *_ = args
            assert isinstance(durable, list)
            assert isinstance(partials, list)
            self.writes.append(([event.seq for event in durable], [event.seq for event in partials]))
        return result

    def keep(self) -> asyncio.Task[None]:
        return asyncio.create_task(keep(self, self.journal, self.run, self.metrics, lambda: 7_000))

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def final(utterance: int, text: str = "Good morning.") -> Final:
    return Final(utterance=utterance, start_ms=0, end_ms=40, text=text, engine="scripted")


def partial_of(utterance: int, text: str = "Good") -> Partial:
    return Partial(utterance=utterance, rev=1, start_ms=0, end_ms=40, text=text, committed=len(text))


@asynccontextmanager
async def kept(path: Path) -> AsyncIterator[Room]:
    """A room whose log is being written."""
    journal = await asyncio.to_thread(Journal.open, path)
    room = Room(journal, await asyncio.to_thread(journal.load, "room", 0))
    task = room.keep()
    try:
        yield room
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(journal.close)


@pytest.fixture
async def room(path: Path) -> AsyncIterator[Room]:
    async with kept(path) as room:
        yield room


async def in_journal(room: Room) -> list[Event]:
    return await room.run(list, room.journal.history("room"))


async def test_a_final_is_visible_once_the_journal_holds_it(room: Room) -> None:
    said = room.append(final(1))
    assert room.log.newest == said.seq - 1
    await room.shown(said)
    assert await in_journal(room) == [said]


async def test_what_comes_together_is_written_together(room: Room) -> None:
    said = [room.append(final(number)) for number in range(5)]
    await room.shown(said[-1])
    assert [event.seq for event in said] in [batch for batch, _ in room.writes]
    assert await in_journal(room) == said


async def test_a_first_partial_is_written_at_once(room: Room) -> None:
    guessed = room.append(partial_of(1))
    await room.until(lambda: room.writes)
    assert room.writes == [([], [guessed.seq])]


async def test_partials_wait_for_each_other_but_not_finals(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PARTIALS_S", 3_600)
    await room.shown(room.append(final(1)))
    room.append(partial_of(2))
    room.append(partial_of(2, "Good morning"))
    await asyncio.sleep(0)
    newest = room.append(partial_of(2, "Good morning every"))
    assert len(room.writes) == 1
    said = room.append(final(3))
    await room.shown(said)
    assert room.writes[1:] == [([said.seq], [newest.seq])]


async def test_a_partial_that_waited_is_written_by_itself(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PARTIALS_S", 0.01)
    await room.shown(room.append(final(1)))
    guessed = room.append(partial_of(2))
    await room.until(lambda: len(room.writes) == 2)
    assert room.writes[1] == ([], [guessed.seq])


async def test_signs_of_life_are_written_now_and_then(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "ALIVE_S", 0.01)
    for number in (1, 2):
        room.append(Status(state="listening"))
        await room.until(lambda number=number: len(room.writes) == number)  # type: ignore[misc]  # bound at once
    [recorded] = await room.run(room.journal.sessions)
    assert recorded.alive_at_ms == 7_000


async def test_signs_of_life_alone_spare_the_disk(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PARTIALS_S", 0)
    monkeypatch.setattr(keeper, "ALIVE_S", 3_600)
    await room.shown(room.append(final(1)))
    for _ in range(3):
        room.append(Status(state="listening"))
        await asyncio.sleep(0)
    said = room.append(final(2))
    await room.shown(said)
    assert [durable for durable, _ in room.writes] == [[1], [said.seq]]


async def test_many_events_are_written_before_the_reserved_numbers_run_out(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ALIVE_S", 3_600)
    await room.shown(room.append(final(1)))
    for _ in range(RESERVE_LOW // 2):
        room.append(Status(state="listening"))
    await room.until(lambda: len(room.writes) == 2)
    assert room.log.newest == room.log.next_seq - 1


async def test_what_was_said_before_the_end_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PARTIALS_S", 3_600)
    async with kept(path) as room:
        await room.shown(room.append(final(1)))
        room.append(Status(state="speech"))
        guessed = room.append(partial_of(2))
    loaded = await asyncio.to_thread(reopened, path)
    assert [event.seq for event in loaded.history] == [1]
    assert loaded.interrupted == [guessed]


async def test_the_end_in_the_middle_of_a_write_loses_nothing(path: Path) -> None:
    async with kept(path) as room:
        said = [room.append(final(number)) for number in range(3)]
        await asyncio.sleep(0)
        said.append(room.append(final(3)))
    assert (await asyncio.to_thread(reopened, path)).history == said
    assert room.log.newest == said[-1].seq


async def test_a_journal_that_can_not_be_written_confirms_nothing(path: Path) -> None:
    journal = await asyncio.to_thread(Journal.open, path)
    room = Room(journal, await asyncio.to_thread(journal.load, "room", 0))
    pages = (await room.run(journal._db.execute, "PRAGMA page_count")).fetchone()[0]
    await room.run(journal._db.execute, f"PRAGMA max_page_count = {pages}")
    said = room.append(final(1, "word " * 5_000))
    with pytest.raises(UnavailableError, match="free space"):
        await room.keep()
    assert room.log.newest == said.seq - 1
    assert room.metrics.registry.get_sample_value("streamd_journal_lag_events", {"session": "room"}) == 1
    await asyncio.to_thread(journal.close)


async def test_writing_is_measured(room: Room) -> None:
    await room.shown(room.append(final(1)))
    await room.until(lambda: room.writes)
    get = room.metrics.registry.get_sample_value
    assert get("streamd_stage_seconds_count", {"stage": "journal"}) == 1
    assert get("streamd_journal_lag_events", {"session": "room"}) == 0


async def test_retention_prunes_now_and_again(room: Room) -> None:
    pruned = []

    async def run(function: Callable[..., Result], /, *args: object) -> Result:
        pruned.append(args)
        if len(pruned) == 3:
            task.cancel()
        return await room.run(function, *args)

    task = asyncio.create_task(retain(room.journal, run, 2, lambda: 200_000_000, every_s=0))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pruned == [(200_000_000 - 2 * 86_400_000,)] * 3


async def test_no_retention_prunes_nothing(room: Room) -> None:
    await room.shown(room.append(final(1)))
    await retain(room.journal, room.run, 0, lambda: 10**12)
    assert len(await in_journal(room)) == 1


# kill -9


async def _talk(path: Path, out: int) -> None:
    """Appends without end, as fast as the journal takes it. Writes every event that becomes visible to `out`."""
    journal = Journal.open(path)
    loaded = journal.load("room", time.time_ns() // 1_000_000)
    room = Room(journal, loaded)
    room.keep()
    cursor = loaded.next_seq - 1
    while True:
        utterance = room.append(Status(state="speech")).seq
        for length in range(random.randrange(4)):
            room.append(partial_of(utterance, "word " * length))
        if random.random() < 0.3:
            room.append(Gap(start_ms=0, end_ms=40, reason="overflow"))
        said = room.append(final(utterance))
        if random.random() < 0.5:
            await room.shown(said)
        for event in room.log.since(cursor):
            os.write(out, f"{event.body.type} {event.seq} {loaded.epoch}\n".encode())
            cursor = event.seq


def test_kill_9_takes_nothing_that_a_reader_saw(path: Path) -> None:
    seen: list[tuple[str, int]] = []
    epochs = set()
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, __file__, str(path)], stdout=subprocess.PIPE, text=True, env=os.environ
        ) as daemon:
            assert daemon.stdout
            lines = [daemon.stdout.readline() for _ in range(random.randrange(20, 400))]
            daemon.kill()
            lines += daemon.stdout.readlines()
        for kind, seq, epoch in (line.split() for line in lines if line.endswith("\n")):
            seen.append((kind, int(seq)))
            epochs.add(epoch)
        with closing(Journal.open(path)) as journal:
            held = [event.seq for event in journal.history("room")]
            loaded = journal.load("room", 0)
        durable = {seq for kind, seq in seen if kind in ("final", "gap")}
        assert durable <= set(held)
        assert held == sorted(set(held))
        assert loaded.next_seq > max(seq for _, seq in seen)
        assert epochs == {loaded.epoch}
    assert len({seq for _, seq in seen}) == len(seen)


if __name__ == "__main__":
    asyncio.run(_talk(Path(sys.argv[1]), 1))
