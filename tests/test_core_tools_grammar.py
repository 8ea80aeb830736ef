"""What a grammar admits, asked of llguidance. tests/test_engines_gemma_decide.py has random models write under it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from llguidance import LLMatcher, LLTokenizer

from streamd.core.tools.grammar import Marks, grammar
from streamd.core.tools.syntax import CALL, CALL_END, QUOTE
from streamd.core.tools.tool import Tool
from tests.tool_schemas import TOOLS
from tests.tool_tokens import tokenizer

TOKENS = tokenizer()
MARKS = Marks(*(TOKENS.encode(name).ids[0] for name in (CALL, CALL_END, QUOTE, "<turn|>")))
GUIDE = LLTokenizer(TOKENS.to_str(), eos_token=1)


def admits(tools: list[Tool], text: str) -> bool:
    """Whether the grammar lets `text` be written to its end."""
    matcher = LLMatcher(GUIDE, LLMatcher.grammar_from_lark(grammar(tools, MARKS)))
    assert not matcher.is_error(), matcher.get_error()
    tokens = TOKENS.encode(text, add_special_tokens=False).ids
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_stopped() and not matcher.is_error()


def tool(**properties: dict[str, Any]) -> Tool:
    required = [name for name, schema in properties.items() if not schema.get("optional")]
    return Tool("go", "", {"type": "object", "properties": properties, "required": required})


def writes(arguments: str, **properties: dict[str, Any]) -> bool:
    return admits([tool(**properties)], f"<|tool_call>call:go{{{arguments.replace('~', QUOTE)}}}<tool_call|>")


@pytest.mark.parametrize("text", ["none<turn|>", "<turn|>"])
def test_not_calling_is_always_possible(text: str) -> None:
    assert admits([tool()], text)
    assert admits([], text)


@pytest.mark.parametrize("text", ["no<turn|>", "Sure!<turn|>", "<|tool_call>call:stop{}<tool_call|>", "<tool_call|>"])
def test_nothing_else_is_said(text: str) -> None:
    assert not admits([tool()], text)
    assert not admits([], "<|tool_call>call:go{}<tool_call|>")


def test_one_of_several_tools() -> None:
    tools = [Tool("press_1", ""), Tool("press_12", "")]
    for name, known in (("press_1", True), ("press_12", True), ("press_", False), ("press_123", False)):
        assert admits(tools, f"<|tool_call>call:{name}{{}}<tool_call|>") is known
    with pytest.raises(ValueError, match="two tools have one name: press_1"):
        grammar([*tools, tools[0]], MARKS)


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ("b:1,d:2", True),
        ("a:0,b:1,c:0,d:2,e:0", True),
        ("a:0,b:1,d:2", True),
        ("b:1", False),
        ("d:2,b:1", False),
        ("b:1,b:1,d:2", False),
        (",b:1,d:2", False),
        ("b:1,d:2,", False),
        ("b:1,d:2,f:1", False),
        ("b: 1,d:2", False),
    ],
)
def test_required_and_optional_fields(arguments: str, right: bool) -> None:
    number: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 120}
    optional = {**number, "optional": True}
    assert writes(arguments, a=optional, b=number, c=optional, d=number, e=optional) is right


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "boolean"}, "true false", "1 ~true~ True"),
        ({"type": "integer", "minimum": -5, "maximum": 120}, "-5 0 120", "121 -6 1.0 ~1~ 00"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "0.000001 0.5 1", "0 1.1 1e-1 .5"),
        ({"type": "integer", "enum": [1, 12, 120]}, "1 12 120", "2 121"),
        ({"type": "string", "const": "on"}, "~on~", "on ~off~ ~~"),
        ({"type": "string", "enum": ["", "a"]}, "~~ ~a~", "~b~"),
        ({"type": "string", "const": ""}, "~~", "~a~"),
        ({"type": "string", "enum": ['say"{}', "a|b", "ä\\n", "größe"]}, '~say"{}~ ~a|b~ ~ä\\n~ ~größe~', '~say"{~'),
        ({"type": "string", "minLength": 1, "maxLength": 2}, "~a~ ~äö~ ~{}~ ~😀😀~", "~~ ~abc~ ~|~ ~a ~\n~"),
        ({"type": "string", "maxLength": 0}, "~~", "~a~"),
        ({"type": "string", "pattern": "^[A-Z]/\\d$"}, "~B/1~", "~b/1~ ~B/1x~ ~~"),
        ({"type": "string", "pattern": "b"}, "~b~ ~abc~", "~a~ ~~"),
        ({"type": "array", "items": {"type": "boolean"}}, "[] [true] [true,false,true]", "[1] [true,] [,true] true"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2}, "[true] [true,true]", "[]"),
        ({"type": "array", "items": {"type": "boolean"}, "maxItems": 0}, "[]", "[true]"),
        (
            {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "boolean"}}}},
            "[] [{}] [{x:true},{}]",
            "[{x:1}] [{x:true,}] {x:true}",
        ),
    ],
)
def test_values(schema: dict[str, Any], right: str, wrong: str) -> None:
    assert [text for text in right.split() if not writes(f"v:{text}", v=schema)] == []
    assert [text for text in wrong.split(" ") if writes(f"v:{text}", v=schema)] == []


def test_texts_may_end_where_no_more_fits_the_pattern() -> None:
    """An intersection of this pattern with a length made llguidance 1.9.1 panic."""
    schema = {"type": "string", "pattern": "^.{0,5}x[^a-f]y$"}
    assert writes("v:~abcxry~", v=schema)
    assert not writes("v:~abcdefxry~", v=schema)


def test_control_tokens_cannot_stand_in_a_text() -> None:
    schema = {"type": "string"}
    assert writes("v:~press 1~", v=schema)
    for token in ("<tool_call|>", "<turn|>", "<|tool_call>", "<eos>"):
        assert not writes(f"v:~a{token}~", v=schema)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TOOLS)
def test_llguidance_has_nothing_against_it(tools: list[Tool]) -> None:
    lark = LLMatcher.grammar_from_lark(grammar(tools, MARKS))
    assert LLMatcher.validate_grammar_with_warnings(lark, GUIDE) == (False, [])
