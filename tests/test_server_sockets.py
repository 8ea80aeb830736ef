"""Readers over real sockets."""

from __future__ import annotations

import asyncio
import random

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.exceptions import InvalidStatus

from streamd.core.events import Status, Vocabulary, Welcome
from streamd.core.log import Log
from streamd.core.wire import Answer, Close
from streamd.server import relay, sockets
from tests.parts import until
from tests.served import PlayedHub, closed, event, final, partial, remaining, served


async def test_a_reader_is_welcomed_and_gets_what_is_retained_and_what_comes() -> None:
    hub = PlayedHub("room")
    hub["room"].append(final(1))
    async with served(hub) as client, client.events() as socket:
        welcome = (await event(socket)).body
        assert isinstance(welcome, Welcome)
        assert (welcome.epoch, welcome.newest) == ("e1", 1)
        assert (await event(socket)).seq == 1
        hub["room"].append(partial(1))
        assert (await event(socket)).body == partial(1)


async def test_a_reader_that_comes_back_gets_exactly_what_it_missed() -> None:
    hub = PlayedHub("room")
    for utterance in range(1, 6):
        hub["room"].append(final(utterance))
    async with served(hub) as client, client.events(query="?after=3&epoch=e1") as socket:
        assert [(await event(socket)).seq for _ in range(3)] == [3, 4, 5]
    async with served(hub) as client, client.events(query="?after=3&epoch=e0") as socket:
        assert [(await event(socket)).seq for _ in range(3)] == [0, 1, 2]


async def test_a_reader_that_does_not_read_gets_the_newest_only() -> None:
    """What was superseded while it slept is nowhere: neither in the server's memory nor in the kernel's."""
    hub = PlayedHub("room")
    room = hub["room"]
    async with served(hub) as client, client.events() as socket:
        await event(socket)
        socket.transport.pause_reading()
        for rev in range(5_000):
            room.append(partial(rev, "x" * 1_000))
            await asyncio.sleep(0)
        room.append(final(1))
        room.append(Status(state="listening"))
        socket.transport.resume_reading()
        seen = [await event(socket)]
        while seen[-1].body.type != "status":
            seen.append(await event(socket))
    assert len(seen) < 500
    assert seen[-2].body == final(1)


async def test_a_reader_that_is_too_far_behind_is_closed_and_resumes() -> None:
    hub = PlayedHub("room")
    room = hub["room"]
    async with served(hub) as client:
        async with client.events() as socket:
            await event(socket)
            await fill(socket, hub)
            hub.clock_ms += 60_000
            socket.transport.resume_reading()
            seen = await remaining(socket)
            assert (socket.close_code, socket.close_reason) == (
                4408,
                "more than 30 s behind; resume with the last seq that you have",
            )
        async with client.events(query=f"?after={seen[-1].seq}&epoch=e1") as socket:
            assert (await event(socket)).seq == seen[-1].seq
            assert (await event(socket)).seq == seen[-1].seq + 1
            assert room.log.newest > seen[-1].seq + 1


async def test_a_reader_that_stops_reading_is_closed_without_waiting_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = PlayedHub("room")
    given_up = asyncio.Event()

    async def shut(socket: Connection, close: Close) -> None:
        given_up.set()
        await relay.shut(socket, close)

    monkeypatch.setattr(sockets, "shut", shut)
    async with served(hub, lag_limit_s=0.05) as client, client.events() as socket:
        await event(socket)
        await fill(socket, hub)
        await given_up.wait()
        socket.transport.resume_reading()
        assert (await closed(socket))[0] == 4408


async def test_a_reader_that_never_takes_its_close_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "CLOSE_S", 0.05)
    hub = PlayedHub("room")
    async with served(hub, lag_limit_s=0.05) as client, client.events(close_timeout=0) as socket:
        await event(socket)
        await fill(socket, hub)
        await hub["room"].until_readers(0)


async def test_an_unknown_session_is_named_with_the_known_ones() -> None:
    async with served(PlayedHub("hall", "attic")) as client, client.events("cellar") as socket:
        assert await closed(socket) == (4404, "no session named cellar; there are: attic, hall")
    async with served(PlayedHub()) as client, client.events("cellar") as socket:
        assert await closed(socket) == (4404, "no session named cellar; there is none yet")


async def test_readers_are_limited_and_a_place_becomes_free() -> None:
    hub = PlayedHub("room")
    async with served(hub, max_readers=1) as client:
        async with client.events() as first:
            await event(first)
            async with client.events() as second:
                assert (await closed(second))[0] == 4429
        await hub["room"].until_readers(0)
        async with client.events() as third:
            assert isinstance((await event(third)).body, Welcome)


@pytest.mark.parametrize("message", ["", "hello", '{"type": "end"}', b"", b"\0" * 1280])
async def test_a_reader_that_sends_something_is_told_what_is_allowed(message: str | bytes) -> None:
    async with served(PlayedHub("room")) as client, client.events() as socket:
        await socket.send(message)
        code, reason = await closed(socket)
        assert code == 1008
        assert any(words in (reason or "") for words in ("is not known here", "send no sound", "must be a JSON object"))


async def test_a_reader_that_may_speak_says_what_to_expect() -> None:
    hub = PlayedHub("room")
    async with served(hub, tokens=TOKENS) as client, client.events(query="?token=speakers-secret") as socket:
        await event(socket)
        await socket.send('{"type": "vocabulary", "terms": ["Lasecki"]}')
        assert (await event(socket)).body == Vocabulary(terms=("CTranslate2", "Lasecki"))
        await socket.send('{"type": "vocabulary", "terms": ["a", "b", "c", "d"]}')
        assert await closed(socket) == (1008, "too much is expected")
    assert hub["room"].vocabulary == ("CTranslate2", "Lasecki")


async def test_a_reader_that_may_not_speak_expects_nothing() -> None:
    hub = PlayedHub("room")
    async with served(hub, tokens=TOKENS) as client, client.events(query="?token=viewers-secret") as socket:
        await event(socket)
        await socket.send('{"type": "vocabulary", "terms": ["Lasecki"]}')
        assert await closed(socket) == (1008, "forbidden: this needs a token of the role speaker")
    assert hub["room"].vocabulary == ("CTranslate2",)


async def test_a_reader_that_floods_is_still_told() -> None:
    """The answer to the close is behind the flood."""
    async with served(PlayedHub("room")) as client, client.events() as socket:
        for _ in range(200):
            socket.protocol.send_binary(b"\0" * 1_000)
        socket.send_data()
        assert (await closed(socket))[0] == 1008


async def test_text_that_is_no_text_is_refused_by_the_protocol() -> None:
    async with served(PlayedHub("room")) as client, client.events() as socket:
        await socket.send(b"\xff\xfe", text=True)
        assert (await closed(socket))[0] == 1007


async def test_a_disconnect_is_noticed_while_nothing_happens() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client, client.events() as socket:
        await event(socket)
        await hub["room"].until_readers(1)
        socket.transport.abort()
        await hub["room"].until_readers(0)


@pytest.mark.parametrize("seed", range(20))
async def test_rubbish_does_no_harm(seed: int) -> None:
    """Random bytes instead of a request, and instead of frames."""
    rubbish = random.Random(seed)
    hub = PlayedHub("room")
    async with served(hub) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.serving.port)
        writer.write(rubbish.randbytes(rubbish.randrange(1, 5_000)) + b"\r\n\r\n")
        writer.write_eof()
        await reader.read()
        writer.close()
        async with client.events(close_timeout=1) as socket:
            socket.transport.write(rubbish.randbytes(rubbish.randrange(2, 5_000)))
            socket.transport.write_eof()
            await closed(socket)
        await hub["room"].until_readers(0)
        async with client.events() as socket:
            assert isinstance((await event(socket)).body, Welcome)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/sessions/room/events?after=x", 400),
        ("/v1/sessions/-/events", 400),
        ("/v1/sessions/room/audio?rate=1", 400),
        ("/v1/sessions/room/chat", 404),
        ("/", 200),
    ],
)
async def test_what_makes_no_sense_is_refused_before_the_upgrade(path: str, status: int) -> None:
    async with served(PlayedHub("room")) as client:
        with pytest.raises(InvalidStatus) as refused:
            await client.socket(path)
        assert refused.value.response.status_code == status


async def test_a_fault_in_one_connection_is_logged_and_told(caplog: pytest.LogCaptureFixture) -> None:
    hub = PlayedHub("room")

    async def wait_newer(seq: int) -> None:
        raise RuntimeError("the log is on fire")

    hub["room"].wait_newer = wait_newer  # type: ignore[method-assign]  # a fault that no input can cause
    async with served(hub) as client, client.events(query="?token=secret") as socket:
        await event(socket)
        assert await closed(socket) == (1011, "the server failed; its log says how")
    assert "EventsRequest(session='room'" in caplog.text
    assert "the log is on fire" in caplog.text
    assert "secret" not in caplog.text


TOKENS = {"viewer": ("viewers-secret",), "speaker": ("speakers-secret",), "operator": ("operators-secret",)}


@pytest.mark.parametrize(
    ("token", "reads", "speaks"),
    [
        ("viewers-secret", True, False),
        ("speakers-secret", True, True),
        ("operators-secret", True, True),
        ("x", False, False),
        ("", False, False),
    ],
)
async def test_tokens_open_what_their_role_may(token: str, reads: bool, speaks: bool) -> None:
    hub = PlayedHub("room")
    async with served(hub, tokens=TOKENS) as client:
        for options in ({"query": f"?token={token}"}, {"additional_headers": {"Authorization": f"Bearer {token}"}}):
            for opened, allowed in ((client.events(**options), reads), (client.audio(**options), speaks)):
                async with opened as socket:
                    if allowed:
                        assert isinstance((await event(socket)).body, Welcome)
                        continue
                    code, reason = await closed(socket)
                    assert code == 1008
                    assert (reason or "").startswith("forbidden: ")


async def test_readers_get_everything_before_the_server_closes() -> None:
    hub = PlayedHub("room")
    async with served(hub) as client:
        socket = await client.events()
        await event(socket)
        reading = asyncio.create_task(remaining(socket))
        for utterance in range(100):
            hub["room"].append(final(utterance))
    assert len(await reading) == 100
    assert (socket.close_code, socket.close_reason) == (1001, "the daemon stops")


async def test_the_last_final_reaches_readers_although_the_journal_has_yet_to_write_it() -> None:
    hub = PlayedHub("room")
    room = hub["room"]
    room.log = Log("room", "e1", write_ahead=True)

    async def journal() -> None:
        for _ in range(100):  # the server closes meanwhile
            await asyncio.sleep(0)
        room.log.confirm(1)
        room.append(Status(state="stopping"))

    async with served(hub) as client:
        socket = await client.events()
        await event(socket)
        room.append(final(1))
        writing = asyncio.create_task(journal())
    await writing
    assert final(1) in [each.body for each in await remaining(socket)]


async def test_a_reader_that_does_not_read_cannot_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "DRAIN_S", 0.05)
    hub = PlayedHub("room")
    async with served(hub) as client:
        socket = await client.events(close_timeout=0)
        await event(socket)
        await fill(socket, hub)
    assert hub["room"].readers == 0
    socket.transport.abort()
    await socket.wait_closed()


async def fill(socket: ClientConnection, hub: PlayedHub) -> None:
    """Make `socket` stop reading, and say more than what fits between it and the server."""
    socket.transport.pause_reading()
    for utterance in range(3_000):
        hub["room"].append(final(utterance, "x" * 1_000))
        await asyncio.sleep(0)


# Answers


async def test_a_question_is_answered_over_the_socket() -> None:
    hub = PlayedHub("room")
    room = hub["room"]
    async with served(hub, tokens={"viewer": ("viewer-secret",), "operator": ("operator-secret",)}) as client:
        async with client.events(query="?token=operator-secret") as socket:
            await socket.send('{"type": "confirm", "command_id": "c2"}')
            await socket.send('{"type": "confirm", "command_id": "c1", "word": "amber"}')
            await socket.send('{"type": "deny", "command_id": "c1"}')
            await room.until_answers(3)
        assert [answer for answer, _ in room.answers] == [
            *(Answer("c2", True), Answer("c1", True, "amber"), Answer("c1", False))
        ]
        async with client.events(query="?token=viewer-secret") as socket:
            await socket.send('{"type": "deny", "command_id": "c1"}')
            assert await closed(socket) == (1008, "forbidden: this needs a token of the role operator")
        async with client.events(query="?token=operator-secret") as socket:
            await socket.send('{"type": "deny"}')
            assert (await closed(socket))[0] == 1008
    assert len(room.answers) == 3


async def test_operators_tell_how_the_plant_is_over_the_socket() -> None:
    hub = PlayedHub("room")
    hub.plant = {}
    tell = '{"type": "states", "values": {"guard_closed": true}}'
    async with served(hub, tokens={"speaker": ("speaker-secret",), "operator": ("operator-secret",)}) as client:
        async with client.events(query="?token=operator-secret") as socket:
            await socket.send(tell)
            await until(lambda: hub.plant == {"guard_closed": True})
            hub.plant = None
            await socket.send(tell)
            assert await closed(socket) == (1008, "this daemon takes no commands, so nobody asks for states")
        async with client.events(query="?token=speaker-secret") as socket:
            await socket.send(tell)
            assert await closed(socket) == (1008, "forbidden: this needs a token of the role operator")


async def test_the_session_is_told_what_was_delivered_to_those_who_show_commands() -> None:
    hub = PlayedHub("room")
    hub["room"].append(final(1))
    async with served(hub) as client, client.events(query="?commands=0") as other, client.events() as socket:
        await event(other)
        await event(other)
        await event(socket)
        seq = (await event(socket)).seq
        await until(lambda: hub["room"].shown == [seq])
