"""Several rooms at once, each with several readers, some of them difficult."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from streamd.core.events import Event, Final, Gap
from tests.e2e.clients import Client, connected, reading, speaking
from tests.e2e.daemon import Daemon
from tests.speech import recording, word_error_rate

pytestmark = pytest.mark.model

ROOMS = {"hall": "jfk", "studio": "austen_0870", "plant": "austen_0890"}  # what is said in them
WATCHED = ("-P", str(Path(__file__).with_name("watched.py")))
MOST_ERRORS = 0.35


async def stay(daemon: Daemon, room: str, client: Client) -> None:
    """A reader as it should be."""
    async with reading(daemon, room, client):
        await client.until(lambda: client.view.is_over)


async def come_and_go(daemon: Daemon, room: str, client: Client) -> None:
    """One event a connection."""
    while not client.view.is_over:
        async with connected(daemon, room, client) as socket:
            for _ in ("welcome", "event"):
                client.receive(await socket.recv())


async def sleep(daemon: Daemon, room: str, client: Client, waking: asyncio.Event) -> None:
    """Takes nothing before it is woken up."""
    async with connected(daemon, room, client) as socket:
        await waking.wait()
        try:
            while not client.view.is_over:
                client.receive(await socket.recv())
        except ConnectionClosed:
            pass  # too slow, says the server
    await stay(daemon, room, client)


async def meet(daemon: Daemon, room: str) -> list[Client]:
    """Somebody speaks in a room, and four listen."""
    clients, waking = [Client() for _ in range(4)], asyncio.Event()
    async with speaking(daemon, room) as speaker, asyncio.TaskGroup() as readers:
        await speaker.until(lambda: speaker.told)
        for client in clients[:2]:
            readers.create_task(stay(daemon, room, client))
        readers.create_task(come_and_go(daemon, room, clients[2]))
        readers.create_task(sleep(daemon, room, clients[3], waking))
        await clients[0].until(lambda: clients[0].told)
        await speaker.say(recording(ROOMS[room]).pcm.tobytes(), (1_280,))
        await speaker.end()
        waking.set()
    return clients


def kept(client: Client) -> list[Event]:
    return [event for event in client.told if isinstance(event.body, Final | Gap)]


async def test_three_rooms_with_four_readers_each(tmp_path: Path, tiny_en: Path) -> None:
    with Daemon(tmp_path, "--source", "none", model=tiny_en, program=WATCHED) as daemon:
        daemon.start()
        rooms = dict(zip(ROOMS, await asyncio.gather(*(meet(daemon, room) for room in ROOMS)), strict=True))
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    for room, clients in rooms.items():
        assert word_error_rate(recording(ROOMS[room]).text, " ".join(clients[0].texts)) <= MOST_ERRORS
        for other in clients[1:]:
            assert kept(other) == kept(clients[0])
            assert other.view.items == clients[0].view.items
    assert "BlockingError" not in daemon.log
    assert "Traceback" not in daemon.log
