"""What machines answer, as JSON that the journal and every reader can take: encodable, and of a bounded size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from pydantic import JsonValue

from streamd.dispatch.base import Outcome

ANSWER_CHARS = 4_096  # of an answer, kept for the audit
REASON_CHARS = 500  # of a reason, which every reader is told
DEPTH = 16  # of lists and objects within each other

_INT_BITS = 64


def plain(value: object, depth: int = DEPTH) -> JsonValue:
    """The value itself where JSON has it, and text where it has not: bytes, times, infinity, a client's own types."""
    match value:
        case None | bool():
            return value
        case int():
            return int(value) if value.bit_length() <= _INT_BITS else hex(value)
        case float():
            return float(value) if math.isfinite(value) else str(value)
        case str():
            return encodable(value)
        case bytes():
            return value.decode(errors="backslashreplace")
        case date():  # and datetime
            return value.isoformat()
        case Mapping() | list() | tuple() if depth == 0:
            return "…"
        case Mapping():
            return {encodable(str(key)): plain(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, depth - 1) for item in value]
        case _:
            return encodable(repr(value))


def bounded(outcome: Outcome) -> Outcome:
    """The same, so that it can be written down and told. A longer answer becomes the beginning of its text."""
    answer = plain(outcome.answer)
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    kept = answer if len(text) <= ANSWER_CHARS else _cut(text, ANSWER_CHARS)
    reason = _cut(encodable(outcome.reason), REASON_CHARS)
    # As it was, a Reason can be told in another language.
    return replace(outcome, reason=outcome.reason if outcome.reason == reason else reason, answer=kept)


def encodable(text: str) -> str:
    """JSON can spell half a surrogate pair, which UTF-8 has not: a question mark stands for it."""
    return text.encode("utf-8", "replace").decode()


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"
