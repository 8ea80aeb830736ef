"""How bytes move between a socket and a log: the next event when the former one has left, and nothing in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

from streamd.core.events import Event
from streamd.core.wire import Close, CloseCode, Expect, ProtocolViolation
from streamd.server.hub import Hub, Session

CLOSE_S = 2.0
"""A client that does not answer a closing handshake for so long is dropped."""


class Follower(Protocol):
    """The two wires, as far as they send."""

    cursor: int

    def next(self) -> Event | None: ...

    def lag_ms(self, now_ms: int) -> int: ...


class Relay:
    """Sends one client what happens in one session. `shows`: somebody sees what commands ask."""

    def __init__(
        self,
        socket: Connection,
        session: Session,
        wire: Follower,
        now_ms: Callable[[], int],
        limit_s: float,
        *,
        shows: bool = True,
    ) -> None:
        self._socket = socket
        self._session = session
        self._wire = wire
        self._now_ms = now_ms
        self._limit_s = limit_s
        self._shows = shows

    async def forever(self) -> None:
        """Send events as they come. Raises Close for a client that is too slow, and ConnectionClosed."""
        while True:
            if not await self.step():
                await self._session.wait_newer(self._wire.cursor)

    async def until(self, seq: int) -> None:
        """Send what the log holds up to `seq`, waiting for it to be visible. Raises as `forever`."""
        while self._wire.cursor < seq:
            if not await self.step() and self._wire.cursor < seq:
                await self._session.wait_newer(self._wire.cursor)

    async def step(self) -> bool:
        """Send the next event. False: there is none."""
        left_s = self._limit_s - self._wire.lag_ms(self._now_ms()) / 1000
        event = self._wire.next()
        if event is None:
            return False
        if left_s <= 0:
            raise self._too_slow()
        try:
            async with asyncio.timeout(left_s):
                await self._socket.send(event.json)
        except TimeoutError:
            raise self._too_slow() from None
        if self._shows:
            self._session.delivered(event)
        await asyncio.sleep(0)  # `send` does not wait while the kernel takes everything: let others have a turn
        return True

    def _too_slow(self) -> Close:
        return Close(
            CloseCode.TOO_SLOW, f"more than {self._limit_s:g} s behind; resume with the last seq that you have"
        )


async def shut(socket: Connection, close: Close) -> None:
    """End a connection with a code and a reason. What the client still sends is thrown away."""
    try:
        async with asyncio.timeout(CLOSE_S):
            # Its answer is behind whatever it had sent before, and reading pauses if nobody takes that.
            await first(socket.close(close.code, close.reason), _discard(socket))
    except TimeoutError:
        socket.transport.abort()


async def expect(hub: Hub, name: str, asked: Expect) -> None:
    """Have a session expect what its client asks for. Raises Close if that is too much."""
    try:
        await hub.expect(name, asked.terms)
    except ValueError as error:
        raise ProtocolViolation(str(error)) from error


async def first(*contenders: Coroutine[Any, Any, object]) -> None:
    """Run until one of the contenders ends, then cancel the others. Raises what it raised."""
    tasks = [asyncio.ensure_future(contender) for contender in contenders]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done:
                task.result()
    finally:
        await cancel(*tasks)


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they are gone. What they raise is of no interest any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _discard(socket: Connection) -> None:
    try:
        async for _ in socket:
            pass
    except ConnectionClosed:
        pass
