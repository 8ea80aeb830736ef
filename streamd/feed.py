"""A log that can be waited for. The log itself is pure; this adds the clock and wakes readers."""

from __future__ import annotations

import asyncio
import time

from streamd.core.events import Body, Event
from streamd.core.log import Log
from streamd.metrics import Metrics


def now_ms() -> int:
    """Wall-clock milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Feed:
    """One session's log for the readers and writers of one event loop."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self.log = log
        self._metrics = metrics
        self._changed = asyncio.Event()

    def append(self, body: Body, note: str = "{}") -> Event:
        """Append to the log and wake everybody who waits."""
        event = self.log.append(body, now_ms(), note)
        self._metrics.events.labels(body.type).inc()
        self._wake()
        return event

    def confirm(self, seq: int) -> None:
        """The journal holds everything up to `seq`; readers may see it."""
        self.log.confirm(seq)
        self._wake()

    async def wait_newer(self, seq: int) -> None:
        """Return once readers may see something after `seq`."""
        while self.log.newest <= seq:
            await self._changed.wait()

    async def wait_appended(self, next_seq: int) -> None:
        """Return once `log.next_seq` is beyond `next_seq`, visible or not."""
        while self.log.next_seq <= next_seq:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
