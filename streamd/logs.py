"""The daemon's own log on stderr: one line a record, as text for people or as JSON for machines.

A record is structured by `extra`: `log.info("reader left", extra={"session": name})`. What people say is logged at
DEBUG only; the loggers see to that, not this module.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_CHATTY = ("asyncio", "faster_whisper", "httpcore", "httpx", "huggingface_hub", "urllib3", "websockets")


def set_up(level: str = "INFO", form: str = "text", stream: TextIO | None = None) -> None:
    """Send every record of at least `level` to `stream` (stderr), warnings of Python included.

    `form` is `text` or `json`. Libraries are heard from WARNING on, or at DEBUG with everything else. May be called
    again: the last call counts.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, TextLines | JsonLines)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "DEBUG" else logging.WARNING)
    logging.captureWarnings(capture=True)


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO streamd.server reader left session=default`, a traceback indented below."""

    def format(self, record: logging.LogRecord) -> str:
        extras = "".join(f" {key}={_value(value)}" for key, value in _extras(record).items())
        line = f"{_time(record)} {record.levelname} {record.name} {_flat(record.getMessage())}{extras}"
        trace = _trace(self, record)
        return line + "".join(f"\n    {part}" for part in trace.splitlines())


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the extras, `traceback` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = _extras(record) | {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := _trace(self, record):
            line["traceback"] = trace
        return json.dumps(line, default=str, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


def _flat(text: str) -> str:
    """On one line whatever it contains: a record can't pretend to be two."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _value(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and not {" ", '"', "="} & set(text) else json.dumps(text)
