"""One worker process and what may go wrong between it and us."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import psutil
import pytest

from streamd.bridge.link import WorkerGone, WorkerLink
from streamd.engines.base import Context, EngineSpec
from streamd.engines.pipe import Advance, Forget, Message, Ready, Result, Unknown, pack
from streamd.errors import UnavailableError

SECOND = bytes(32_000)
PATIENCE_S = 60


def request(call: int, *, first: bool = True) -> Advance:
    return Advance(call, "u", SECOND, False, first, Context())


@pytest.fixture
async def link() -> AsyncIterator[WorkerLink]:
    started = await WorkerLink.spawn(EngineSpec("scripted", {"faults": [{"utterance": "hang", "kind": "hang"}]}))
    yield started
    await started.close()
    assert not psutil.pid_exists(started.pid)


class Impostor:
    """A link whose process says what the test wants it to say."""

    def __init__(self, link: WorkerLink, sock: socket.socket, writer: asyncio.StreamWriter) -> None:
        self.link = link
        self._sock = sock
        self._writer = writer

    @classmethod
    async def disguise(cls, link: WorkerLink) -> Impostor:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        link._reader = reader
        return cls(link, theirs, writer)

    def says(self, data: bytes) -> None:
        self._sock.sendall(data)

    async def leaves(self) -> None:
        self._sock.close()
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
async def impostor(link: WorkerLink) -> AsyncIterator[Impostor]:
    disguised = await Impostor.disguise(link)
    yield disguised
    await disguised.leaves()


async def test_calls_and_forgetting(link: WorkerLink) -> None:
    assert (await link.load(PATIENCE_S)).engine == "scripted"
    assert isinstance(await link.call(request(1)), Result)
    assert isinstance(await link.call(request(2, first=False)), Result)
    link.forget("u")
    assert await link.call(request(3, first=False)) == Unknown(3)
    assert link.answers == 3


async def test_a_killed_worker_answers_no_more(link: WorkerLink) -> None:
    await link.load(PATIENCE_S)
    hanging = asyncio.create_task(link.call(Advance(1, "hang", SECOND, False, True, Context())))
    await asyncio.sleep(0)
    link.kill("got in the way")
    for call in (hanging, link.call(request(2))):
        with pytest.raises(WorkerGone, match="got in the way") as gone:
            await call
        assert gone.value.killed
    link.forget("u")
    assert link.killed
    assert link.ended.is_set()
    await link.close()
    link.kill("again")
    assert link.why == "got in the way"


async def test_closing_may_be_cancelled_and_repeated(link: WorkerLink) -> None:
    await link.load(PATIENCE_S)
    closing = asyncio.create_task(link.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await link.close()
    assert not psutil.pid_exists(link.pid)


@pytest.mark.parametrize("said", [pack(Forget("u")), b"\xff\xff\xff\xff", b"\0\0\0\1x"])
async def test_nonsense_before_it_is_ready(impostor: Impostor, said: bytes) -> None:
    impostor.says(said)
    with pytest.raises(UnavailableError, match="the worker"):
        await impostor.link.load(PATIENCE_S)


@pytest.mark.parametrize("said", [pack(Ready("two", 1.0)), b"\xff\xff\xff\xff", b"\0\0\0\1x"])
async def test_nonsense_instead_of_an_answer_ends_the_worker(impostor: Impostor, said: bytes) -> None:
    impostor.says(pack(Ready("one", 1.0)))
    await impostor.link.load(PATIENCE_S)
    call = asyncio.create_task(impostor.link.call(request(1)))
    impostor.says(said)
    with pytest.raises(WorkerGone) as gone:
        await call
    assert not gone.value.killed
    await impostor.link.close()
    assert not psutil.pid_exists(impostor.link.pid)


async def test_answers_that_nobody_waits_for_are_dropped(impostor: Impostor) -> None:
    said: list[Message] = [Ready("one", 1.0), Unknown(7), Unknown(1)]
    for message in said:
        impostor.says(pack(message))
    call = asyncio.create_task(impostor.link.call(request(1)))
    await asyncio.sleep(0)
    await impostor.link.load(PATIENCE_S)
    assert await call == Unknown(1)
    assert impostor.link.answers == 1


async def test_a_worker_that_closes_its_pipe_and_stays(impostor: Impostor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.bridge.link.CLOSE_S", 0.01)
    impostor.says(pack(Ready("one", 1.0)))
    await impostor.link.load(PATIENCE_S)
    await impostor.leaves()
    async with asyncio.timeout(PATIENCE_S):
        await impostor.link.ended.wait()
    assert impostor.link.why == "closed its pipe"


async def test_a_worker_that_can_not_be_killed_is_left_behind(
    link: WorkerLink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that hangs in a driver takes no signal: here it is stopped, and SIGKILL does not come through."""
    await link.load(PATIENCE_S)
    worker = psutil.Process(link.pid)
    worker.suspend()
    with monkeypatch.context() as deaf:
        deaf.setattr("streamd.bridge.link.CLOSE_S", 0.01)
        deaf.setattr(link, "_sigkill", lambda: None)
        await link.close()
    assert f"worker {link.pid} can't be killed" in caplog.text
    worker.resume()
