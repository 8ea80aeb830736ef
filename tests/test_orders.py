"""What a daemon has to have before it takes commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.errors import ConfigError
from streamd.orders import orders
from streamd.settings import CommandsStage, Pipeline, Server, Settings, Store, Tokens

PACK = """
commands:
  both: {sentences: ["start it"], safety: {risk: two_person}}
  read: {sentences: ["read it"], safety: {risk: read}}
"""


def settings(path: Path, **more: object) -> Settings:
    pack = path / "pack.yaml"
    pack.write_text(PACK)
    stage = CommandsStage(pack=str(pack), shadow=True, role="operator", state_max_age_s=3)
    return Settings.model_validate(
        {"pipeline": Pipeline(commands=stage), "store": Store(path=path / "journal.sqlite3"), **more}
    )


def test_without_a_pack_there_are_none() -> None:
    assert orders(Settings()) is None


def test_the_stage_decides(tmp_path: Path) -> None:
    shared = orders(settings(tmp_path))
    assert shared is not None
    assert (shared.shadow, shared.role, len(shared.grammar)) == (True, "operator", 12)
    shared.states.tell({"guard": "closed"}, 0)
    assert shared.states.current(3_000) == {"guard": "closed"}
    assert shared.states.current(3_001) == {}


def test_commands_need_the_journal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="commands need the journal"):
        orders(settings(tmp_path, store=Store(path=None)))


def test_two_persons_need_two_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    orders(settings(tmp_path))
    assert "both can't be confirmed: it takes two tokens" in caplog.text
    caplog.clear()
    tokens = Tokens(operator=("a-long-secret-1", "a-long-secret-2"))
    orders(settings(tmp_path, server=Server(tokens=tokens)))
    assert caplog.text == ""
