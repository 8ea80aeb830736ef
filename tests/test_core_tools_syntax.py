from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.tools.syntax import CallSyntaxError, declaration, read, written
from streamd.core.tools.tool import Tool, ToolCall
from tests.tool_schemas import NAMES, VALUES

Q = '<|"|>'


def told(parameters: str, description: str = "Does it.") -> str:
    return f"<|tool>declaration:go{{description:{Q}{description}{Q},parameters:{{{parameters}}}}}<tool|>"


def test_a_declaration_is_what_the_chat_template_writes() -> None:
    """The expected text was made by the template of google/gemma-4-E4B-it with Jinja."""
    parameters = {
        "type": "object",
        "properties": {
            "speed": {"type": "number", "description": "In rpm", "minimum": 0, "maximum": 120},
            "Mode": {"type": "string", "enum": ["eco", 'b"{}']},
            "level": {"type": "integer", "enum": [1, 2]},
            "free": {"type": "object", "properties": {}},
            "zones": {
                "type": "array",
                "description": "Where",
                "maxItems": 3,
                "items": {
                    "type": "object",
                    "description": "A zone",
                    "properties": {"name": {"type": "string"}, "on": {"type": "boolean", "description": "Lit"}},
                    "required": ["name"],
                },
            },
            "where": {
                "type": "object",
                "properties": {"type": {"type": "string"}, "x": {"type": "integer"}},
                "required": ["x", "type"],
            },
            "tags": {"type": "array", "items": {"type": "string", "enum": ["a"], "default": None, "minLength": 1}},
            "grid": {"type": "array", "items": {"type": "array", "items": {"type": "number", "maximum": 0.5}}},
        },
        "required": ["speed", "Mode"],
    }
    assert declaration(Tool("go", "Does it.", parameters)) == told(
        f"properties:{{"
        f"free:{{properties:{{}},type:{Q}OBJECT{Q}}},"
        f"grid:{{items:{{items:{{{Q}maximum{Q}:0.5,{Q}type{Q}:{Q}number{Q}}},type:{Q}ARRAY{Q}}},type:{Q}ARRAY{Q}}},"
        f"level:{{type:{Q}INTEGER{Q}}},"
        f'Mode:{{enum:[{Q}eco{Q},{Q}b"{{}}{Q}],type:{Q}STRING{Q}}},'
        f"speed:{{description:{Q}In rpm{Q},type:{Q}NUMBER{Q}}},"
        f"tags:{{items:{{enum:[{Q}a{Q}],minLength:1,type:{Q}STRING{Q}}},type:{Q}ARRAY{Q}}},"
        f"where:{{properties:{{type:{{type:{Q}STRING{Q}}},x:{{type:{Q}INTEGER{Q}}}}},"
        f"required:[{Q}x{Q},{Q}type{Q}],type:{Q}OBJECT{Q}}},"
        f"zones:{{description:{Q}Where{Q},items:{{description:{Q}A zone{Q},properties:{{name:{{type:{Q}STRING{Q}}},"
        f"on:{{description:{Q}Lit{Q},type:{Q}BOOLEAN{Q}}}}},required:[{Q}name{Q}],type:{Q}OBJECT{Q}}},"
        f"type:{Q}ARRAY{Q}}}}},"
        f"required:[{Q}speed{Q},{Q}Mode{Q}],type:{Q}OBJECT{Q}"
    )


def test_a_tool_without_parameters() -> None:
    assert declaration(Tool("go", "")) == told(f"type:{Q}OBJECT{Q}", description="")


def test_a_schema_may_say_null_to_readers() -> None:
    items = {"type": "string", "examples": [None, True]}
    parameters = {"type": "object", "properties": {"xs": {"type": "array", "items": items}}}
    assert f"items:{{examples:[None,true],type:{Q}STRING{Q}}}" in declaration(Tool("go", "", parameters))


def test_a_call_is_written_as_in_the_template() -> None:
    values = {"tags": [], "big": 1e21, "Z": {"b": [1, "two", {"k": False}], "a": -0.25}, "q": 'x "y"'}
    assert written(ToolCall("go", values)) == (
        f'<|tool_call>call:go{{big:1e+21,q:{Q}x "y"{Q},tags:[],Z:{{a:-0.25,b:[1,{Q}two{Q},{{k:false}}]}}}}<tool_call|>'
    )


@given(NAMES, st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_written_is_read(name: str, arguments: dict[str, object]) -> None:
    call = ToolCall(name, arguments)
    again = read(written(call))
    assert again == call
    assert written(again) == written(call)  # true is not 1, 1.0 is not 1


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), f"a{Q}b", {"a": {1}}])
def test_what_cannot_be_written(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's words and ours
        written(ToolCall("go", {"x": value}))


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("", "{ expected"),
        ("{", "a name expected"),
        ("{a}", ": expected"),
        ("{a:}", "a value expected"),
        ("{a:1,}", "a name expected"),
        ("{a:1 }", ", expected"),
        ("{a:1;b:2}", ", expected"),
        ("{a=1}", ": expected"),
        ("{a:01}", ", expected"),
        ("{a:+1}", "a value expected"),
        ("{a:null}", "a value expected"),
        ('{a:"text"}', "a value expected"),
        (f"{{a:{Q}text}}", "somewhere expected"),
        ("{a:[1,]}", "a value expected"),
        ("{a:[1}", ", expected"),
        ("{a:1,a:2}", "a name other than a"),
        ("{a:" + 20 * "[" + 20 * "]" + "}", "at most 16 levels expected"),
        ("{} ", "<tool_call|> expected"),
    ],
)
def test_what_is_no_call(inner: str, expected: str) -> None:
    with pytest.raises(CallSyntaxError, match=r"^no tool call: .*at character \d") as caught:
        read(f"<|tool_call>call:go{inner}<tool_call|>")
    assert expected.removesuffix(" expected") in str(caught.value)


@pytest.mark.parametrize("text", ["", "none<turn|>", "<|tool_call>go{}<tool_call|>", "<|tool_call>call:{}<tool_call|>"])
def test_other_answers_are_no_calls(text: str) -> None:
    with pytest.raises(CallSyntaxError):
        read(text)


def test_nothing_may_follow() -> None:
    with pytest.raises(CallSyntaxError, match=re.escape("the end expected at character 33, found '<|tool_response>'")):
        read("<|tool_call>call:go{}<tool_call|><|tool_response>")
