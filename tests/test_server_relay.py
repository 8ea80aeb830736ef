"""Moving events: whose turn it is, and what ends together."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from websockets.asyncio.connection import Connection

from streamd.core.wire import ReaderWire
from streamd.server.relay import Relay, cancel, first
from tests.served import PlayedHub, final


class EagerSocket:
    """A connection that takes everything at once."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, _message: str) -> None:
        self.sent += 1


async def test_a_long_history_does_not_hold_up_the_others() -> None:
    """Between two events everybody else gets a turn, also if the kernel takes them all."""
    hub = PlayedHub("room")
    room = hub["room"]
    for utterance in range(50):
        room.append(final(utterance))
    socket = EagerSocket()
    wire = ReaderWire(room.log, hub.clock_ms)
    sending = asyncio.create_task(Relay(cast(Connection, socket), room, wire, hub.now_ms, 30).until(room.log.newest))
    for turn in range(50):
        assert socket.sent <= turn
        await asyncio.sleep(0)
    await sending
    assert socket.sent == 50


async def test_waiting_for_a_seq_goes_on_until_it_is_visible() -> None:
    hub = PlayedHub("room")
    room = hub["room"]
    socket = EagerSocket()
    wire = ReaderWire(room.log, hub.clock_ms)
    sending = asyncio.create_task(Relay(cast(Connection, socket), room, wire, hub.now_ms, 30).until(2))
    await asyncio.sleep(0)
    room.append(final(1))
    room.append(final(2))
    await sending
    assert socket.sent == 2


async def test_the_first_to_end_ends_the_others() -> None:
    cancelled = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    await first(for_ever(), asyncio.sleep(0), for_ever())
    assert cancelled == [True, True]


async def test_what_the_first_to_end_raises_is_raised() -> None:
    async def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await first(asyncio.Event().wait(), fails())


async def test_whoever_is_cancelled_takes_its_contenders_along() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def for_ever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    race = asyncio.create_task(first(for_ever(), asyncio.Event().wait()))
    await started.wait()
    await cancel(race)
    assert race.cancelled()
    assert ended.is_set()
