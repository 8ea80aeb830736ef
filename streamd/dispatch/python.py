"""Callables that installed packages offer under the entry point group `streamd.commands`.

One is called with the command's parameters by name, and with the whole `Call` if it has a parameter `call`; it may
return an awaitable. What it returns is the answer; False says that it was not done. It raises `NotDone` where that is
certain; after any other exception nobody knows.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from streamd.bridge import NoThreadError, OwnThreads, in_thread
from streamd.core.commands.definition import DispatchPython
from streamd.core.commands.reasons import Reason
from streamd.dispatch.base import Call, NotDone, Outcome
from streamd.dispatch.plain import plain

GROUP = "streamd.commands"
AT_A_TIME = 4  # calls of one callable, those that never come back included


@cache
def find(name: str) -> Callable[..., Any]:
    """The callable of that name. Blocks while it is imported. Raises LookupError."""
    found = entry_points(group=GROUP, name=name)
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        raise LookupError(f"no installed package offers {name!r} in the entry points of {GROUP}; there is {known}")
    function: Callable[..., Any] = next(iter(found)).load()
    return function


async def send(target: DispatchPython, call: Call) -> Outcome:
    function = await in_thread(find, target.callable)
    arguments: dict[str, Any] = dict(call.params)
    if "call" in inspect.signature(function).parameters:
        arguments["call"] = call
    answer = await _answer(target.callable, call.command_id, function, arguments)
    if answer is False:
        raise NotDone(Reason("{} says that it was not done", target.callable))
    return Outcome(True, Reason("{} has returned", target.callable), plain(answer))


async def _answer(name: str, key: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """A further attempt waits for the former one's call where that still runs."""
    if inspect.iscoroutinefunction(function):
        return await _awaited(function(**arguments))
    try:
        answer = await _threads(name).run(key, lambda: _called(function, arguments))
    except NoThreadError as error:
        raise NotDone(str(error), again=True) from error
    return await _awaited(answer) if inspect.isawaitable(answer) else answer


@cache
def _threads(name: str) -> OwnThreads[Any]:
    return OwnThreads(name, AT_A_TIME)


def _called(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What ends an event loop, or looks there as if the waiting task were cancelled, becomes an ordinary error."""
    try:
        return function(**arguments)
    except (StopIteration, concurrent.futures.CancelledError) as error:
        raise RuntimeError(f"it has raised {error!r}") from error
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"it has raised {error!r}") from error


async def _awaited(answer: Awaitable[Any]) -> Any:
    """The same for what is awaited; only the caller's own cancellation stays one."""
    task = asyncio.current_task()
    try:
        return await answer
    except Exception:
        raise
    except BaseException as error:
        if isinstance(error, GeneratorExit) or (
            isinstance(error, asyncio.CancelledError) and task and task.cancelling()
        ):
            raise
        raise RuntimeError(f"it has raised {error!r}") from error
