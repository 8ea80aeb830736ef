"""What every target has in common: the call, its outcome, templates, and reading back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import overload

from pydantic import JsonValue

from streamd.core.commands.definition import Scalar, Verify
from streamd.core.commands.reasons import Reason, whole

POLL_S = 0.1  # between two looks at what should have changed


@dataclass(frozen=True, slots=True)
class Call:
    """A command that is to be carried out. `command_id` is its idempotency key: the same one is the same command."""

    command_id: str
    name: str
    params: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call. `done` None: nobody knows."""

    done: bool | None
    reason: str
    answer: JsonValue = None
    again: bool = False  # it may be tried again, if doing it twice does no harm


class NotDone(Exception):  # noqa: N818 - an outcome rather than an error
    """The target has certainly not done it. The message says why. Callables may raise it, too."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again


@overload
def fill(template: str, params: Mapping[str, Scalar], quote: Callable[[str], str]) -> str: ...
@overload
def fill(template: JsonValue, params: Mapping[str, Scalar]) -> JsonValue: ...


def fill(template: JsonValue, params: Mapping[str, Scalar], quote: Callable[[str], str] | None = None) -> JsonValue:
    """`{name}` in strings becomes the parameter's value; a string that is nothing else takes it with its type.

    With `quote` the result is text in any case, and each value goes through it. A parameter that was not said is
    null, or nothing.
    """
    match template:
        case str():
            whole = re.fullmatch(r"\{(\w+)\}", template)
            if whole and quote is None:
                return params.get(whole[1])
            return re.sub(r"\{(\w+)\}", lambda found: (quote or str)(_text(params.get(found[1]))), template)
        case list():
            return [fill(item, params) for item in template]
        case dict():
            return {key: fill(item, params) for key, item in template.items()}
        case _:
            return template


def _text(value: Scalar | None) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def look_up(answer: JsonValue, path: str) -> JsonValue:
    """What stands at a dotted path of a JSON value; None where there is nothing."""
    for step in filter(None, path.split(".")):
        if isinstance(answer, Mapping):
            answer = answer.get(step)
        elif isinstance(answer, list) and step.isdigit() and int(step) < len(answer):
            answer = answer[int(step)]
        else:
            return None
    return answer


def agree(found: JsonValue, wanted: JsonValue) -> bool:
    """Whether two values are the same to a machine: 95 is 95.0 and is "95", on is not 1, nothing is null."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return _text_of(found) == _text_of(wanted)
    if isinstance(found, int | float | str) and isinstance(wanted, int | float | str):
        try:
            return abs(float(found) - float(wanted)) <= 1e-6 * max(1.0, abs(float(wanted)))
        except (ValueError, OverflowError):
            return str(found) == str(wanted)
    return found == wanted and wanted is not None


def _text_of(value: JsonValue) -> str:
    return str(value).lower()


async def read_back(
    read: Callable[[], Awaitable[JsonValue]], verify: Verify, call: Call, within_s: float, poll_s: float = POLL_S
) -> Outcome:
    """Look until what was asked for is so, or the time is up. What `read` can't read is None."""
    wanted = fill(verify.equals, call.params)
    if wanted is None:
        return Outcome(None, Reason("what it should read, {}, was not said", verify.equals))
    found: JsonValue = None
    try:
        async with asyncio.timeout(within_s):
            while True:
                found = look_up(await read(), verify.field)
                if agree(found, wanted):
                    return Outcome(True, Reason("it reads {}", found), found)
                await asyncio.sleep(poll_s)
    except TimeoutError:
        after = whole(within_s)
        if found is None:
            return Outcome(None, Reason("it can't be read after {} s", after), again=True)
        return Outcome(None, Reason("it reads {} and not {} after {} s", found, wanted, after), found, again=True)
