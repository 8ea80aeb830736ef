"""Dynamic batching: calls that come while every place is taken are served together by the next place that is free.

Nobody waits for company: with fewer calls than places each is served by itself and at once. The threads that call do
the work themselves, so there is nothing to start or to stop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(eq=False, slots=True)
class _Call(Generic[Q, A]):
    request: Q
    urgent: bool
    outcome: Future[A] = field(default_factory=Future)


class Batcher(Generic[Q, A]):
    """`serve` answers several requests at once, in their order; `together` says whether two may share a batch.

    At most `places` batches, of at most `most` requests each, are served at a time: urgent ones first, then the oldest
    with those that may join it. A batch is served by the thread of its first call, so that nobody who has an answer is
    kept busy with somebody else's. Bounded by its callers: each of them waits for its one answer.
    """

    def __init__(
        self, serve: Callable[[Sequence[Q]], Sequence[A]], together: Callable[[Q, Q], bool], places: int, most: int
    ) -> None:
        self._serve, self._together = serve, together
        self._places, self._most = places, most
        self._waiting: list[_Call[Q, A]] = []
        self.changed = threading.Condition()  # notified whenever a call comes, or a batch is taken or done

    @property
    def waiting(self) -> int:
        """Calls that are not being served yet."""
        return len(self._waiting)

    def call(self, request: Q, *, urgent: bool = False) -> A:
        """The answer to one request. Raises what `serve` raises for it alone: a batch that fails is served singly."""
        call: _Call[Q, A] = _Call(request, urgent)
        if batch := self._turn(call):
            try:
                self._settle(batch)
            finally:
                self._leave()
        return call.outcome.result()

    def _turn(self, call: _Call[Q, A]) -> list[_Call[Q, A]]:
        """Waits until `call` has its answer, or leads a batch: that one then."""
        with self.changed:
            self._waiting.append(call)
            self.changed.notify_all()
            self.changed.wait_for(lambda: call.outcome.done() or (self._places > 0 and self._next() is call))
            if call.outcome.done():
                return []
            batch = [call]
            for other in self._waiting:
                if len(batch) < self._most and self._joins(batch, other):
                    batch.append(other)
            self._places -= 1
            self._waiting = [other for other in self._waiting if other not in batch]
            self.changed.notify_all()
            return batch

    def _next(self) -> _Call[Q, A] | None:
        """Who leads the next batch."""
        return next((call for call in self._waiting if call.urgent), next(iter(self._waiting), None))

    def _joins(self, batch: Sequence[_Call[Q, A]], other: _Call[Q, A]) -> bool:
        return other not in batch and all(
            call.urgent == other.urgent and self._together(call.request, other.request) for call in batch
        )

    def _leave(self) -> None:
        with self.changed:
            self._places += 1
            self.changed.notify_all()

    def _settle(self, batch: Sequence[_Call[Q, A]]) -> None:
        try:
            answers = self._serve([call.request for call in batch])
        except BaseException as error:  # noqa: BLE001 - handed to whoever called
            if len(batch) == 1:
                batch[0].outcome.set_exception(error)
                return
            for call in batch:  # one must not fail for what is wrong with another
                self._settle([call])
        else:
            for call, answer in zip(batch, answers, strict=True):
                call.outcome.set_result(answer)
