"""Whatever a target answers can be written down and told."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from streamd.core.events import Command as Told
from streamd.dispatch.base import Outcome
from streamd.dispatch.plain import ANSWER_CHARS, DEPTH, REASON_CHARS, bounded, plain

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # half surrogate pairs included
LEAVES: st.SearchStrategy[object] = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), ANY_TEXT, st.binary(), st.datetimes(), st.dates()),
    st.frozensets(st.integers()),
)
ANYTHING = st.recursive(LEAVES, lambda some: st.lists(some) | st.dictionaries(ANY_TEXT | st.integers(), some))


class Mode(IntEnum):
    RUN = 2


@pytest.mark.parametrize(
    ("value", "same"),
    [
        *((None, None), (True, True), (95, 95), (0.5, 0.5), ("a ü 😀", "a ü 😀"), (Mode.RUN, 2), ((1, 2), [1, 2])),
        *((b"P2", "P2"), (b"\xff", "\\xff"), (float("inf"), "inf"), ("\ud800", "?"), ({"\ud800": "a"}, {"?": "a"})),
        *((datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"), (date(2026, 1, 2), "2026-01-02")),
        *(({1}, "{1}"), ({5: [b"x"]}, {"5": ["x"]}), (1 << 64, "0x10000000000000000")),
    ],
)
def test_what_json_has_stays_and_what_it_has_not_becomes_text(value: object, same: JsonValue) -> None:
    assert plain(value) == same


def test_depth_has_an_end() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    text = json.dumps(plain(deep), ensure_ascii=False)
    assert text == "[" * DEPTH + '"…"' + "]" * DEPTH


@given(ANYTHING, ANY_TEXT)
def test_every_outcome_can_be_written_and_told(answer: Any, reason: str) -> None:
    outcome = bounded(Outcome(None, reason, answer))
    json.dumps(outcome.answer, ensure_ascii=False, allow_nan=False).encode()
    told = Told(command_id="c1", state="failed", name="a", params={}, utterance=1, reason=outcome.reason)
    assert Told.model_validate_json(told.model_dump_json()).reason == outcome.reason
    assert len(outcome.reason) <= REASON_CHARS


@pytest.mark.parametrize("answer", ["x" * (ANSWER_CHARS + 1), ["x" * ANSWER_CHARS], {"x" * 5_000: 1}])
def test_a_long_answer_is_cut(answer: JsonValue) -> None:
    outcome = bounded(Outcome(True, "x" * (REASON_CHARS + 1), answer))
    assert isinstance(outcome.answer, str)
    assert len(outcome.answer) == ANSWER_CHARS
    assert (len(outcome.reason), outcome.reason[-2:]) == (REASON_CHARS, "x…")


def test_a_short_answer_stays_what_it_is() -> None:
    outcome = Outcome(True, "x" * REASON_CHARS, {"rpm": [95]}, again=True)
    assert bounded(outcome) == outcome
