"""Callables of installed packages, and what must be there before a daemon starts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamd.dispatch import dispatcher, ready, send
from streamd.dispatch.python import AT_A_TIME, _threads, find
from streamd.errors import ConfigError
from tests.machines import CALL, command

CODE = """
import asyncio, concurrent.futures, functools, sys, threading
from streamd.dispatch import NotDone
calls = []
go = threading.Event()
def plain(machine, rpm): calls.append((machine, rpm)); return 95
async def awaited(call, **params): calls.append((call, params))
@functools.wraps(awaited)
def wrapped(**params): return awaited(**params)
def false(**params): return False
def refuses(**params): raise NotDone("the press is busy")
def breaks(**params): raise RuntimeError("no idea")
def odd(**params): return {1, 2}
def exits(**params): sys.exit(3)
async def exits_later(**params): sys.exit(3)
def stops(**params): raise StopIteration
def cancels(**params): raise concurrent.futures.CancelledError
async def cancels_later(**params): raise asyncio.CancelledError
def hangs(call, **params): calls.append(call.command_id); go.wait(); return "late"
async def never(**params): calls.append("begun"); await asyncio.Event().wait()
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A package that offers some callables. Yields the calls that it got."""
    (tmp_path / "factory_press.py").write_text(CODE)
    names = [*re.findall(r"^(?:async )?def (\w+)", CODE, re.MULTILINE), "missing"]
    lines = "\n".join(f"{name} = factory_press:{name}" for name in names)
    info = tmp_path / "factory_press-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: factory-press\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[streamd.commands]\n{lines}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import factory_press  # type: ignore[import-not-found]

    yield factory_press.calls
    factory_press.go.set()
    _threads.cache_clear()
    find.cache_clear()
    sys.modules.pop("factory_press")


def calls(name: str) -> dict[str, Any]:
    return {"python": {"callable": name, "timeout_s": 5}}


@pytest.mark.parametrize(
    ("name", "done", "reason", "answer"),
    [
        ("plain", True, "plain has returned", 95),
        ("awaited", True, "awaited has returned", None),
        ("odd", True, "odd has returned", "{1, 2}"),
        ("false", False, "false says that it was not done", None),
        ("refuses", False, "the press is busy", None),
        ("breaks", None, "RuntimeError: no idea", None),
        ("exits", None, "RuntimeError: it has raised SystemExit(3)", None),
        ("exits_later", None, "RuntimeError: it has raised SystemExit(3)", None),
        ("stops", None, "RuntimeError: it has raised StopIteration()", None),
        ("cancels", None, "RuntimeError: it has raised CancelledError()", None),
        ("cancels_later", None, "RuntimeError: it has raised CancelledError()", None),
        ("wrapped", True, "wrapped has returned", None),
    ],
)
async def test_what_a_callable_says(
    installed: list[Any], name: str, done: bool | None, reason: str, answer: Any
) -> None:
    outcome = await send(command(calls(name)), CALL)
    assert (outcome.done, outcome.reason, outcome.answer) == (done, reason, answer)
    seen = {"plain": [("press_2", 95)], "awaited": [(CALL, CALL.params)], "wrapped": [(CALL, CALL.params)]}
    assert installed == seen.get(name, [])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "GRACE_S", 0.0)
    monkeypatch.setattr(dispatcher, "BACK_OFF_S", 0.0)


async def test_what_still_runs_is_waited_for_and_not_called_again(installed: list[Any], impatient: None) -> None:
    hangs = command({"python": {"callable": "hangs", "timeout_s": 0.05}}, idempotent=True)
    outcome = await send(hangs, CALL)
    assert (outcome.done, outcome.reason, installed) == (None, "no answer within 0.05 s", ["c1"])


async def test_calls_that_hang_keep_others_from_nothing(installed: list[Any], impatient: None) -> None:
    hangs = command({"python": {"callable": "hangs", "timeout_s": 0.05}})
    for number in range(AT_A_TIME):
        assert (await send(hangs, replace(CALL, command_id=f"h{number}"))).done is None
    outcome = await send(hangs, CALL)
    assert (outcome.done, outcome.reason) == (
        False,
        "4 calls of hangs have not come back: restart streamd",
    )
    assert len(installed) == AT_A_TIME
    assert (await send(command(calls("plain")), CALL)).done is True


async def test_time_that_is_up_ends_a_coroutine(installed: list[Any], impatient: None) -> None:
    outcome = await send(command({"python": {"callable": "never", "timeout_s": 0.05}}), CALL)
    assert (outcome.done, outcome.reason, installed) == (None, "no answer within 0.05 s", ["begun"])


async def test_without_a_target_the_log_is_all_there_is() -> None:
    assert (await send(command(None), CALL)).done is True


def test_what_is_missing_is_said_before_anything_runs(installed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    targets: list[dict[str, Any] | None] = [
        calls("plain"),
        None,
        {"mqtt": {"topic": "a"}},
        {"http": {"url": "http://a"}},
    ]
    ready(command(target) for target in targets)
    with pytest.raises(
        ConfigError, match=r"command set_speed: no installed package offers 'nowhere' .* there is .*plain"
    ):
        ready([command(calls("nowhere"))])
    with pytest.raises(ConfigError, match=r"command set_speed: .* has no attribute 'missing'"):
        ready([command(calls("missing"))])
    with pytest.raises(ConfigError, match="broker 'http://x' should be"):
        ready([command({"mqtt": {"topic": "a", "broker": "http://x"}})])
    monkeypatch.setattr(dispatcher, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"mcp needs `pip install 'streamd-captions\[mcp\]'`"):
        ready([command({"mcp": {"server": "http://x", "tool": "y"}})])
