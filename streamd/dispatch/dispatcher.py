"""Once, or a few times the same where that does no harm; within a time, and honest about what nobody knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

from streamd.bridge import in_thread
from streamd.core.commands.definition import Command
from streamd.core.commands.reasons import Reason, whole
from streamd.dispatch.base import Call, NotDone, Outcome
from streamd.dispatch.plain import bounded
from streamd.errors import ConfigError

ATTEMPTS = 3  # of what does no harm twice
BACK_OFF_S = 0.25  # before the second one; twice as long before the third
GRACE_S = 1.0  # beyond the target's own time, so that its client can say what failed
_EXTRAS = {"mcp": ("mcp", "mcp"), "opcua": ("asyncua", "opcua")}  # kind → module, extra

_log = logging.getLogger(__name__)


def ready(commands: Iterable[Command]) -> None:
    """Whether what the targets need is there; it is loaded, so that the first command is as quick as any.

    Blocks. Raises ConfigError that names the command.
    """
    from streamd.dispatch.mqtt import Broker
    from streamd.dispatch.python import find

    targets = [(command, target) for command in commands for target in (command.dispatch, command.undo) if target]
    for command, target in targets:
        kind = target.kind
        module, extra = _EXTRAS.get(kind, ("", ""))
        if module and find_spec(module) is None:
            raise ConfigError(f"command {command.name}: {kind} needs `pip install 'streamd-captions[{extra}]'`")
        sender = import_module(f"streamd.dispatch.{kind}")
        if hasattr(sender, "authorities"):
            sender.authorities()
        try:
            if target.mqtt is not None:
                Broker.parse(target.mqtt.broker)
            if target.python is not None:
                find(target.python.callable)
        except (LookupError, ValueError, ImportError, AttributeError) as error:
            raise ConfigError(f"command {command.name}: {error}") from error


async def send(command: Command, call: Call, is_newest: Callable[[], bool] = lambda: True) -> Outcome:
    """Carry out a command that may be carried out; whoever calls has written down before that it is under way.

    Once; where it is idempotent, what failed or got no answer is tried again, ATTEMPTS times in all, unless another
    command followed (`is_newest`): a late repetition would undo that one. Cancelled in the middle: nobody knows.
    """
    if command.dispatch is None:
        return Outcome(True, Reason("readers of the log have it; no target is named"))
    unclear = False
    outcome = Outcome(False, "")
    for attempt in range(ATTEMPTS if command.safety.idempotent else 1):
        if attempt:
            await asyncio.sleep(BACK_OFF_S * 2 ** (attempt - 1))
            if not is_newest():
                break
        outcome = bounded(await _once(command, call))
        unclear = unclear or outcome.done is None
        if outcome.done or not outcome.again:
            break
        _log.warning("command %s: attempt %d: %s", call.command_id, attempt + 1, outcome.reason)
    if unclear and outcome.done is False:
        return replace(outcome, done=None, reason=Reason("an earlier attempt may have done it; {}", outcome.reason))
    return outcome


async def _once(command: Command, call: Call) -> Outcome:
    dispatch = command.dispatch
    assert dispatch is not None
    target = dispatch.target
    assert target is not None
    within_s = target.timeout_s * (1 if target.verify is None and dispatch.opcua is None else 2) + GRACE_S
    try:
        async with asyncio.timeout(within_s):
            sender = await in_thread(import_module, f"streamd.dispatch.{dispatch.kind}")
            outcome: Outcome = await sender.send(target, call)
            return outcome
    except NotDone as refusal:
        return Outcome(False, refusal.reason, again=refusal.again)
    except TimeoutError:
        return Outcome(None, Reason("no answer within {} s", whole(target.timeout_s)), again=True)
    except Exception as error:  # noqa: BLE001 - whatever a target's client raises: it may have been done
        _log.warning("command %s by %s: %r", call.command_id, dispatch.kind, error)
        return Outcome(None, f"{type(error).__name__}: {error}", again=True)
