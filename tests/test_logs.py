"""Records as lines."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.logs import TextLines, set_up

log = logging.getLogger("streamd.somewhere")


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """The root logger as pytest had it, afterwards."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:], logger.level = handlers, level
    logging.captureWarnings(capture=False)
    set_levels = [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    for other in set_levels:
        other.setLevel(logging.NOTSET)


def text_of(level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    set_up(level, "text", stream)
    return stream


def json_of() -> io.StringIO:
    stream = io.StringIO()
    set_up("INFO", "json", stream)
    return stream


def test_a_text_line_has_time_level_logger_message_and_extras() -> None:
    stream = text_of()
    log.info("reader %s left", "a", extra={"session": "room 1", "lag_ms": 40, "why": ""})
    when, line = stream.getvalue().split(" ", 1)
    assert datetime.fromisoformat(when).tzinfo is not None
    assert line == 'INFO streamd.somewhere reader a left session="room 1" lag_ms=40 why=""\n'


def test_a_json_line_has_the_same() -> None:
    stream = json_of()
    log.warning("läuft\nweiter", extra={"session": "room 1", "lag_ms": 40})
    line = json.loads(stream.getvalue())
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "WARNING",
        "logger": "streamd.somewhere",
        "message": "läuft\nweiter",
        "session": "room 1",
        "lag_ms": 40,
    }


def fail() -> None:
    try:
        raise ValueError("no such thing")
    except ValueError:
        log.exception("it failed")


def test_a_traceback_is_indented_below_its_line() -> None:
    stream = text_of()
    fail()
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR streamd.somewhere it failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-1] == "    ValueError: no such thing"


def test_a_traceback_is_a_field_of_json() -> None:
    stream = json_of()
    fail()
    assert json.loads(stream.getvalue())["traceback"].endswith("ValueError: no such thing")


def test_an_exception_that_is_none_is_no_traceback() -> None:
    stream = text_of()
    log.info("fine", exc_info=True)
    assert stream.getvalue().endswith("fine\n")


def test_below_the_level_nothing_is_written() -> None:
    stream = text_of("WARNING")
    log.info("quiet")
    assert stream.getvalue() == ""


def test_libraries_are_heard_from_warning_on() -> None:
    stream = text_of("INFO")
    logging.getLogger("websockets.server").info("chatter")
    logging.getLogger("websockets.server").warning("trouble")
    assert "chatter" not in stream.getvalue()
    assert "trouble" in stream.getvalue()


def test_at_debug_libraries_are_heard_with_everything_else() -> None:
    stream = text_of("DEBUG")
    logging.getLogger("websockets.server").debug("chatter")
    assert "chatter" in stream.getvalue()


def test_the_last_call_counts() -> None:
    first, second = text_of(), text_of()
    log.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_warnings_of_python_are_records() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream = text_of()
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
        assert "WARNING py.warnings" in stream.getvalue()
        assert "old thing" in stream.getvalue()
        logging.captureWarnings(capture=False)


def test_without_a_stream_it_is_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    set_up()
    log.info("here")
    assert "here" in stderr.getvalue()


@given(st.text(), st.text())
def test_a_record_is_one_line_whatever_it_contains(message: str, extra: str) -> None:
    record = logging.makeLogRecord({"msg": message, "args": (), "levelname": "INFO", "name": "n", "detail": extra})
    assert len(TextLines().format(record).splitlines()) == 1
