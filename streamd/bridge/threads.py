"""Blocking calls in threads, awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from streamd.errors import UnavailableError

AT_A_TIME = 8

P = ParamSpec("P")
T = TypeVar("T")

_free = threading.BoundedSemaphore(AT_A_TIME)


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

    A sound server can hang for ever. Such a thread neither delays the end of the process nor takes all the others
    with it: beyond AT_A_TIME calls UnavailableError is raised at once.
    """
    if not _free.acquire(blocking=False):
        name = getattr(fn, "__qualname__", repr(fn))
        raise UnavailableError(f"{AT_A_TIME} blocking calls hang; {name} is not even tried: restart streamd")
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # a cancelled caller leaves its call running
    threading.Thread(target=_work, args=(outcome, lambda: fn(*args, **kwargs)), name="in_thread", daemon=True).start()
    return await asyncio.wrap_future(outcome)


def _work(outcome: Future[T], call: Callable[[], T]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
        _free.release()
        outcome.set_exception(error)
    else:
        _free.release()
        outcome.set_result(result)
