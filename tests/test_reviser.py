"""The second pass: corrects, keeps out of the way, and leaves alone what is doubtful."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamd.core.events import Final, Revised
from streamd.core.log import Log
from streamd.core.words import HypothesisWord
from streamd.engines.base import Context
from streamd.engines.scripted import build
from streamd.feed import Feed
from streamd.metrics import Metrics
from streamd.reviser import WAITING_READINGS, Reviser
from streamd.transcriber import Reading
from tests.parts import Inline, until

SECOND = bytes(32_000)
GUARD_S = 20.0


class Desk:
    """A reviser at work, and who hands it what was said."""

    def __init__(self, reads: str, language: str | None) -> None:
        self.metrics = Metrics()
        self.log = Log("room", "e")
        self.engine = Inline(build({"utterances": [{"text": reads, "language": language}]}))
        self.reviser = Reviser(Feed(self.log, self.metrics), self.engine, self.metrics)

    def hand_in(self, text: str, language: str | None = None, translated_from: str | None = None) -> int:
        number = self.log.next_seq
        words = tuple(HypothesisWord(f" {word}", n / 4, n / 4 + 0.25) for n, word in enumerate(text.split()))
        final = Final(
            utterance=number,
            start_ms=5_000,
            end_ms=6_000,
            text=text,
            language=language,
            translated_from=translated_from,
            engine="first",
        )
        self.log.append(final, 0)
        self.reviser.submit(Reading(final, words, SECOND, Context(committed=text, vocabulary=("Lasecki",))))
        return number

    @property
    def revised(self) -> list[Revised]:
        return [event.body for event in self.log.since(0) if isinstance(event.body, Revised)]

    def count(self, outcome: str) -> float:
        name = "streamd_second_readings_total"
        return self.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0

    async def outcome(self, outcome: str, times: int = 1) -> None:
        await until(lambda: self.count(outcome) >= times)


@asynccontextmanager
async def working(reads: str, language: str | None = None) -> AsyncIterator[Desk]:
    desk = Desk(reads, language)
    async with asyncio.timeout(GUARD_S):
        task = asyncio.create_task(desk.reviser.run())
        try:
            yield desk
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_words_that_are_read_otherwise_are_told() -> None:
    async with working("ask Lasecki") as desk:
        number = desk.hand_in("Ask Lasagne")
        await desk.outcome("changed")
        (revised,) = desk.revised
        assert (revised.utterance, revised.text, revised.engine) == (number, "Ask Lasecki", "scripted")
        assert (revised.start_ms, revised.end_ms) == (5_000, 6_000)
        assert [(change.start, change.stop, change.text) for change in revised.changes] == [(3, 11, " Lasecki")]
        assert [(word.text, word.start_ms) for word in revised.words] == [("Ask", 5_000), ("Lasecki", 5_400)]
        assert desk.engine.contexts[0].vocabulary == ("Lasecki",)
        assert desk.engine.contexts[0].committed == ""


async def test_what_reads_the_same_is_not_told() -> None:
    async with working("ask, lasagne!") as desk:
        desk.hand_in("Ask Lasagne")
        await desk.outcome("same")
        assert desk.revised == []


async def test_what_is_doubtful_stays() -> None:
    """Another language, or nothing at all."""
    async with working("frag Lasagne", language="de") as desk:
        desk.hand_in("Ask Lasagne", language="en")
        await desk.outcome("doubtful")
        assert desk.revised == []
    async with working("") as desk:
        desk.hand_in("Ask Lasagne")
        await desk.outcome("doubtful")
        assert desk.revised == []


async def test_a_translation_is_corrected_by_a_translation() -> None:
    async with working("ask Lasecki", language="pl") as desk:
        desk.hand_in("Ask Lasagne", language="en", translated_from="pl")
        await desk.outcome("changed")
        assert (desk.revised[0].language, desk.revised[0].translated_from) == ("en", "pl")


async def test_noise_is_not_read_again() -> None:
    async with working("something") as desk:
        desk.hand_in("")
        desk.hand_in("word")
        await desk.outcome("changed")
        assert len(desk.engine.contexts) == 1


async def test_where_more_is_said_than_can_be_read_the_oldest_stays() -> None:
    async with working("something") as desk:
        desk.engine.may_answer.clear()
        busy = desk.hand_in("word")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        numbers = [desk.hand_in("word") for _ in range(WAITING_READINGS + 2)]
        assert desk.count("skipped") == 2
        desk.engine.may_answer.set()
        await desk.outcome("changed", WAITING_READINGS + 1)
        assert [revised.utterance for revised in desk.revised] == [busy, *numbers[2:]]


async def test_an_engine_that_fails_costs_one_reading() -> None:
    async with working("something") as desk:
        desk.engine.failing = True
        desk.hand_in("word")
        await desk.outcome("failed")
        desk.engine.failing = False
        desk.hand_in("word")
        await desk.outcome("changed")
        assert len(desk.revised) == 1
