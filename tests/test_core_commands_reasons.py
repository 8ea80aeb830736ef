"""Reasons are English, and told in the language of the order."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamd
from streamd.core.commands.guards import Kind, objection
from streamd.core.commands.params import fault
from streamd.core.commands.reasons import _TEXTS, Reason, either, in_language, is_known, whole


def test_a_reason_is_english_text() -> None:
    assert Reason("it reads {} and not {} after {} s", 5, 95, "0.3") == "it reads 5 and not 95 after 0.3 s"
    assert in_language(Reason("it reads {}", 0.5), "en") == "it reads 0.5"


@pytest.mark.parametrize(
    ("reason", "german"),
    [
        (Reason("understood"), "verstanden"),
        (Reason("it was done a moment ago; again in {} s", 2.5), "es wurde eben erst ausgeführt; wieder in 2,5 s"),
        (Reason("this could mean {}", either(["a()", "b()", "c()"])), "das könnte heißen: a() oder b() oder c()"),
        (Reason("{}: {}", "speed", Reason("{} needs {}", "a", Decimal("1.5"))), "speed: bei a fehlt 1,5"),
        (Reason("it reads {} and not {} after {} s", 5, 95, 0.3), "dort steht 5 und nicht 95, nach 0,3 s"),
        (Reason("no answer within {} s", whole(2.5)), "keine Antwort in 2,5 s"),
        (Reason("no answer within {} s", whole(5.0)), "keine Antwort in 5 s"),
        (Reason("the daemon stops: say it again"), "streamd wird beendet: noch einmal sagen"),
        ("words of a machine", "words of a machine"),
        (Reason("words of {}", Reason("no command")), "words of keinen Befehl"),
    ],
)
def test_it_is_told_in_german(reason: str, german: str) -> None:
    told = in_language(reason, "de")
    assert (told, type(told)) == (german, str)


def test_a_guard_and_a_limit_speak_german() -> None:
    against = objection("Licht nicht an", "de")
    assert against is not None
    assert in_language(Reason("no order, {}", against.reason), "de") == "kein Befehl, verneint: „nicht“"
    limit = fault({"type": "number", "maximum": 120}, 120.5)
    assert limit == "120.5 is greater than the maximum of 120"
    assert in_language(limit, "de") == "120,5 ist mehr als höchstens 120"
    choice = fault({"enum": ["press_1", 2.5]}, "press_3")
    assert choice == "'press_3' is not one of ['press_1', 2.5]"
    assert in_language(choice, "de") == "'press_3' ist keines von ['press_1', 2.5]"


def templates() -> Iterator[str]:
    """Every template that streamd makes a Reason of."""
    for path in Path(streamd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Reason"), args=[ast.Constant(value=str(template)), *_]):
                    yield template
    yield from Kind


def test_every_reason_is_translated_and_nothing_else() -> None:
    used = {template for template in templates() if re.search(r"\w", template.replace("{}", ""))}
    assert {template for template in used if not is_known(template, "de")} == set()
    limits = {template for template in _TEXTS["de"] if template.startswith("{} is ")}
    assert set(_TEXTS["de"]) - used - limits == {"{}: “{}”"}


_TOLD_WITH = {"void", "Rejection", "Decision", "NotDone", "Outcome", "outcome", "_end", "_step", "_doubt"}


def bare() -> Iterator[str]:
    """Every text of more than one word that is given for a reason and is none."""
    for path in Path(streamd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func).rpartition(".")[2] not in _TOLD_WITH:
                continue
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and " " in argument.value:
                    yield f"{path.name}:{node.lineno}: {argument.value}"


def test_whatever_takes_a_reason_is_given_one() -> None:
    assert list(bare()) == []


@given(st.sampled_from(sorted(_TEXTS["de"].items())))
def test_a_translation_takes_as_many_values(pair: tuple[str, str]) -> None:
    assert pair[0].count("{}") == pair[1].count("{}")


@given(st.text())
def test_a_copy_is_the_same_reason(value: str) -> None:
    """Also where a value has brackets."""
    reason = Reason("this could mean {}", either([value, "{a}", 1.5]))
    for same in (copy.deepcopy(reason), pickle.loads(pickle.dumps(reason))):
        assert same == reason
        assert in_language(same, "de") == f"das könnte heißen: {value} oder {{a}} oder 1,5"


@given(st.text(), st.text())
def test_values_may_be_anything(one: str, other: str) -> None:
    reason = Reason("{} needs {}", one, other)
    assert reason == f"{one} needs {other}"
    assert in_language(reason, "de") == f"bei {one} fehlt {other}"
