"""The inbox between the sound card's thread and the event loop."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.sources.inbox import Block, Inbox


def block(samples: int, number: int = 0) -> Block:
    return Block(number.to_bytes(2, "little") * samples, float(number))


def test_what_is_put_is_taken_once_and_in_order() -> None:
    inbox = Inbox(100)
    assert inbox.first() is None
    assert inbox.take() == (0, [])
    blocks = [block(10, number) for number in range(3)]
    for one in blocks:
        inbox.put(one)
    assert inbox.first() == blocks[0]
    assert inbox.take() == (0, blocks)
    assert inbox.take() == (0, [])


def test_the_oldest_goes_and_is_counted() -> None:
    inbox = Inbox(100)
    for number in range(13):
        inbox.put(block(10, number))
    dropped, blocks = inbox.take()
    assert dropped == 30
    assert [one.at_s for one in blocks] == list(range(3, 13))
    inbox.put(block(10))
    assert inbox.take()[0] == 0


@settings(deadline=None)  # slow machines are no failure
@given(st.lists(st.one_of(st.integers(1, 50), st.none()), max_size=60))
def test_no_sample_is_unaccounted_for(steps: list[int | None]) -> None:
    """Numbers are samples put, None is a take."""
    inbox, put, counted = Inbox(100), 0, 0
    for step in [*steps, None]:
        if step is not None:
            inbox.put(block(step))
            put += step
            continue
        dropped, blocks = inbox.take()
        held = sum(one.samples for one in blocks)
        assert held <= 100
        counted += dropped + held
    assert counted == put


def test_two_threads_lose_nothing() -> None:
    inbox, count = Inbox(64), 20_000

    def put_all() -> None:
        for number in range(count):
            inbox.put(block(1, number % 60_000))

    putter = threading.Thread(target=put_all)
    putter.start()
    counted = 0
    while putter.is_alive():
        dropped, blocks = inbox.take()
        counted += dropped + len(blocks)
    putter.join()
    dropped, blocks = inbox.take()
    assert counted + dropped + len(blocks) == count
