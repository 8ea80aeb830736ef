"""Blocking calls in threads, awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar
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
    outcome.set_running_or_notify_cancel()
    finished = asyncio.wrap_future(outcome)
    finished.add_done_callback(lambda _: places.release())
    threading.Thread(target=_work, args=(outcome, lambda: fn(*args, **kwargs)), name="in_thread", daemon=True).start()
    return await asyncio.shield(finished)  # a cancelled caller leaves its call running, and the place taken


def _work(outcome: Future[T], call: Callable[[], T]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
