"""Templates, and when two values are the same to a machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from streamd.core.commands.definition import Scalar, Verify
from streamd.core.commands.reasons import in_language
from streamd.dispatch.base import agree, fill, look_up, read_back
from tests.machines import CALL

PARAMS: dict[str, Scalar] = {"machine": "press 2/a", "rpm": 95, "on": True}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{rpm}", 95),
        ("{on}", True),
        ("{machine}", "press 2/a"),
        ("speed {rpm} of {machine}, {on}", "speed 95 of press 2/a, true"),
        ("{nothing}", None),
        ("<{nothing}>", "<>"),
        ({"a": ["{rpm}", {"b": "{on}"}], "c": 5}, {"a": [95, {"b": True}], "c": 5}),
        (None, None),
    ],
)
def test_parameters_take_the_places_of_their_names(template: JsonValue, filled: JsonValue) -> None:
    assert fill(template, PARAMS) == filled


def test_with_a_quote_every_value_is_text_that_went_through_it() -> None:
    assert fill("{machine}", PARAMS, lambda value: f"<{value}>") == "<press 2/a>"
    assert fill("/{rpm}/{nothing}", PARAMS, str) == "/95/"


@given(st.dictionaries(st.sampled_from("ab"), st.text()), st.text())
def test_values_are_no_templates(params: dict[str, Scalar], said: str) -> None:
    assert fill("{a}", params | {"a": said}) == said
    assert fill("x{a}", params | {"a": said}) == f"x{said}"


@pytest.mark.parametrize(
    ("path", "value"),
    [("", {"a": [{"b": 5}]}), ("a.0.b", 5), ("a.1", None), ("a.x", None), ("b", None), ("a.0.b.c", None)],
)
def test_a_path_leads_into_an_answer(path: str, value: JsonValue) -> None:
    assert look_up({"a": [{"b": 5}]}, path) == value


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        *((95, 95.0, True), ("95", 95, True), (95.1, 95, False), ("on", "on", True), ("on", "off", False)),
        *((True, True, True), ("true", True, True), (1, True, False), (None, 95, False), ([1], [1], True)),
        *((None, None, False), (None, "None", False), (10**400, 95, False)),
    ],
)
def test_agreement(found: JsonValue, wanted: JsonValue, same: bool) -> None:
    assert agree(found, wanted) is same


async def test_reading_back_goes_on_until_it_is_so() -> None:
    values: list[JsonValue] = [{"rpm": 0}, None, {"rpm": 95.0}]

    async def read() -> JsonValue:
        return values.pop(0)

    outcome = await read_back(read, Verify(field="rpm", equals="{rpm}"), CALL, 5, poll_s=0)
    assert (outcome.done, outcome.answer, values) == (True, 95.0, [])


async def test_what_can_not_be_read_never_counts_as_done() -> None:
    async def read() -> JsonValue:
        return None

    outcome = await read_back(read, Verify(equals="{rpm}"), CALL, 0.02, poll_s=0)
    assert (outcome.done, outcome.reason) == (None, "it can't be read after 0.02 s")
    outcome = await read_back(read, Verify(equals="{torque}"), CALL, 60)
    assert (outcome.done, outcome.reason) == (None, "what it should read, {torque}, was not said")


async def test_what_never_becomes_so_is_not_known() -> None:
    async def read() -> JsonValue:
        return 94

    outcome = await read_back(read, Verify(equals="{rpm}"), CALL, 0.02, poll_s=0)
    assert (outcome.done, outcome.reason) == (None, "it reads 94 and not 95 after 0.02 s")
    assert in_language(outcome.reason, "de") == "dort steht 94 und nicht 95, nach 0,02 s"
