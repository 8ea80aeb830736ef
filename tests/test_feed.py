"""Whoever waits for the log is woken by what it waits for, and by nothing less."""

from __future__ import annotations

import asyncio

from streamd.core.events import Gap, Status
from streamd.core.log import Log
from streamd.feed import Feed, now_ms
from streamd.metrics import Metrics

GAP = Gap(start_ms=0, end_ms=40, reason="test")


async def test_a_reader_waits_for_the_journal_and_the_journal_does_not() -> None:
    feed = Feed(Log("room", "e", write_ahead=True), Metrics())
    reader = asyncio.create_task(feed.wait_newer(0))
    journal = asyncio.create_task(feed.wait_appended(1))
    await asyncio.sleep(0)
    event = feed.append(GAP)
    await journal
    assert not reader.done()
    feed.confirm(event.seq)
    await reader


async def test_events_carry_the_wall_clock_and_are_counted() -> None:
    metrics = Metrics()
    feed = Feed(Log("room", "e"), metrics)
    before = now_ms()
    event = feed.append(Status(state="idle"))
    assert before <= event.at_ms <= now_ms()
    assert metrics.registry.get_sample_value("streamd_events_total", {"type": "status"}) == 1
