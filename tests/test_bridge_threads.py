"""Blocking calls in threads."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading

import pytest

from streamd.bridge import NoThreadError, OneThread, OwnThreads, in_thread, threads
from streamd.errors import UnavailableError


async def test_work_stays_in_one_thread_and_in_order() -> None:
    one = OneThread("journal")
    done: list[int] = []

    def work(number: int) -> str:
        done.append(number)
        return threading.current_thread().name

    names = await asyncio.gather(*(one.run(work, number) for number in range(20)))
    one.close()
    assert done == list(range(20))
    assert set(names) == {"journal_0"}


async def test_the_caller_gets_the_error() -> None:
    one = OneThread()
    with pytest.raises(ValueError, match="invalid literal"):
        await one.run(int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread(int, "x")
    one.close()


async def test_a_closed_thread_finishes_what_it_took_and_takes_no_more() -> None:
    one = OneThread()
    go = threading.Event()
    taken = asyncio.create_task(one.run(go.wait))
    await asyncio.sleep(0)
    one.close()
    with pytest.raises(RuntimeError):
        await one.run(int)
    go.set()
    assert await taken


async def test_calls_beside_each_other() -> None:
    both = threading.Barrier(2)
    await asyncio.gather(in_thread(both.wait), in_thread(both.wait))


async def test_keyword_arguments_are_passed() -> None:
    assert await in_thread(int, "ff", base=16) == 255


async def test_a_cancelled_call_keeps_its_place_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "AT_A_TIME", 1)
    monkeypatch.setattr(threads, "WAIT_S", 0.01)
    begun, go = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go.wait()
        raise OSError("nobody listens any more")

    hanging = asyncio.create_task(in_thread(hang))
    await asyncio.to_thread(begun.wait)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    with pytest.raises(UnavailableError, match="hang"):
        await in_thread(int)
    monkeypatch.setattr(threads, "WAIT_S", 60)
    waiting = asyncio.create_task(in_thread(int, "7"))
    go.set()
    assert await waiting == 7
    gc.collect()
    assert caplog.text == "", "its error is nobody's any more"


async def test_calls_that_hang_take_the_threads_of_their_kind_only() -> None:
    hanging, others = OwnThreads[bool]("hanging", 2), OwnThreads[bool]("others", 2)
    go = threading.Event()
    calls = [asyncio.create_task(hanging.run(key, go.wait)) for key in "ab"]
    await asyncio.sleep(0)
    calls[0].cancel()
    with pytest.raises(NoThreadError, match="2 calls of hanging have not come back"):
        await hanging.run("c", go.wait)
    assert await others.run("c", lambda: True)
    again = asyncio.create_task(hanging.run("a", go.is_set))
    await asyncio.sleep(0)
    go.set()
    assert await calls[1] is True
    assert await again is True, "it is the result of the first one"
    assert await hanging.run("a", lambda: False) is False, "which has its end by now"


async def test_own_threads_give_the_error_to_every_caller() -> None:
    own = OwnThreads[int]("own", 1)
    go = threading.Event()

    def fail() -> int:
        go.wait()
        raise ValueError("no")

    calls = [asyncio.create_task(own.run("a", fail)) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()
    assert [str(error) for error in await asyncio.gather(*calls, return_exceptions=True)] == ["no", "no"]


def test_a_hanging_call_does_not_delay_the_end_of_the_process() -> None:
    program = """
import asyncio, threading
from streamd.bridge import in_thread
async def main():
    begun = threading.Event()
    def hang():
        begun.set()
        threading.Event().wait()
    task = asyncio.create_task(in_thread(hang))
    await asyncio.to_thread(begun.wait)
    task.cancel()
asyncio.run(main())
print("over")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "over\n", "")
