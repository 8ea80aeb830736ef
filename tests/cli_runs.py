"""The command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from streamd.cli import main

Run = Callable[..., tuple[int, str, str]]


def runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *command: str) -> Run:
    """`streamd` with `command` and more arguments: exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streamd", *command, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run
