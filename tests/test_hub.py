"""Sessions come and go, and come back from the journal."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamd import hub as module
from streamd.bridge import OneThread
from streamd.core.events import Event, Final, Gap, Partial, Vocabulary
from streamd.engines.scripted import build
from streamd.errors import UnavailableError
from streamd.hub import Hub
from streamd.metrics import Metrics
from streamd.server.hub import SessionLimit
from streamd.settings import Pipeline, RecogniseStage, Server, Settings
from streamd.store import Journal
from tests.parts import Inline, Played, finals, gaps, speech, until

GUARD_S = 30.0


@asynccontextmanager
async def running(
    path: Path | None = None, most: int = 8, vocabulary: tuple[str, ...] = ()
) -> AsyncIterator[tuple[Hub, Inline, Metrics]]:
    """A hub on the journal at `path`, or on none."""
    pipeline = Pipeline(recognise=RecogniseStage(vocabulary=vocabulary))
    settings, metrics, engine = (
        Settings(server=Server(max_sessions=most), pipeline=pipeline),
        Metrics(),
        Inline(build({})),
    )
    thread = OneThread()
    journal = await thread.run(Journal.open, path) if path else None
    try:
        async with asyncio.timeout(GUARD_S), Hub(settings, engine, metrics, journal, thread) as hub:
            yield hub, engine, metrics
    finally:
        if journal:
            await thread.run(journal.close)
        thread.close()


async def test_a_session_is_made_once() -> None:
    async with running() as (hub, _, metrics):
        assert await hub.get("a") is None
        first, second = await asyncio.gather(hub.open("a"), hub.open("a"))
        assert first is second
        assert await hub.get("a") is first
        assert hub.names() == ["a"]
        assert [line["name"] for line in hub.state()] == ["a"]
        assert metrics.registry.get_sample_value("streamd_sessions") == 1
        await hub.open("default")
        assert hub.names() == ["default", "a"]  # readers that name no session want the daemon's own
        assert [line["name"] for line in hub.state()] == ["default", "a"]


async def test_sessions_hear_at_the_same_time() -> None:
    async with running() as (hub, _, _m):
        sessions = [await hub.open(name) for name in ("a", "b", "c")]
        await asyncio.gather(*(session.hear(Played(speech())) for session in sessions))
        texts = [[final.text for final in finals(session.log)] for session in sessions]
        assert texts[0] == texts[1] == texts[2] != []


async def test_too_many_sessions_are_refused_with_their_names() -> None:
    async with running(most=2) as (hub, _, _m):
        await hub.open("a")
        await hub.open("b")
        with pytest.raises(SessionLimit, match="2 sessions are open: a, b"):
            await hub.open("c")


async def test_a_session_that_nobody_needs_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.0)
    async with running(tmp_path / "j.sqlite3", most=1) as (hub, _, metrics):
        first = await hub.open("a")
        await first.hear(Played(speech()))
        await until(lambda: not first.log.unconfirmed())
        said = finals(first.log)
        await hub.open("b")
        assert hub.names() == ["b"]
        assert metrics.registry.get_sample_value("streamd_readers", {"session": "a"}) is None
        again = await hub.get("a")
        assert again is not None
        assert finals(again.log) == said


async def test_the_engine_s_state_is_the_hub_s() -> None:
    async with running() as (hub, engine, _):
        session = await hub.open("a")
        engine.state = "starting"
        hub.engine_changed()
        assert hub.ready() == "the engine scripted is starting"
        assert session.log.since(0)[-1].json.count("starting")
        engine.state = "ready"
        assert hub.ready() is None


async def test_stopping_finalises_every_session(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    async with running(path) as (hub, _, _m):
        sources, hearing = [Played(speech()[:18], endless=True) for _ in "ab"], []
        for name, source in zip("ab", sources, strict=True):
            hearing.append(asyncio.create_task((await hub.open(name)).hear(source)))
            await source.delivered.wait()
        await hub.settle()
        await asyncio.gather(*hearing)
    async with running(path) as (hub, _, _m):
        for name in "ab":
            session = await hub.get(name)
            assert session is not None
            assert finals(session.log)[-1].text


async def test_a_session_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    async with running(path) as (hub, _, _m):
        session = await hub.open("a")
        await session.hear(Played(speech()))
        await until(lambda: not session.log.unconfirmed())
        before = session.history()
        seq, end_ms, epoch = session.log.next_seq, session.position_ms, session.log.epoch
    async with running(path) as (hub, _, _m):
        session = await hub.open("a")
        assert session.log.epoch == epoch
        assert session.log.next_seq >= seq
        await until(lambda: not session.log.unconfirmed())
        assert [event for event in session.log.since(0) if event.seq < seq] == before
        await session.hear(Played(speech()))
        await until(lambda: not session.log.unconfirmed())
        history = session.history()
        assert history[: len(before)] == before
        restart = history[len(before)].body
        assert isinstance(restart, Gap)
        assert (restart.reason, restart.end_ms >= end_ms) == ("off", True)
        numbers = [event.body.utterance for event in history if isinstance(event.body, Final)]
        assert numbers == sorted(set(numbers))


async def test_reading_an_old_session_leaves_it_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    async with running(path) as (hub, _, _m):
        await (await hub.open("a")).hear(Played(speech()))
    past: list[list[Event] | None] = []
    for _ in range(2):
        async with running(path) as (hub, _, _m):
            assert await hub.history("nobody") is None
            past.append(await hub.history("a"))
            assert hub.names() == []
            assert await hub.get("a") is not None
    assert past[0]
    assert past[0] == past[1]


async def test_a_session_without_a_journal_has_its_history_in_memory() -> None:
    async with running() as (hub, _, _m):
        session = await hub.open("a")
        await session.hear(Played(speech()))
        assert await hub.history("a") == session.history()
        assert await hub.history("nobody") is None


def die_over(path: Path, body: Partial) -> None:
    """A journal as it is left by a daemon that is killed in the middle of an utterance."""
    journal = Journal.open(path)
    journal.load("a", now_ms=1_000)
    journal.write("a", [], [Event.seal(body, seq=5, session="a", at_ms=2_000)], 6, 2_000)
    journal.close()


async def test_what_the_daemon_died_over_gets_its_final(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    body = Partial(utterance=3, rev=2, start_ms=200, end_ms=900, text="one two three", committed=7)
    await asyncio.to_thread(die_over, path, body)
    async with running(path) as (hub, _, _m):
        session = await hub.open("a")
        await until(lambda: not session.log.unconfirmed())
        (rescued,) = finals(session.log)
        assert (rescued.utterance, rescued.text, rescued.fallback) == (3, "one two", True)
        gap = gaps(session.log)[0]
        assert isinstance(gap, Gap)
        assert gap.start_ms == 900


async def test_a_journal_that_cannot_be_written_is_fatal(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"

    def spoil() -> None:
        other = sqlite3.connect(path)
        other.executescript("DROP TABLE event; CREATE TABLE event (nothing)")
        other.close()

    async def speak() -> None:
        async with running(path) as (hub, _, _m):
            session = await hub.open("a")
            await asyncio.to_thread(spoil)
            await session.hear(Played(speech()))
            await asyncio.Event().wait()

    with pytest.raises(BaseExceptionGroup) as caught:
        await speak()
    assert caught.group_contains((UnavailableError, sqlite3.Error))


async def test_a_vocabulary_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    async with running(path) as (hub, _, _m):
        assert await hub.expect("a", ("Lasecki",)) == ("Lasecki",)
        with pytest.raises(ValueError, match="at most 600 characters"):
            await hub.expect("a", tuple(letter * 60 for letter in "abcdefghijk"))
    async with running(path) as (hub, _, _m):
        session = await hub.get("a")
        assert session is not None
        assert session.vocabulary == ("Lasecki",)
        assert session.log.since(0)[0].body == Vocabulary(terms=("Lasecki",))


async def test_a_vocabulary_that_no_longer_fits_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The pipeline's own has grown meanwhile."""
    path = tmp_path / "j.sqlite3"
    async with running(path) as (hub, _, _m):
        await hub.expect("a", ("Lasecki",))
    grown = tuple(f"term{number}" for number in range(100))
    async with running(path, vocabulary=grown) as (hub, _, _m):
        assert (await hub.open("a")).vocabulary == grown
    assert "session a expects only what its pipeline does: a vocabulary has at most 100 terms" in caplog.text


async def test_without_a_journal_a_vocabulary_lasts_as_long_as_its_session() -> None:
    async with running() as (hub, _, _m):
        assert await hub.expect("a", ("Lasecki",)) == ("Lasecki",)
        assert (await hub.open("a")).vocabulary == ("Lasecki",)
