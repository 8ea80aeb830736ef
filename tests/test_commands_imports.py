"""Importers: what another system understands, streamd understands as the same parameters with the same values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamd.commands.documents import write_yaml
from streamd.commands.files import load
from streamd.commands.imports import convert
from streamd.core.commands.grammar import Grammar, Match
from streamd.errors import ConfigError


def imported(kind: str, text: str, tmp_path: Path) -> Grammar:
    """Written, read again and compiled."""
    pack = tmp_path / "pack.yaml"
    pack.write_text(write_yaml(convert(kind, text, "given")))
    return load([pack]).grammar()


def meaning(grammar: Grammar, text: str) -> tuple[str, dict[str, Any]] | None:
    found = grammar.match(text)
    return (found.command.name, dict(found.params)) if isinstance(found, Match) else None


RHINO = r"""
context:
  expressions:
    brew:
      - "[make, could I have] (please) [a, an] $size:size $drink:drink (with $extra:first) (and $extra:second)"
      - "@polite $drink:drink for $pv.TwoDigitInteger:people"
  slots:
    size: [small, "eight ounce"]
    drink: [latte, "off"]
    extra: ["milk", "a bit of sugar"]
  macros:
    polite: ["[I'd, we'd] like", "give me"]
"""


def test_rhino_has_choices_that_may_be_left_out(tmp_path: Path) -> None:
    text = "context: {expressions: {light: '[turn, make] (all, the) lights $s:s', off: shut it}, slots: {s: [on, off]}}"
    grammar = imported("rhino", text, tmp_path)
    for said in ("turn all lights on", "make the lights on", "turn lights on"):
        assert meaning(grammar, said) == ("light", {"s": "on"})
    assert meaning(grammar, "turn all the lights on") is None
    assert meaning(grammar, "shut it") == ("off", {})


def test_rhino(tmp_path: Path) -> None:
    grammar = imported("rhino", RHINO, tmp_path)
    assert meaning(grammar, "Make a small latte") == ("brew", {"size": "small", "drink": "latte"})
    assert meaning(grammar, "could I have please an 8 ounce off with a bit of sugar and milk") == (
        "brew",
        {"size": "eight ounce", "drink": "off", "first": "a bit of sugar", "second": "milk"},
    )
    assert meaning(grammar, "we'd like latte for twelve") == ("brew", {"drink": "latte", "people": 12})
    assert meaning(grammar, "make small latte") is None
    assert meaning(grammar, "give me latte for 100") is None
    command = grammar.pack.commands["brew"]
    assert command.params["size"] == {"type": "string", "enum": ["small", "eight ounce"], "optional": True}
    assert command.safety.risk == "low"  # as it was where it came from


HASSIL = """
language: de
intents:
  Licht:
    data:
      - sentences: ["<schalte> [das] Licht {raum} an", "Licht an"]
        slots: {an: true}
      - sentences: ["<schalte> [das] Licht {raum} aus", "dimme auf {0..100,10:stufe} [Prozent]"]
        slots: {an: false}
  Notiz:
    data:
      - sentences: ["notiere {was} [um {stunde}]", "warte {lang}"]
lists:
  raum:
    values:
      - {in: "(im|in dem) Lager", out: lager}
      - {in: "[in der] Halle", out: halle}
  was: {wildcard: true}
  stunde: {range: {from: 0, to: 23}}
  lang: {range: {from: 1, to: 3, multiplier: 0.5}}
expansion_rules:
  schalte: "(schalt[e]|mach[e] <bitte>)"
  bitte: "[bitte]"
"""


def test_hassil(tmp_path: Path) -> None:
    grammar = imported("hassil", HASSIL, tmp_path)
    assert meaning(grammar, "Schalte das Licht im Lager an") == ("Licht", {"raum": "lager", "an": True})
    assert meaning(grammar, "mach bitte Licht in der Halle aus") == ("Licht", {"raum": "halle", "an": False})
    assert meaning(grammar, "dimme auf dreißig Prozent") == ("Licht", {"stufe": 30, "an": False})
    assert meaning(grammar, "notiere mehr Öl um sieben") == ("Notiz", {"was": "mehr öl", "stunde": 7})
    assert meaning(grammar, "notiere mehr Öl") == ("Notiz", {"was": "mehr öl"})
    assert meaning(grammar, "warte drei") == ("Notiz", {"lang": 1.5})
    assert meaning(grammar, "dimme auf 35") is None


RHASSPY = r"""
# a factory
[SetSpeed]
preset = (slow:10 | fast:90)
set ((press one):press_1 | (press two):press_2){press} to (0..120){speed} [rpm]
run <preset>{pace}
make ten:10 coffees

[Light]
\[please] turn on [the] (living room lamp | kitchen light){name}
turn (on | off){state} it
open{cover:shutter} the lamp{name}
pace <SetSpeed.preset>
dim to (half:50 | full:100){level!int} [for (one:1 | two:2){hours!float}]
blink (on:yes | off:no){blink!bool}
"""


def test_rhasspy(tmp_path: Path) -> None:
    grammar = imported("rhasspy", RHASSPY, tmp_path)
    assert meaning(grammar, "set press two to ninety five rpm") == ("SetSpeed", {"press": "press_2", "speed": 95})
    assert meaning(grammar, "run fast") == ("SetSpeed", {"pace": "90"})
    assert meaning(grammar, "make 10 coffees") == ("SetSpeed", {})
    assert meaning(grammar, "please turn on kitchen light") == ("Light", {"name": "kitchen light"})
    assert meaning(grammar, "turn off it") == ("Light", {"state": "off"})
    assert meaning(grammar, "open the lamp") == ("Light", {"cover": "shutter", "name": "lamp"})
    assert meaning(grammar, "pace slow") == ("Light", {})
    assert meaning(grammar, "dim to half for two") == ("Light", {"level": 50, "hours": 2.0})
    assert meaning(grammar, "blink off") == ("Light", {"blink": False})
    assert meaning(grammar, "set press two to 121") is None


def test_numbers_may_be_a_rule(tmp_path: Path) -> None:
    text = "[Light]\nlevel = (0..100)\nhalf = <level>\nset to <level>{level}\nturn to (<half>){angle}"
    grammar = imported("rhasspy", text, tmp_path)
    assert meaning(grammar, "set to 70") == ("Light", {"level": 70})
    assert meaning(grammar, "turn to 5") == ("Light", {"angle": 5})
    assert meaning(grammar, "set to 101") is None


RHASSPY_AS_FOUND = r"""
[home:Light]
name = ((living room lamp | garage light) {name}) | <Fan.name>
state = (on | off) {state}

turn <state> [the] <name>
dim by (5..50) {percent!int} [now]{when}

[Fan]
name = (great room fan | :sun_room sun room fan) {name}
digit = (one:1 | <more>)
more = (two:2 | three:(a few))
spin <name> for ((<digit> hour [long]) | (half an hour):half) {time}
(open | raise):up [the] ((left | right):one side | both) {side} (shade){thing:blind}
"""


def test_rhasspy_as_people_write_it(tmp_path: Path) -> None:
    """Tags with a space before them, rules that are choices, rules and groups within slots."""
    grammar = imported("rhasspy", RHASSPY_AS_FOUND, tmp_path)
    assert meaning(grammar, "turn on the garage light") == ("home_Light", {"state": "on", "name": "garage light"})
    assert meaning(grammar, "turn off great room fan") == ("home_Light", {"state": "off", "name": "great room fan"})
    assert meaning(grammar, "dim by 20 now") == ("home_Light", {"percent": 20, "when": "now"})
    assert meaning(grammar, "dim by 20") == ("home_Light", {"percent": 20})
    assert meaning(grammar, "dim by 51") is None
    assert meaning(grammar, "spin sun room fan for two hour long") == (
        "Fan",
        {"name": "sun_room sun room fan", "time": "2 hour long"},
    )
    assert meaning(grammar, "spin great room fan for three hour") == (
        "Fan",
        {"name": "great room fan", "time": "a few hour"},
    )
    assert meaning(grammar, "spin great room fan for half an hour") == (
        "Fan",
        {"name": "great room fan", "time": "half"},
    )
    assert meaning(grammar, "raise both shade") == ("Fan", {"side": "both", "thing": "blind"})


PROPERTIES = {
    "press": {"type": "string", "enum": ["press_1", "press_2"]},
    "rpm": {"type": ["number", "null"], "minimum": 0, "maximum": 120, "description": "speed"},
}


def test_openai(tmp_path: Path) -> None:
    function = {
        "name": "setSpeed",
        "description": "Sets it.",
        "parameters": {"type": "object", "properties": PROPERTIES},
    }
    function["parameters"]["required"] = ["press"]  # type: ignore[index]
    for text in (
        [{"type": "function", "function": function}],
        {"tools": [{"type": "function", "function": function}]},
        function,
    ):
        grammar = imported("openai", json.dumps(text), tmp_path)
        assert meaning(grammar, "set speed press press 2 rpm ninety") == ("setSpeed", {"press": "press_2", "rpm": 90})
        assert meaning(grammar, "set speed press press 1") == ("setSpeed", {"press": "press_1"})
        assert grammar.pack.commands["setSpeed"].safety.risk == "confirm"


def test_tools_as_pydantic_declares_them(tmp_path: Path) -> None:
    """Any text, true and false, what may be null, names that are none of ours, and tools that are no functions."""
    properties = {
        "note": {"title": "Note", "type": "string"},
        "on": {"type": "boolean", "default": False},
        "level": {"anyOf": [{"type": "integer", "maximum": 9}, {"type": "null"}], "default": None},
        "mode": {"type": ["string", "null"], "enum": ["heat", None]},
    }
    function = {"name": "write it", "parameters": {"properties": properties, "required": ["note", "on"]}}
    grammar = imported("openai", json.dumps([{"type": "code_interpreter"}, {"function": function}]), tmp_path)
    assert meaning(grammar, "write it note more oil on off level seven mode heat") == (
        "write_it",
        {"note": "more oil", "on": False, "level": 7, "mode": "heat"},
    )
    assert meaning(grammar, "write it note more oil on true") == ("write_it", {"note": "more oil", "on": True})


def test_intents_without_sentences_are_left_out(tmp_path: Path) -> None:
    grammar = imported("hassil", "intents: {A: null, B: {}, C: {data: [{sentences: [light on]}]}}", tmp_path)
    assert list(grammar.pack.commands) == ["C"]


def test_mcp(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": PROPERTIES, "required": ["press"]}
    tools = [
        {"name": "read_speed", "inputSchema": schema, "annotations": {"readOnlyHint": True, "idempotentHint": True}},
        {"name": "press.stop", "description": "Stops it.", "annotations": {"readOnlyHint": False}},
        {"name": "wipe", "description": "Wipes all.", "annotations": {"destructiveHint": True, "title": "Wipe"}},
    ]
    for text in ({"result": {"tools": tools}}, {"tools": tools}, tools):
        grammar = imported("mcp", json.dumps(text), tmp_path)
        assert meaning(grammar, "press stop") == ("press.stop", {})
        safety = [command.safety for command in grammar.pack.commands.values()]
        assert [(safe.risk, safe.idempotent) for safe in safety] == 3 * [("confirm", False)]
        assert [command.description for command in grammar.pack.commands.values()] == [
            "read speed (says its server: changes nothing, may be repeated)",
            "Stops it.",
            "Wipes all. (says its server: destroys)",
        ]


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("rhino", "intents: {}", "given: no Rhino context: it has no context.expressions"),
        ("rhino", "context: {expressions: {a: ['[b, c']}}", "given: brackets don't match in '[b, c'"),
        ("rhino", "context: {expressions: {a: ['[b, c)']}}", "given: brackets don't match in '[b, c)'"),
        ("rhino", "context: {expressions: {a: ['$pv.Date:when']}}", "given: the slot type pv.Date is not in"),
        ("hassil", "language: en", "given: no custom sentences: it has no intents"),
        (
            "hassil",
            "intents:\n  A:\n    data:\n      - sentences: [a]\n      - requires_context: {b: c}",
            "given:5: requires_context of one block: streamd knows those of a pack only",
        ),
        ("rhasspy", "turn on", "given:1: no sentences.ini: a sentence before the first [Intent]"),
        ("rhasspy", "[A]\nset $press", "given:2: slot files and converters are not in this file: write the values out"),
        ("rhasspy", "[A]\nset (b){c!int}", "given: [A] set (b){c!int}: invalid literal for int()"),
        ("rhasspy", "[A]\n{c} b", "given: [A] {c} b: not understood from '{c} b' on"),
        ("rhasspy", "[A]\n(b {c}){d}", "given: [A] (b {c}){d}: a tag within a tag"),
        ("rhasspy", "[A]\n(b", "given: [A] (b: brackets don't match at 'the end'"),
        ("rhasspy", "[A]\n(b]", "given: [A] (b]: brackets don't match at ']'"),
        ("rhasspy", "[A]\n(){c}", "given: [A] (){c}: c may be said without a word"),
        ("rhasspy", "[A]\n(b){c!odd}", "given: [A] (b){c!odd}: the converter odd of c is not known"),
        ("rhasspy", "[A]\n<b>", "given: [A] <b>: there is no rule <b>"),
        ("rhasspy", "[A]\nb=c <b>\n(<b>){d}", "given: [A] (<b>){d}: its rules refer to each other without an end"),
        ("rhasspy", "[A]\n(1..5 or so){d}", "given: [A] (1..5 or so){d}: 1..5 beside other words has no list"),
        ("rhasspy", "[A]\n" + "(" + "[a|b|c|d|e] " * 6 + "){d}", "given: [A] ([a|b"),
        ("rhasspy", "[A]\nb=(0..5){c}\n<b>{d}", "given: [A] <b>{d}: a tag within a tag"),
        ("rhasspy", "[A b]\non\n[A_b]\noff", "given: 'A b' and 'A_b' would both be called A_b: rename one"),
        ("rhasspy", "[A b]\nc=on\n[A_b]\nc=off", "given: 'A b.c' and 'A_b.c' would both be called A_b.c"),
        ("openai", '[{"name": "v/open"}, {"name": "v open"}]', "given: 'v/open' and 'v open' would both be"),
        ("mcp", json.dumps([{"name": "a" * 64 + end} for end in "bc"]), f"given: '{'a' * 64}b' and '{'a' * 64}c'"),
        ("rhino", "context: {expressions: {a: [b]}, slots: [c]}", "given: not as rhino writes it: AttributeError"),
        ("mcp", "[1]", "given: not as mcp writes it: TypeError"),
        ("openai", "{", "given:1: not JSON: Expecting property name enclosed in double quotes"),
        (
            "openai",
            '{"name": "a", "parameters": {"properties": {"b": {"type": "array"}}}}',
            "given: a: b is a array, which nobody can speak: leave the tool out",
        ),
        (
            "mcp",
            '{"name": "a", "inputSchema": {"properties": {"b": {"type": "string", "format": "date"}}}}',
            "given: a: b: format can't be enforced on what was said: leave it out",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_taken_over_is_named(kind: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        convert(kind, text, "given")
    assert str(refused.value).startswith(reason)
