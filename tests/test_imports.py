"""Imports go one way: the table in DESIGN.md is the rule, this is its guard."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# fmt: off
IMPURE = {
    "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "io", "logging", "multiprocessing", "os", "pathlib",
    "queue", "random", "secrets", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess",
    "sys", "tempfile", "threading", "time", "urllib", "uuid",
}
# fmt: on
PURE = sys.stdlib_module_names - IMPURE
PURE |= {
    "hassil",
    "jellyfish",
    "jsonschema",
    "numpy",
    "pydantic",
    "pydantic_core",
    "rapidfuzz",
    "text_to_num",
    "unicode_rbnf",
}


def ranks() -> dict[str, tuple[int, int]]:
    """Room → (row of the table, place in a row that says `then`). The program's own doors are beyond the table."""
    table = {"__init__": (-1, 0), "__main__": (99, 0)}
    for row in re.finditer(r"^\| (\d) \|([^|]+)\|", (ROOT / "DESIGN.md").read_text(), re.MULTILINE):
        for place, rooms in enumerate(row[2].split("then")):
            table |= dict.fromkeys(re.findall(r"`(\w+)`", rooms), (int(row[1]), place))
    return table


def imports(source: str) -> Iterator[str]:
    """Dotted names of the modules that `source` imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: say streamd.…"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong(room: str, source: str, rank: dict[str, tuple[int, int]]) -> list[str]:
    """What a module of `room` imports against the rule."""
    found = []
    for name in imports(source):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if top != "streamd":
            allowed = room != "core" or top in PURE
        elif target not in rank:
            allowed = target == "__version__"
        else:
            allowed = target == room or (room != "core" and rank[target] < rank[room] and target != "__init__")
        found += [] if allowed else [name]
    return found


MODULES = sorted((ROOT / "streamd").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    rank = ranks()
    room = path.relative_to(ROOT / "streamd").parts[0].removesuffix(".py")
    assert room in rank, f"{room} has no rank: give it one in DESIGN.md"
    assert wrong(room, path.read_text(), rank) == []


def test_the_rule_can_be_broken() -> None:
    """Arrows that the table forbids, and their neighbours that it allows."""
    rank = ranks()
    assert wrong("server", "import streamd.session", rank) == ["streamd.session"]
    assert wrong("server", "def f():\n    from streamd.store import Journal", rank) == ["streamd.store.Journal"]
    assert wrong("transcriber", "import streamd.session", rank) == ["streamd.session"]
    assert wrong("session", "import streamd.transcriber, streamd.core.log", rank) == []
    assert wrong("server", "from streamd.server.http import get\nfrom streamd import __version__", rank) == []
    assert wrong("core", "import asyncio, os.path\nfrom time import monotonic", rank) == [
        "asyncio",
        "os.path",
        "time.monotonic",
    ]
    assert wrong("core", "from streamd.errors import StreamdError", rank) == ["streamd.errors.StreamdError"]
    assert wrong("core", "import numpy as np\nfrom streamd.core.log import Log\nimport re", rank) == []
    assert wrong("core", "import rich", rank) == ["rich"]
