"""The second pass: a larger model, in a worker of its own, reads finished utterances again. One a session.

It never delays a final: an utterance comes here once its final is in the log, the worker stands back behind the first
one's, and where more is said than it can read, the oldest is left as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import replace
from typing import Protocol

from streamd.bridge import EngineFailed
from streamd.core.events import Revised
from streamd.core.revise import revise
from streamd.engines.base import Context, Hypothesis
from streamd.feed import Feed
from streamd.metrics import Metrics
from streamd.transcriber import Reading, on_the_wire

WAITING_READINGS = 8
"""Utterances that may wait for their second reading; of more, the oldest is left as it was."""

_log = logging.getLogger(__name__)


class Reader(Protocol):
    """What a second pass needs of bridge.EngineHost."""

    async def advance(self, utterance_id: str, pcm: bytes, last: bool, context: Context) -> Hypothesis: ...


class Reviser:
    """Has the utterances of one session read again."""

    def __init__(self, feed: Feed, reader: Reader, metrics: Metrics) -> None:
        self._feed = feed
        self._reader = reader
        self._waiting: deque[Reading] = deque()
        self._came = asyncio.Event()
        self._fill = metrics.queue_fill.labels("readings", feed.log.session)
        self._outcomes = metrics.second_readings

    def submit(self, reading: Reading) -> None:
        """Have it read when there is time."""
        if not reading.final.text:
            return
        if len(self._waiting) == WAITING_READINGS:
            self._waiting.popleft()
            self._outcomes.labels("skipped").inc()
        self._waiting.append(reading)
        self._fill.set(len(self._waiting))
        self._came.set()

    async def run(self) -> None:
        """Work until cancelled; what waits then is left as it was."""
        while True:
            while not self._waiting:
                self._came.clear()
                await self._came.wait()
            reading = self._waiting.popleft()
            self._fill.set(len(self._waiting))
            self._outcomes.labels(await self._reread(reading)).inc()

    async def _reread(self, reading: Reading) -> str:
        """Tell what a second reading changes. Returns the outcome's name among the metrics."""
        final = reading.final
        key = f"{self._feed.log.session}/{final.utterance}/second"
        try:
            hypothesis = await self._reader.advance(key, reading.pcm, True, replace(reading.context, committed=""))
        except EngineFailed as error:
            _log.warning("an utterance is not read again: %s", error)
            return "failed"
        spoken = final.translated_from or final.language
        if not hypothesis.text or spoken not in (None, hypothesis.language):
            return "doubtful"  # one of the two models heard something else altogether
        event = _revised(reading, hypothesis)
        if not event.changes:
            return "same"
        self._feed.append(event)
        return "changed"


def _revised(reading: Reading, hypothesis: Hypothesis) -> Revised:
    final, revision = reading.final, revise(reading.words, hypothesis.words)
    return Revised(
        utterance=final.utterance,
        start_ms=final.start_ms,
        end_ms=final.end_ms,
        text=revision.text,
        changes=revision.changes,
        words=on_the_wire(revision.words, final.start_ms),
        language=final.language,
        translated_from=final.translated_from,
        engine=hypothesis.engine,
    )
