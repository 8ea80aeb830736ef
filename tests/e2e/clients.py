"""Clients of a real daemon, as clients/README.md describes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import cycle
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streamd.core.events import Body, Event, Final, Welcome
from streamd.core.view import View
from tests.e2e.daemon import PATIENCE_S, SESSION, Daemon

_Kind = TypeVar("_Kind", bound=Body | Welcome)


class Client:
    """Keeps what it is told, over as many connections as it takes."""

    def __init__(self) -> None:
        self.view = View()
        self.told: list[Event] = []
        self.code: int | None = None  # with which its last connection was closed
        self._changed = asyncio.Event()

    def bodies(self, kind: type[_Kind]) -> list[_Kind]:
        return [event.body for event in self.told if isinstance(event.body, kind)]

    @property
    def finals(self) -> list[Final]:
        return self.bodies(Final)

    @property
    def texts(self) -> list[str]:
        return [final.text for final in self.finals if final.text]

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once what was told fulfils it. Fails if the connection ends before."""
        while not condition():
            assert self.code is None, f"closed with {self.code}, before it was told what it waits for"
            await self._changed.wait()

    async def until_finals(self, count: int) -> None:
        """Return once there are so many."""
        await self.until(lambda: len(self.finals) >= count)

    async def until_closed(self) -> int:
        """The closing code; 1006 is a connection that broke."""
        while self.code is None:
            await self._changed.wait()
        return self.code

    async def take(self, socket: ClientConnection) -> None:
        """Take what comes until the connection is closed."""
        try:
            async for message in socket:
                self.receive(message)
        except ConnectionClosed:
            pass
        self.code = socket.close_code
        self._notify()

    def receive(self, message: str | bytes) -> None:
        """Take one event."""
        self.told.append(Event.parse(message))
        self.view.apply(self.told[-1])
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Speaker(Client):
    """Says something, and is told what the session makes of it."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__()
        self.socket = socket

    async def say(self, sound: bytes, sizes: Iterable[int] = (8_000,)) -> None:
        """Send sound in messages of these many bytes, over and over."""
        at = 0
        for size in cycle(sizes):
            if at >= len(sound):
                return
            await self.socket.send(sound[at : at + size])
            at += size

    async def end(self) -> None:
        """Say that this was all, and return with the last of what comes back."""
        await self.socket.send(json.dumps({"type": "end"}))
        assert await self.until_closed() == 1000
        assert self.view.ended


@asynccontextmanager
async def reading(daemon: Daemon, session: str = SESSION, reader: Client | None = None) -> AsyncIterator[Client]:
    """A reader, or one that comes back for what it missed."""
    reader = reader or Client()
    async with connected(daemon, session, reader) as socket, _taking(reader, socket):
        yield reader


@asynccontextmanager
async def connected(daemon: Daemon, session: str, reader: Client) -> AsyncIterator[ClientConnection]:
    """The connection of a reader that takes nothing from it by itself."""
    query = f"?token={daemon.token}"
    if reader.view.epoch:
        query += f"&after={reader.view.seq}&epoch={reader.view.epoch}"
    async with _connected(f"{daemon.socket_url}/v1/sessions/{session}/events{query}") as socket:
        yield socket


@asynccontextmanager
async def speaking(daemon: Daemon, session: str = SESSION, **options: object) -> AsyncIterator[Speaker]:
    """Somebody who speaks; `options` as in rate=48000, format="f32le"."""
    query = "&".join(f"{name}={value}" for name, value in (options | {"token": daemon.token}).items())
    async with _connected(f"{daemon.socket_url}/v1/sessions/{session}/audio?{query}") as socket:
        speaker = Speaker(socket)
        async with _taking(speaker, socket):
            yield speaker


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[ClientConnection]:
    async with asyncio.timeout(PATIENCE_S), connect(address, open_timeout=None, max_size=None, proxy=None) as socket:
        yield socket


@asynccontextmanager
async def _taking(client: Client, socket: ClientConnection) -> AsyncIterator[None]:
    client.code = None
    task = asyncio.create_task(client.take(socket))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
