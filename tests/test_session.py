"""The whole pipe of one session on real speech, with an engine that counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamd.core.events import Ended, Event, Final, Gap, Partial, Revised, Status, Vocabulary
from streamd.core.log import Log
from streamd.core.view import fold
from streamd.engines.scripted import build
from streamd.errors import UnavailableError
from streamd.metrics import Metrics
from streamd.server.hub import SourceBusy
from streamd.session import Session
from streamd.settings import Pipeline, RecogniseStage, Settings, Source
from streamd.sources import Chunk, Missing, Notice
from tests.parts import SECOND, Inline, Played, finals, gaps, speech, until
from tests.speech import recording

GUARD_S = 30.0


@asynccontextmanager
async def running(
    settings: Settings | None = None, position_ms: int = 0
) -> AsyncIterator[tuple[Session, Inline, list[Event]]]:
    """A session at work, its engine, and every event that it ever told."""
    engine = Inline(build({}))
    session = Session(Log("room", "e"), engine, settings or Settings(), Metrics(), position_ms=position_ms)
    told: list[Event] = []

    async def listen() -> None:
        while True:
            await session.wait_newer(told[-1].seq if told else 0)
            told.extend(session.log.since(told[-1].seq if told else 0))

    async with asyncio.timeout(GUARD_S):
        tasks = [asyncio.create_task(session.run()), asyncio.create_task(listen())]
        try:
            yield session, engine, told
            await asyncio.sleep(0)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def test_speech_becomes_statuses_partials_finals_and_an_end() -> None:
    async with running() as (session, _, told):
        await session.hear(Played(speech()))
        said = finals(session.log)
        assert len(said) >= 2
        assert all(final.text.startswith("one two three") for final in said)
        assert [b.body for b in session.log.since(0) if isinstance(b.body, Ended)] == [
            Ended(audio_ms=len(recording("jfk").pcm) // 16)
        ]
    states = [event.body.state for event in told if isinstance(event.body, Status)]
    assert {"idle", "listening", "speech"} <= set(states)


async def test_an_utterance_is_numbered_by_the_event_that_announced_it() -> None:
    async with running() as (session, _, told):
        await session.hear(Played(speech()))
    by_seq = {event.seq: event.body for event in told}
    for final in (event.body for event in told if isinstance(event.body, Final)):
        announcement = by_seq.get(final.utterance)
        assert announcement is None or (isinstance(announcement, Status) and announcement.state == "speech")
        assert final.start_ms < final.end_ms
        assert all(final.start_ms <= word.start_ms <= word.end_ms <= final.end_ms for word in final.words)


async def test_committed_text_begins_the_final() -> None:
    async with running() as (session, _, told):
        await session.hear(Played(speech()))
    partials = [event.body for event in told if isinstance(event.body, Partial)]
    texts = {final.utterance: final.text for final in finals(session.log)}
    assert partials
    assert all(texts[p.utterance].startswith(p.text[: p.committed]) for p in partials if p.utterance in texts)


async def test_a_guess_takes_in_all_that_came_with_one_message() -> None:
    """Messages of 100 ms are whole frames after 80, 200, 280, 400 … ms."""
    async with running() as (session, _, told):
        await session.hear(Played(speech()))
    ends_ms = [event.body.end_ms for event in told if isinstance(event.body, Partial)]
    assert ends_ms
    assert {end_ms % 200 for end_ms in ends_ms} <= {0, 80}


async def test_words_carry_times_of_the_session() -> None:
    async with running(position_ms=60_000) as (session, _, _told):
        await session.hear(Played(speech()))
        first = finals(session.log)[0]
        assert first.start_ms >= 60_000
        assert first.words[0].start_ms == first.start_ms


async def test_the_next_source_goes_on_where_the_last_one_ended() -> None:
    async with running() as (session, _, _told):
        await session.hear(Played([SECOND]))
        await session.hear(Played(speech()))
        assert finals(session.log)[0].start_ms >= 1_000
        assert session.position_ms >= 1_000 + len(recording("jfk").pcm) // 16


async def test_without_partials_there_are_finals_only() -> None:
    quiet = Settings(pipeline=Pipeline(recognise=RecogniseStage(partials=False)))
    async with running(quiet) as (session, engine, told):
        await session.hear(Played(speech()))
        assert len(engine.contexts) == len(finals(session.log))
    assert not [event for event in told if isinstance(event.body, Partial)]


async def test_what_was_said_before_is_handed_to_the_engine() -> None:
    async with running() as (session, engine, _):
        await session.hear(Played(speech()))
        assert engine.contexts[-1].previous.startswith("one two")


async def test_a_loss_is_told_and_ends_what_it_cuts() -> None:
    sound = speech()
    async with running() as (session, _, _told):
        lost: list[Chunk] = [*sound[:20], Missing(32_000, "overflow"), *sound[20:]]
        await session.hear(Played(lost))
        assert gaps(session.log) == [Gap(start_ms=2_000, end_ms=4_000, reason="overflow")]
        assert finals(session.log)[0].end_ms <= 2_000


async def test_a_lost_source_is_said_to_be_lost_until_it_is_found() -> None:
    items: list[Chunk] = [*speech()[:20], Notice("source_lost", "unplugged"), Notice("source_found", "back"), SECOND]
    async with running() as (session, _, told):
        await session.hear(Played(items))
        assert finals(session.log)
    states = [(event.body.state, event.body.detail) for event in told if isinstance(event.body, Status)]
    lost = states.index(("source_lost", "unplugged"))
    assert ("listening", None) in states[lost:]


async def test_a_loss_at_the_end_of_a_source_keeps_the_timeline() -> None:
    async with running() as (session, _, _told):
        await session.hear(Played([SECOND, Missing(16_000, "source_lost")]))
        assert session.position_ms == 2_000
        await session.hear(Played([SECOND]))
        ends = [event.body.audio_ms for event in session.log.since(0) if isinstance(event.body, Ended)]
        assert ends == [3_000]


async def test_others_go_on_while_a_large_chunk_is_taken() -> None:
    async with running() as (session, _, _told):
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(count())
        await session.hear(Played([SECOND * 4]))
        other.cancel()
        assert turns >= 100


async def test_a_dead_microphone_is_noticed() -> None:
    async with running(Settings(source=Source(no_signal_s=1.0))) as (session, _, told):
        await session.hear(Played([SECOND] * 2))
    assert "no_signal" in [event.body.state for event in told if isinstance(event.body, Status)]


async def test_a_session_has_one_source() -> None:
    async with running() as (session, _, _told):
        first = Played([SECOND], endless=True, name="first")
        hearing = asyncio.create_task(session.hear(first))
        await first.delivered.wait()
        with pytest.raises(SourceBusy, match="room listens to first already"):
            await session.hear(Played([SECOND]))
        await session.hear(Played([SECOND]), take_over=True)
        await hearing
        assert first.closed


async def test_a_source_that_fails_leaves_what_it_said() -> None:
    async with running() as (session, _, _told):
        gone = UnavailableError("/home/anna/talk.wav does not exist: check the name")
        with pytest.raises(UnavailableError, match="/home/anna"):
            await session.hear(Played(speech()[:30], error=gone, name="file: talk.wav"))
        assert finals(session.log)[-1].text
        assert session.source_name is None
        why = "file: talk.wav ended before its time; streamd's log says why"
        assert (session.status().state, session.status().detail) == ("idle", why)


async def test_readers_are_told_of_a_source_that_broke_off_until_the_next_one_comes() -> None:
    async with running() as (session, _, told):
        await session.hear(Played([*speech(), Notice("broken_off", "talk.wav breaks off after 11 s of 20 s")]))
        assert all(final.text for final in finals(session.log))
        assert session.status().detail == "talk.wav breaks off after 11 s of 20 s"
        await session.hear(Played([SECOND]))
        assert session.status().detail is None

        looped = Played([*speech()[:5], Notice("broken_off", "talk.wav breaks off after 11 s of 20 s")], endless=True)
        hearing = asyncio.create_task(session.hear(looped))
        await looped.delivered.wait()
        session.stop_source()
        await hearing
        assert session.status().detail is None
    assert not any(isinstance(event.body, Status) and event.body.state == "source_lost" for event in told)


async def test_a_stopped_source_is_finalised() -> None:
    async with running() as (session, _, _told):
        source = Played(speech()[:18], endless=True)
        hearing = asyncio.create_task(session.hear(source))
        await source.delivered.wait()
        session.stop_source()
        await hearing
        assert finals(session.log)[-1].text
        await session.settled()


async def test_a_cancelled_listener_still_finalises() -> None:
    async with running() as (session, _, _told):
        source = Played(speech()[:18], endless=True)
        hearing = asyncio.create_task(session.hear(source))
        await source.delivered.wait()
        hearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hearing
        assert finals(session.log)[-1].text
        assert source.closed


async def test_stopping_without_a_source_is_nothing() -> None:
    async with running() as (session, _, _told):
        session.stop_source()
        await session.settled()


async def test_an_engine_that_gives_up_leaves_a_gap_and_says_so() -> None:
    async with running() as (session, engine, told):
        engine.failing = True
        await session.hear(Played(speech()))
        assert all(final.text == "" and final.fallback for final in finals(session.log))
        assert {gap.reason for gap in gaps(session.log)} == {"engine"}
    details = [event.body.detail for event in told if isinstance(event.body, Status) and event.body.state == "degraded"]
    assert "the engine is out of order" in details


async def test_a_slow_engine_holds_the_sound_back_and_is_said_to_be_behind() -> None:
    async with running() as (session, engine, told):
        engine.may_answer.clear()
        source = Played(speech() * 4)
        hearing = asyncio.create_task(session.hear(source))
        await until(lambda: any(isinstance(e.body, Status) and e.body.state == "degraded" for e in told))
        await until(lambda: session.waiting_utterances > 4)
        assert not source.delivered.is_set()
        engine.may_answer.set()
        await hearing
        assert session.status().lag_ms == 0


async def test_the_state_of_the_engine_is_told() -> None:
    async with running() as (session, engine, _):
        for state, shown in (("starting", "starting"), ("respawning", "degraded"), ("ready", "idle")):
            engine.state = state
            assert session.status().state == shown


async def test_summary_and_history() -> None:
    async with running() as (session, _, _told):
        await session.hear(Played(speech()))
        assert session.summary()["name"] == "room"
        assert session.summary()["audio_ms"] == session.position_ms
        assert [event.body for event in session.history()] == finals(session.log)
        assert session.idle_s >= 0
        session.readers = 1
        assert session.idle_s == 0


async def test_a_second_pass_corrects_finals_and_holds_nothing_up() -> None:
    """The source ends although the second engine never answers; then it does."""
    second = Inline(build({"utterances": ["something else"]}))
    second.may_answer.clear()
    session = Session(Log("room", "e"), Inline(build({})), Settings(), Metrics(), second=second)
    async with asyncio.timeout(GUARD_S):
        work = asyncio.create_task(session.run())
        await session.hear(Played(speech()))
        assert isinstance(session.log.since(0)[-1].body, Ended)
        second.may_answer.set()
        count = len(finals(session.log))
        await until(lambda: sum(isinstance(event.body, Revised) for event in session.log.since(0)) == count)
        work.cancel()
        await asyncio.wait([work])
    assert {item.text for item in fold(session.history()).items} == {"something else"}


async def test_names_are_expected_beside_those_of_the_pipeline() -> None:
    settings = Settings(pipeline=Pipeline(recognise=RecogniseStage(vocabulary=("CTranslate2",))))
    async with running(settings) as (session, engine, told):
        session.expect(["Lasecki", "ctranslate2"])
        assert list(session.vocabulary) == ["CTranslate2", "Lasecki"]
        await session.hear(Played(speech()))
        assert engine.contexts[-1].vocabulary == ("CTranslate2", "Lasecki")
        session.expect([])
        assert list(session.vocabulary) == ["CTranslate2"]
        with pytest.raises(ValueError, match="at most 100 terms, not 101"):
            session.expect([str(number) for number in range(100)])
        assert list(session.vocabulary) == ["CTranslate2"]
    bodies = [event.body.terms for event in told if isinstance(event.body, Vocabulary)]
    assert bodies[0] in (("CTranslate2",), ("CTranslate2", "Lasecki"))  # superseded before anybody read it
    log = Session(Log("room", "e"), Inline(build({})), settings, Metrics()).log
    assert [event.body for event in log.since(0)] == [Vocabulary(terms=("CTranslate2",))]
