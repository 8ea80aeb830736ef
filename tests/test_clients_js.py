"""The pages' JavaScript without a browser, by Node.js's own test runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.needs import need

FILES = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_javascript(file: Path) -> None:
    run = subprocess.run([need("node"), "--test", str(file)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
