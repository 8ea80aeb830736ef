"""`streamd commands audit` as a safety officer calls it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.audits import write_audit
from tests.cli_runs import Run, runs


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command, on a journal with an audit in it: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_audit(tmp_path / "j")
    return runs(capsys, monkeypatch, "commands", "audit")


def test_rows_are_written_and_verified(run: Run) -> None:
    code, out, err = run("--store", "j")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["record"].get("state") for row in rows] == ["proposed", "confirmed", "succeeded", None]
    assert (code, err) == (0, f"4 rows, none was changed; the newest hash is {rows[-1]['hash']}\n")
    assert run("--set", "store.path=j", "--session", "attic")[:2] == (0, "")
    assert run("--store", "j", "--head", rows[1]["hash"])[0] == 0


def test_what_was_changed_ends_with_69(run: Run) -> None:
    with closing(sqlite3.connect("j")) as db:
        db.execute("DROP TRIGGER audit_is_not_changed")
        db.execute("UPDATE audit SET note = '{}' WHERE id = 2")
        db.commit()
    code, out, err = run("--store", "j")
    assert (code, len(out.splitlines())) == (69, 4)
    assert err == "streamd: j: the audit is broken: row 2 was changed, removed or added afterwards\n"


def test_a_soak_tells_the_rate_that_it_may_be(run: Run) -> None:
    code, out, _ = run("--store", "j", "--soak")
    assert code == 0
    assert out == (
        "grammar g1, live: 0.17 h, actions: set_speed 1; 6.000 per hour, at most 28.463 (95 %); asked 0 times\n"
    )


def test_a_soak_that_has_just_begun_has_no_rate(run: Run) -> None:
    with closing(sqlite3.connect("j")) as db:
        db.execute("DROP TRIGGER audit_is_not_deleted")
        db.execute("DELETE FROM audit WHERE kind = 'listened'")
        db.commit()
    code, out, _ = run("--store", "j", "--soak")
    assert code == 0
    assert "actions: set_speed 1; nobody has told yet how long was listened; asked 0 times" in out


def test_without_a_journal_there_is_no_audit(run: Run) -> None:
    assert run("--set", "store.path=")[0] == 69
    assert run("--store", "nowhere")[0] == 69
