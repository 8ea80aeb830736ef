"""Speakers over real sockets."""

from __future__ import annotations

import asyncio
import random
import socket as sockets
from itertools import pairwise

import pytest
from websockets.asyncio.client import ClientConnection

from streamd.core.events import Status, Vocabulary, Welcome
from streamd.core.log import Log
from tests.parts import until
from tests.served import PlayedHub, closed, event, final, partial, remaining, served

CHUNK = 32_000
TALK = 500 * CHUNK
END = '{"type": "end"}'


@pytest.mark.parametrize("sizes", ["odd", "frames", "all"])
async def test_sound_arrives_as_it_was_sent(sizes: str) -> None:
    """In chunks of any size; the answers are every final, then `ended`, then a normal closure."""
    hub = PlayedHub("room")
    sound = random.Random(sizes).randbytes(640_000)
    cuts = {
        "odd": [0, *sorted(random.Random(1).sample(range(len(sound)), 99)), len(sound)],
        "frames": list(range(0, len(sound) + 1, 1_280)),
        "all": [0, len(sound)],
    }[sizes]
    async with served(hub) as client, client.audio() as socket:
        welcome = await event(socket)
        assert isinstance(welcome.body, Welcome)
        for start, stop in pairwise(cuts):
            await socket.send(sound[start:stop])
        await socket.send(END)
        events = await remaining(socket)
        assert [event.body.type for event in events] == ["final", "ended"]
        assert (socket.close_code, socket.close_reason) == (1000, "")
        assert bytes(hub["room"].heard) == sound
        source = hub["room"].source
        assert source is not None
        assert source.name == "socket at 127.0.0.1"


async def test_a_speaker_says_what_to_expect_while_it_speaks() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.audio() as socket:
        await event(socket)
        await socket.send(b"\0" * 1_280)
        await socket.send('{"type": "vocabulary", "terms": ["Lasecki"]}')
        assert (await event(socket)).body == Vocabulary(terms=("CTranslate2", "Lasecki"))
        await socket.send(b"\0" * 1_280)
        await hub["room"].until_heard(2_560)
        await socket.send('{"type": "vocabulary", "terms": "Lasecki"}')
        code, reason = await closed(socket)
        assert (code, (reason or "")[:29]) == (1008, "terms must be a list of texts")


async def test_a_speaker_that_expects_too_much_is_told() -> None:
    async with served(PlayedHub("room")) as client, client.audio() as socket:
        await socket.send('{"type": "vocabulary", "terms": ["a", "b", "c", "d"]}')
        assert await closed(socket) == (1008, "too much is expected")


async def test_a_speaker_reads_while_it_speaks() -> None:
    hub = PlayedHub("room")
    hub["room"].append(final(1, "said before"))
    async with served(hub) as client, client.audio() as socket:
        assert (await event(socket)).seq == 1
        await socket.send(b"\0" * 1_280)
        await hub["room"].until_heard(1_280)
        hub["room"].append(partial(1))
        assert (await event(socket)).body == partial(1)
        await socket.send(END)
        assert [event.body.type for event in await remaining(socket)] == ["final", "ended"]


async def test_what_only_a_speaker_got_has_not_been_shown() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.audio() as socket:
        await event(socket)
        await socket.send(END)
        assert [event.body.type for event in await remaining(socket)] == ["final", "ended"]
        assert hub["room"].shown == []


async def test_without_events_a_speaker_gets_only_ended() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.audio(query="?events=0") as socket:
        await socket.send(b"\0" * 1_280)
        await socket.send(END)
        assert [event.body.type for event in await remaining(socket)] == ["ended"]
        assert socket.close_code == 1000


async def test_an_unknown_session_is_made() -> None:
    hub = PlayedHub("room", limit=2)
    async with served(hub) as client:
        async with client.audio("kitchen") as socket:
            await socket.send(END)
            await closed(socket)
        assert hub.names() == ["kitchen", "room"]
        async with client.audio("attic") as socket:
            assert await closed(socket) == (4429, "2 sessions are open: kitchen, room")


async def test_what_was_said_before_the_line_dropped_is_kept() -> None:
    hub = PlayedHub("room")
    room = hub["room"]
    async with served(hub) as client, client.audio() as socket:
        await socket.send(b"\1" * 12_345)
        await room.until_heard(12_345 // 1_280 * 1_280)
        socket.transport.abort()
        await room.wait_newer(1)
        assert [event.body.type for event in room.log.since(0)] == ["final", "ended"]


async def test_a_session_has_one_source() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.audio() as first:
        await spoken(first, hub, 1_280)
        async with client.audio() as second:
            await second.send(b"\2" * 1_000_000)
            code, reason = await closed(second)
            assert (code, reason) == (4409, "session room listens to another source; takeover=1 replaces it")
        await spoken(first, hub, 2_560)
        assert set(hub["room"].heard) == {0}


async def test_a_source_can_be_taken_over() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.audio() as first:
        await spoken(first, hub, 1_280)
        async with client.audio(query="?takeover=1") as second:
            assert await closed(first) == (4409, "taken over")
            await spoken(second, hub, 2_560)
            await second.send(END)
            assert [event.body.type for event in await remaining(second)][-2:] == ["final", "ended"]
            assert second.close_code == 1000
        async with client.audio(query="?takeover=1") as third:
            await spoken(third, hub, 3_840)


@pytest.mark.parametrize("rubbish", ["", "stop", "[]", '{"type": "stop"}', "{" * 1_000])
async def test_rubbish_ends_the_connection_and_keeps_what_was_said(rubbish: str) -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.audio() as socket:
        await spoken(socket, hub, 1_280)
        await socket.send(rubbish)
        assert (await closed(socket))[0] == 1008
        assert [event.body.type for event in hub["room"].log.since(0)] == ["final", "ended"]


async def test_sound_after_the_end_is_a_violation() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.audio() as socket:
        socket.protocol.send_text(END.encode())
        socket.protocol.send_binary(b"\0" * 1_280)
        socket.transport.write(b"".join(socket.protocol.data_to_send()))
        code, reason = await closed(socket)
        assert code == 1008
        assert (reason or "").startswith("nothing may follow")


async def test_a_message_that_is_too_big_is_refused() -> None:
    async with served(PlayedHub("room")) as client, client.audio() as socket:
        await event(socket)
        await socket.send(b"\0" * (2**20 + 1))
        assert (await closed(socket))[0] == 1009


async def test_a_session_that_does_not_take_sound_stops_its_client() -> None:
    """The client gets no further ahead than what the kernel keeps, however much it has to say."""
    hub = PlayedHub("room")
    room = hub["room"]
    room.may_take.clear()
    sent = 0
    async with served(hub) as client, client.audio(write_limit=0) as socket:
        own_end = socket.transport.get_extra_info("socket")
        own_end.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 32_768)

        async def send() -> None:
            nonlocal sent
            while sent < TALK:
                await socket.send(b"\0" * CHUNK)
                sent += CHUNK
            await socket.send(END)

        sending = asyncio.create_task(send())
        still, before = 0, 0
        while still < 500:  # turns of the loop in which nothing moves any more
            await asyncio.sleep(0)
            still, before = (still + 1, sent) if sent == before else (0, sent)
        assert 0 < sent < 512 * 1_024
        room.may_take.set()
        await sending
        await closed(socket)
    assert len(room.heard) == TALK


async def test_a_speaker_that_does_not_read_its_events_is_closed() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.audio() as socket:
        await event(socket)
        socket.transport.pause_reading()
        for utterance in range(3_000):
            hub["room"].append(final(utterance, "x" * 1_000))
            await asyncio.sleep(0)
        hub.clock_ms += 60_000
        socket.transport.resume_reading()
        assert (await closed(socket))[0] == 4408


async def test_when_the_daemon_stops_speakers_get_their_last_words() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.audio() as socket:
        await spoken(socket, hub, 1_280)
        hub.stopping.set()
        events = await remaining(socket)
        assert [event.body.type for event in events][-2:] == ["final", "ended"]
        assert socket.close_code == 1001


async def test_the_end_of_the_server_leaves_speakers_the_time_to_get_them() -> None:
    """The last final is visible once the journal has it, and that takes its time."""
    hub = PlayedHub("room")
    room = hub["room"]
    room.log = Log("room", "e1", write_ahead=True)

    async def journal() -> None:
        await until(lambda: bool(room.log.unconfirmed()))
        for _ in range(100):  # the server closes meanwhile
            await asyncio.sleep(0)
        room.log.confirm(room.log.next_seq - 1)
        room.append(Status(state="stopping"))

    async with served(hub) as client:
        socket = await client.audio()
        await spoken(socket, hub, 1_280)
        telling = asyncio.create_task(remaining(socket))
        writing = asyncio.create_task(journal())
        hub.stopping.set()
    await writing
    assert {"final", "ended"} < {event.body.type for event in await telling}


async def test_a_session_that_does_not_end_cannot_hold_up_the_server() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client:
        socket = await client.audio()
        hub["room"].may_take.clear()
        await socket.send(b"\0" * 1_280)
        ending = asyncio.create_task(closed(socket))
    assert (await ending)[0] == 1001


async def spoken(socket: ClientConnection, hub: PlayedHub, size: int) -> None:
    """Send a frame and wait until the session has heard `size` bytes in all."""
    await socket.send(b"\0" * 1_280)
    await hub["room"].until_heard(size)


async def test_the_session_is_told_whose_sound_it_is() -> None:
    hub = PlayedHub("room")
    async with (
        served(hub, tokens={"speaker": ("speakers-secret",)}) as client,
        client.audio(query="?token=speakers-secret") as socket,
    ):
        await socket.send(bytes(640))
        await hub["room"].until_heard(640)
        speaker = hub["room"].speaker
    assert speaker is not None
    assert speaker.role == "speaker"
    assert speaker.token
