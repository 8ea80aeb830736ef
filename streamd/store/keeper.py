"""The journal as a reader of the log: a cursor, and batches through one thread."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from streamd.core.log import Log
from streamd.metrics import Metrics
from streamd.store.journal import RESERVE_LOW, Journal

PARTIALS_S = 1.0  # between two writes of open partials: SD cards wear out
ALIVE_S = 15.0  # between two writes when nobody speaks; so exact is the start of a `restart` gap
DAY_S = 86_400
DAY_MS = 1_000 * DAY_S

_Result = TypeVar("_Result")


class Feed(Protocol):
    """The session, as the journal sees it."""

    @property
    def log(self) -> Log: ...

    async def wait_appended(self, next_seq: int) -> None:
        """Return once `log.next_seq` is beyond `next_seq`: something was appended, visible to readers or not."""

    def confirm(self, seq: int) -> None:
        """The journal holds everything up to `seq`: tell the log, wake the readers."""


class Run(Protocol):
    """Calls `function(*args)` in the journal's one thread, in the order of the calls."""

    def __call__(self, function: Callable[..., _Result], /, *args: object) -> Awaitable[_Result]: ...


async def keep(feed: Feed, journal: Journal, run: Run, metrics: Metrics, now_ms: Callable[[], int]) -> None:
    """Write the log of one loaded session to the journal until cancelled; what is appended by then is written too.

    Finals and gaps are written at once, all that there are in one transaction, and then confirmed. Open partials
    and the sign of life come along, or by themselves after a while. Once nothing appends any more,
    `Journal.release` gives the unused numbers back.
    Raises UnavailableError if the journal can't be written. Nothing is confirmed then.
    """
    keeper = _Keeper(feed, journal, run, metrics, now_ms)
    try:
        while True:
            await keeper.wait()
            await keeper.save()
    except asyncio.CancelledError:
        await keeper.save()
        raise


async def retain(journal: Journal, run: Run, days: int, now_ms: Callable[[], int], *, every_s: float = DAY_S) -> None:
    """Delete what is older than `days`, now and once a day. 0 days: keep everything."""
    while days:
        await run(journal.prune, now_ms() - days * DAY_MS)
        await asyncio.sleep(every_s)


class _Keeper:
    def __init__(self, feed: Feed, journal: Journal, run: Run, metrics: Metrics, now_ms: Callable[[], int]) -> None:
        self._feed = feed
        self._journal = journal
        self._run = run
        self._now_ms = now_ms
        self._lag = metrics.journal_lag_events.labels(feed.log.session)
        self._seconds = metrics.stage_seconds.labels("journal")
        self._saved_seq = feed.log.next_seq  # at the last write
        self._saved_s = -math.inf  # the loop's time then

    async def wait(self) -> None:
        """Return once something should be written."""
        log, seen = self._feed.log, self._saved_seq
        hold_until_s: float | None = None
        with suppress(TimeoutError):
            while not log.unconfirmed() and seen - self._saved_seq < RESERVE_LOW // 2:
                async with asyncio.timeout_at(hold_until_s):
                    await self._feed.wait_appended(seen)
                seen = log.next_seq
                hold_until_s = self._saved_s + (PARTIALS_S if log.open_partials() else ALIVE_S)

    async def save(self) -> None:
        log = self._feed.log
        durable, partials, next_seq = log.unconfirmed(), log.open_partials(), log.next_seq
        self._lag.set(len(durable))
        with self._seconds.time():
            await self._run(self._journal.write, log.session, durable, partials, next_seq, self._now_ms())
        self._lag.set(0)
        self._saved_seq, self._saved_s = next_seq, asyncio.get_running_loop().time()
        self._feed.confirm(next_seq - 1)
