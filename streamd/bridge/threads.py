"""Blocking calls in threads, awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from streamd.errors import UnavailableError

AT_A_TIME = 8
WAIT_S = 10.0

P = ParamSpec("P")
T = TypeVar("T")

_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class OneThread:
    """One thread of its own for work that must stay in one thread, done in the order in which it comes.

    A cancelled caller does not stop what its thread has begun.
    """

    def __init__(self, name: str = "one") -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `fn(…)`. Raises what it raises, and RuntimeError after `close`."""
        return await asyncio.wrap_future(self._pool.submit(fn, *args, **kwargs))

    def close(self) -> None:
        """Takes no more work; what was taken is still done. Does not wait."""
        self._pool.shutdown(wait=False)


async def in_thread(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a call that may block and is rare: opening a device, reading a file. Raises what it raises.

    AT_A_TIME calls run at a time, others wait. A sound server can hang for ever: such a thread keeps its place but
    does not delay the end of the process, and who waits for a place longer than WAIT_S gets UnavailableError.
    """
    loop = asyncio.get_running_loop()
    places = _places.setdefault(loop, asyncio.Semaphore(AT_A_TIME))
    try:
        async with asyncio.timeout(WAIT_S):
            await places.acquire()
    except TimeoutError as error:
        raise UnavailableError(f"{AT_A_TIME} blocking calls hang (a sound server?): restart streamd") from error
    outcome: Future[T] = Future()
    finished = asyncio.wrap_future(outcome)
    finished.add_done_callback(partial(_over, places))
    _begin("in_thread", outcome, lambda: fn(*args, **kwargs))
    return await asyncio.shield(finished)  # a cancelled caller leaves its call running, and the place taken


def _over(places: asyncio.Semaphore, finished: asyncio.Future[object]) -> None:
    places.release()
    finished.exception()  # who was cancelled does not look at it any more, and asyncio would complain of that


class NoThreadError(UnavailableError):
    """All threads are taken by calls that have not come back: nothing was begun."""


class OwnThreads(Generic[T]):
    """Threads for foreign calls that may hang: each call in one of its own, `at_a_time` of them.

    A call whose caller was cancelled goes on and keeps its place. It does not delay the end of the process.
    """

    def __init__(self, name: str, at_a_time: int) -> None:
        self._name, self._at_a_time = name, at_a_time
        self._running: dict[str, Future[T]] = {}

    async def run(self, key: str, call: Callable[[], T]) -> T:
        """The result of `call()`; while the call of that key still runs, its result, and no second one is begun.

        Raises what it raises, and NoThreadError.
        """
        outcome = self._running.get(key)
        if outcome is None:
            if len(self._running) >= self._at_a_time:
                raise NoThreadError(f"{self._at_a_time} calls of {self._name} have not come back: restart streamd")
            outcome = self._running[key] = Future()
            outcome.add_done_callback(lambda _: self._running.pop(key))
            _begin(self._name, outcome, call)
        return await asyncio.wrap_future(outcome)  # cancelled, it leaves a call that has begun alone


def _begin(name: str, outcome: Future[T], call: Callable[[], T]) -> None:
    outcome.set_running_or_notify_cancel()
    threading.Thread(target=_work, args=(outcome, call), name=name, daemon=True).start()


def _work(outcome: Future[T], call: Callable[[], T]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
