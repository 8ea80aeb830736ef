"""Calls that queue up are served together, urgent ones first, and each gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.engines.batcher import Batcher
from tests.gate import PATIENCE_S


class Served:
    """Squares numbers. While `held` is not set, a batch that holds 0 stays under way."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.held = threading.Event(), threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        if 0 in numbers:
            self.begun.set()
            assert self.held.wait(PATIENCE_S)
        if -1 in numbers:
            raise ValueError("minus one has no square here")
        return [number * number for number in numbers]


class Queue:
    """One place, which is taken until `serve` is called: what is submitted until then queues up in this order."""

    def __init__(self, most: int = 4, together: Callable[[int, int], bool] = lambda one, other: True) -> None:
        self.served = Served()
        self._batcher = Batcher(self.served, together, 1, most)
        self._pool = ThreadPoolExecutor(20)
        self._blocking = self._pool.submit(self._batcher.call, 0)
        assert self.served.begun.wait(PATIENCE_S)

    def submit(self, number: int, *, urgent: bool = False) -> Future[int]:
        waiting = self._batcher.waiting
        future = self._pool.submit(self._batcher.call, number, urgent=urgent)
        with self._batcher.changed:
            assert self._batcher.changed.wait_for(lambda: self._batcher.waiting > waiting, PATIENCE_S)
        return future

    def serve(self) -> list[list[int]]:
        """The batches that were made of what queued up."""
        self.served.held.set()
        with suppress(ValueError):
            self._blocking.result(PATIENCE_S)
        self._pool.shutdown()
        return self.served.batches[1:]


def test_alone_it_is_served_at_once_and_by_itself() -> None:
    served = Served()
    batcher = Batcher(served, lambda one, other: True, 2, 4)
    assert [batcher.call(3), batcher.call(4)] == [9, 16]
    assert served.batches == [[3], [4]]


def test_what_queues_up_is_served_together() -> None:
    queue = Queue()
    answers = [queue.submit(number) for number in (1, 2, 3)]
    assert queue.serve() == [[1, 2, 3]]
    assert [answer.result() for answer in answers] == [1, 4, 9]


def test_a_batch_is_bounded_and_the_oldest_come_first() -> None:
    queue = Queue(most=2)
    for number in (1, 2, 3):
        queue.submit(number)
    assert queue.serve() == [[1, 2], [3]]


def test_the_urgent_go_first_and_with_nobody_else() -> None:
    queue = Queue()
    for number in (1, 2):
        queue.submit(number)
    queue.submit(9, urgent=True)
    assert queue.serve() == [[9], [1, 2]]


def test_only_what_may_share_a_batch_does() -> None:
    queue = Queue(together=lambda one, other: one % 2 == other % 2)
    for number in (1, 2, 3, 4):
        queue.submit(number)
    assert queue.serve() == [[1, 3], [2, 4]]


def test_one_does_not_fail_for_what_is_wrong_with_another() -> None:
    queue = Queue()
    good, bad, other = (queue.submit(number) for number in (1, -1, 3))
    assert queue.serve() == [[1, -1, 3], [1], [-1], [3]]
    assert (good.result(), other.result()) == (1, 9)
    with pytest.raises(ValueError, match="no square"):
        bad.result()


def test_two_places_serve_two_batches_at_a_time() -> None:
    both = threading.Barrier(2)
    batcher: Batcher[int, int] = Batcher(
        lambda numbers: [both.wait(PATIENCE_S) for _ in numbers], lambda one, other: True, 2, 1
    )
    with ThreadPoolExecutor(2) as pool:
        assert {call.result() for call in [pool.submit(batcher.call, number) for number in (1, 2)]} == {0, 1}


def test_who_has_an_answer_is_not_kept_busy_with_an_urgent_call() -> None:
    begun, free = ({number: threading.Event() for number in (1, 3, 9)} for _ in range(2))

    def serve(numbers: Sequence[int]) -> list[int]:
        for number in set(numbers) & set(free):
            begun[number].set()
            assert free[number].wait(PATIENCE_S)
        return [number * number for number in numbers]

    batcher = Batcher(serve, lambda one, other: False, 2, 4)
    with ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(batcher.call, number) for number in (1, 3)]
        assert all(begun[number].wait(PATIENCE_S) for number in (1, 3))
        partial, urgent = pool.submit(batcher.call, 2), pool.submit(batcher.call, 9, urgent=True)
        with batcher.changed:
            assert batcher.changed.wait_for(lambda: batcher.waiting == 2, PATIENCE_S)
        free[1].set()
        assert begun[9].wait(PATIENCE_S)
        free[3].set()
        assert partial.result(PATIENCE_S) == 4  # while the urgent one is still being served
        free[9].set()
        assert [call.result(PATIENCE_S) for call in (*busy, urgent)] == [1, 9, 81]


@given(
    st.lists(st.integers(1, 9), max_size=30), st.integers(1, 3), st.integers(1, 5), st.integers(1, 3), st.integers(1, 8)
)
def test_everybody_gets_their_own_answer_once(
    numbers: list[int], places: int, most: int, kinds: int, threads: int
) -> None:
    seen: list[int] = []

    def serve(batch: Sequence[int]) -> list[int]:
        assert len(batch) <= most
        assert len({number % kinds for number in batch}) == 1
        seen.extend(batch)
        return [number * number for number in batch]

    batcher = Batcher(serve, lambda one, other: one % kinds == other % kinds, places, most)
    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(batcher.call, numbers)) == [number * number for number in numbers]
    assert sorted(seen) == sorted(numbers)
