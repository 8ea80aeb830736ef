"""Webhooks to a real server."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from streamd.dispatch import Call, send
from streamd.dispatch.plain import ANSWER_CHARS
from tests.machines import CALL, Press, command, free_port, press


@pytest.fixture
def machine() -> Iterator[Press]:
    with press() as running:
        yield running


async def test_the_parameters_and_the_key_arrive(machine: Press) -> None:
    outcome = await send(command({"http": {"url": f"{machine.url}/speed"}}), CALL)
    assert (outcome.done, outcome.answer) == (True, {"status": 200})
    (seen,) = machine.seen
    assert (seen.method, seen.path, seen.key, seen.body) == ("POST", "/speed", "c1", {"machine": "press_2", "rpm": 95})


async def test_values_cannot_leave_their_place_in_an_address(machine: Press) -> None:
    call = Call("c1", "x", {"machine": "../admin?x=1#"})
    target = {"url": machine.url + "/{machine}/go", "method": "PUT", "body": {"to": "{machine}"}}
    await send(command({"http": target}), call)
    assert machine.seen[0].path == "/..%2Fadmin%3Fx%3D1%23/go"
    assert machine.seen[0].body == {"to": "../admin?x=1#"}


@pytest.mark.parametrize(
    ("status", "done"), [(201, True), (202, None), (302, None), (400, False), (409, False), (500, None)]
)
async def test_what_an_answer_means(machine: Press, status: int, done: bool | None) -> None:
    machine.answers = [status]
    outcome = await send(command({"http": {"url": machine.url}}), CALL)
    assert outcome.done is done
    assert outcome.reason.startswith(f"it answers {status} ")
    assert len(machine.seen) == 1


async def test_nobody_there_is_a_failure_and_not_a_doubt() -> None:
    outcome = await send(command({"http": {"url": f"http://127.0.0.1:{free_port()}/x?secret=1"}}), CALL)
    assert outcome.done is False
    assert "can't be reached" in outcome.reason
    assert "secret" not in outcome.reason


async def test_one_that_hangs_up_or_says_nothing_leaves_a_doubt(machine: Press) -> None:
    machine.answers = [None]
    assert (await send(command({"http": {"url": machine.url}}), CALL)).done is None
    machine.gate.clear()
    outcome = await send(command({"http": {"url": machine.url, "timeout_s": 0.05}}), CALL)
    assert (outcome.done, outcome.reason) == (None, "no answer within 0.05 s")
    assert len(machine.seen) == 2


async def test_it_succeeds_once_it_reads_what_it_should(machine: Press) -> None:
    verify = {"url": f"{machine.url}/state", "field": "rpm", "equals": "{rpm}"}
    dispatch = {"http": {"url": machine.url, "verify": verify, "timeout_s": 0.3}}
    assert (await send(command(dispatch), CALL)).reason == "it reads 95"
    machine.state["rpm"], machine.obeys = 0, False
    outcome = await send(command(dispatch), CALL)
    assert (outcome.done, outcome.reason) == (None, "it reads 0 and not 95 after 0.3 s")
    assert len(machine.posts) == 2


async def test_a_doubt_is_settled_by_reading_back(machine: Press) -> None:
    """Taken on, and then seen to be done."""
    machine.answers, machine.state["rpm"] = [202], 95
    verify = {"url": machine.url, "field": "rpm", "equals": "{rpm}"}
    assert (await send(command({"http": {"url": machine.url, "verify": verify}}), CALL)).done is True


async def test_what_is_idempotent_is_tried_again_with_the_same_key(machine: Press) -> None:
    machine.answers = [503, None, 200]
    assert (await send(command({"http": {"url": machine.url}}, idempotent=True), CALL)).done is True
    assert [seen.key for seen in machine.seen] == ["c1"] * 3


async def test_a_refusal_is_not_tried_again_and_a_doubt_stays_one(machine: Press) -> None:
    machine.answers = [500, 500, 500, 404]
    assert (await send(command({"http": {"url": machine.url}}, idempotent=True), CALL)).done is None
    assert len(machine.seen) == 3
    assert (await send(command({"http": {"url": machine.url}}, idempotent=True), CALL)).done is False
    assert len(machine.seen) == 4


async def test_nothing_is_tried_again_once_another_command_followed(machine: Press) -> None:
    machine.answers = [500, 200]
    outcome = await send(command({"http": {"url": machine.url}}, idempotent=True), CALL, lambda: False)
    assert outcome.done is None
    assert len(machine.seen) == 1


async def test_a_refusal_after_a_doubt_leaves_the_doubt(machine: Press) -> None:
    machine.answers = [500, 404]
    outcome = await send(command({"http": {"url": machine.url}}, idempotent=True), CALL)
    assert outcome.done is None
    assert outcome.reason == "an earlier attempt may have done it; it answers 404 Not Found"
    assert len(machine.seen) == 2


async def test_a_state_that_can_not_be_read_is_none(machine: Press) -> None:
    verify = {"url": f"http://127.0.0.1:{free_port()}/state", "equals": 95}
    outcome = await send(command({"http": {"url": machine.url, "verify": verify, "timeout_s": 0.2}}), CALL)
    assert (outcome.done, outcome.reason) == (None, "it can't be read after 0.2 s")


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"9" * 65_536)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        outcome = await send(command({"http": {"url": f"http://127.0.0.1:{port}"}}), CALL)
    assert outcome.done is True
    assert isinstance(outcome.answer, str)
    assert len(outcome.answer) == ANSWER_CHARS


def _bomb(unpacked_mb: int) -> bytes:
    """Zeros, packed as gzip."""
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(unpacked_mb)) + packer.flush()


async def test_packed_answers_are_not_unpacked_and_their_status_counts() -> None:
    """128 MB in as many kB, from a server that was asked for none."""
    bomb, asked = _bomb(128), list[bytes]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        status = b"409 Conflict" if b"/no " in asked[-1] else b"200 OK"
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 %s\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n%s" % (status, bomb))
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await send(command({"http": {"url": url}}), CALL)  # loads what sending needs
        tracemalloc.start()
        done = await send(command({"http": {"url": url}}), CALL)
        refused = await send(command({"http": {"url": f"{url}/no"}}), CALL)
        unread = await send(command({"http": {"url": url, "verify": {"url": url, "equals": 95}}}), CALL)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    packed = "it answers packed (gzip), which it was asked not to"
    assert (done.done, done.answer) == (True, packed)
    assert (refused.done, refused.answer) == (False, packed)
    assert (unread.done, unread.reason) == (None, f"ConnectionError: {packed}")
    assert peak_bytes < 2**24
    assert all(b"accept-encoding: identity\r\n" in head.lower() for head in asked)


async def test_cancelled_it_does_not_go_on(machine: Press) -> None:
    machine.gate.clear()
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()
    machine.on_request = lambda: loop.call_soon_threadsafe(arrived.set)
    task = asyncio.create_task(send(command({"http": {"url": machine.url}}, idempotent=True), CALL))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(machine.seen) == 1
