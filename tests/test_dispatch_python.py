"""Callables of installed packages, and what must be there before a daemon starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamd.dispatch import dispatcher, ready, send
from streamd.dispatch.python import find
from streamd.errors import ConfigError
from tests.machines import CALL, command

CODE = """
from streamd.dispatch import NotDone
calls = []
def plain(machine, rpm): calls.append((machine, rpm)); return 95
async def awaited(call, **params): calls.append((call, params))
def false(**params): return False
def refuses(**params): raise NotDone("the press is busy")
def breaks(**params): raise RuntimeError("no idea")
def odd(**params): return {1, 2}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A package that offers some callables. Yields the calls that it got."""
    (tmp_path / "factory_press.py").write_text(CODE)
    names = ("plain", "awaited", "false", "refuses", "breaks", "odd", "missing")
    lines = "\n".join(f"{name} = factory_press:{name}" for name in names)
    info = tmp_path / "factory_press-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: factory-press\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[streamd.commands]\n{lines}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import factory_press  # type: ignore[import-not-found]

    yield factory_press.calls
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
    ],
)
async def test_what_a_callable_says(
    installed: list[Any], name: str, done: bool | None, reason: str, answer: Any
) -> None:
    outcome = await send(command(calls(name)), CALL)
    assert (outcome.done, outcome.reason, outcome.answer) == (done, reason, answer)
    assert installed == {"plain": [("press_2", 95)], "awaited": [(CALL, CALL.params)]}.get(name, [])


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
    with pytest.raises(ConfigError, match="broker 'http://x' should be"):
        ready([command({"mqtt": {"topic": "a", "broker": "http://x"}})])
    monkeypatch.setattr(dispatcher, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"mcp needs `pip install 'streamd-captions\[mcp\]'`"):
        ready([command({"mcp": {"server": "http://x", "tool": "y"}})])
