"""A second reading holds commands back, and never brings one about."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.core.commands.decide import Decision, Verdict, decide
from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar
from streamd.core.commands.reasons import in_language
from streamd.core.commands.second import declared, needs_second, seconded
from streamd.core.tools.syntax import declaration
from streamd.core.tools.tool import ToolCall, ToolDecision
from tests.packs import press_line

PACK = press_line(
    show={"name": "show", "sentences": {"en": ["show it"]}, "safety": {"risk": "read"}},
    lamp={"name": "lamp", "sentences": {"en": ["lamp"]}, "safety": {"risk": "low"}},
    dose={
        "name": "dose",
        "sentences": {"en": ["dose {code}"]},
        "params": {"code": {"type": "string", "enum": ["red", "blue"], "maxLength": 5}},
    },
)
GRAMMAR = Grammar(PACK)
TOOLS, FAULTS = declared(PACK.commands.values())


def understood(text: str) -> Decision:
    return decide(GRAMMAR.match(text, "en"), (text,), "en")


def second(name: str | None, **arguments: Any) -> ToolDecision:
    return ToolDecision(None if name is None else ToolCall(name, arguments), 1.0)


def test_commands_are_declared_as_tools() -> None:
    assert {tool.name for tool in TOOLS} == PACK.commands.keys() - {"dose"}
    assert [fault.partition(": enum: ")[0] for fault in FAULTS] == ["tool dose: parameters.code"]
    told = {tool.name: declaration(tool) for tool in TOOLS}
    assert 'description:<|"|>lamp<|"|>' in told["lamp"]
    press = next(name for name in told if "rpm" in told[name])
    assert "(rpm)" in told[press]


@pytest.mark.parametrize(
    ("text", "needed"), [("set press two to 95", True), ("lamp", False), ("show it", False), ("hello", False)]
)
def test_only_what_is_risky_needs_one(text: str, needed: bool) -> None:
    assert needs_second(understood(text), TOOLS) is needed
    assert not needs_second(understood(text), [])


def test_where_readings_agree_or_there_is_but_one_nothing_changes() -> None:
    decision = understood("set press two to 95")
    assert decision.verdict is Verdict.CONFIRM
    assert seconded(decision, second("set_speed", press="press_2", speed=95.0)) == decision
    assert seconded(decision, None) == decision


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (second(None), "no command"),
        (second("stop"), "stop"),
        (second("set_speed", press="press_2", speed=59), "set_speed (press press_2, speed 59)"),
        (second("set_speed", press="press_3", speed=95), "set_speed (press press_3, speed 95)"),
        (second("set_speed", speed=95), "set_speed (speed 95)"),
    ],
)
def test_where_readings_differ_nothing_is_done(other: ToolDecision, reason: str) -> None:
    decision = seconded(understood("set press two to 95"), other)
    assert (decision.verdict, decision.reason) == (Verdict.REJECT, f"a second reading heard {reason}")
    assert decision.match == understood("set press two to 95").match


def test_numbers_of_another_reading_are_told_in_german() -> None:
    decision = seconded(understood("set press two to 95"), second("set_speed", press="press_2", speed=59.5))
    told = "ein zweites Modell hat etwas anderes gehört: set_speed (press press_2, speed 59,5)"
    assert in_language(decision.reason, "de") == told


def test_free_text_need_not_be_heard_alike() -> None:
    decision = understood("note change the oil for the shift")
    assert seconded(decision, second("note", text="Change the oil.")) == decision
    assert seconded(decision, second("note")).verdict is Verdict.REJECT


def test_a_pack_without_parameters() -> None:
    pack = Pack.model_validate({"commands": {"go": {"name": "go", "sentences": {"en": ["go"]}}}})
    assert declared(pack.commands.values())[1] == ()
