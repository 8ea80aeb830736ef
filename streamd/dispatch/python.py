"""Callables that installed packages offer under the entry point group `streamd.commands`.

One is called with the command's parameters by name, and with the whole `Call` if it has a parameter `call`; it may be
a coroutine function. What it returns is the answer; False says that it was not done. It raises `NotDone` where that is
certain; after any other exception nobody knows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from streamd.bridge import in_thread
from streamd.core.commands.definition import DispatchPython
from streamd.dispatch.base import Call, NotDone, Outcome

GROUP = "streamd.commands"


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
    is_async = inspect.iscoroutinefunction(function)
    answer = await (function(**arguments) if is_async else in_thread(function, **arguments))
    if answer is False:
        raise NotDone(f"{target.callable} says that it was not done")
    plain = answer if isinstance(answer, bool | int | float | str | None) else repr(answer)
    return Outcome(True, f"{target.callable} has returned", plain)
