"""Tools of language models: OpenAI's and MCP's. They say nothing of how they are spoken: names make a beginning."""

from __future__ import annotations

import json
import re
from typing import Any

from streamd.commands.imports.shared import Data, by_title
from streamd.core.commands.params import ENFORCED, SAID, TYPES
from streamd.errors import ConfigError

_HINTS = {"readOnlyHint": "changes nothing", "destructiveHint": "destroys", "idempotentHint": "may be repeated"}
_PARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_.\-]+")


_LISTS: Data = {  # of what has no values of its own
    "any_words": {"wildcard": True},
    "true_or_false": {"values": [{"in": "(true|on|yes)", "out": True}, {"in": "(false|off|no)", "out": False}]},
}


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}:{error.lineno}: not JSON: {error.msg}") from error


def openai(text: str, name: str) -> Data:
    """https://platform.openai.com/docs/guides/function-calling: a list of tools, or {"tools": [...]}."""
    data = _json(text, name)
    tools = data.get("tools", [data]) if isinstance(data, dict) else data
    commands = []
    for tool in tools:
        if tool.get("type", "function") != "function":
            continue  # what runs at OpenAI's, such as code_interpreter
        function = tool.get("function", tool)
        schema = function.get("parameters") or {}
        title = function["name"]
        commands.append((title, _tool(title, function.get("description", ""), schema, name)))
    return {"language": "en", "commands": by_title(commands, name), "lists": _LISTS}


def mcp(text: str, name: str) -> Data:
    """https://modelcontextprotocol.io/specification/server/tools: the result of tools/list, or its `tools`.

    What a server says of a tool's effects is passed on to whoever edits the pack, and decides nothing.
    """
    data = _json(text, name)
    if isinstance(data, dict):
        data = data.get("result", data)
    tools = data.get("tools", [data]) if isinstance(data, dict) else data
    commands = [
        (tool["name"], _tool(tool["name"], _described(tool), tool.get("inputSchema") or {}, name)) for tool in tools
    ]
    return {"language": "en", "commands": by_title(commands, name), "lists": _LISTS}


def _described(tool: Data) -> str:
    """Its description, and the hints of its server."""
    described: str = tool.get("description", "")
    hints = tool.get("annotations") or {}
    said = [words for hint, words in _HINTS.items() if hints.get(hint) is True]
    if not said:
        return described
    return f"{described or _spoken(tool['name'])} (says its server: {', '.join(said)})"


def _tool(title: str, description: str, schema: Data, name: str) -> Data:
    """A tool says nothing of how it is spoken: its name and those of its parameters are a beginning."""
    required = schema.get("required", [])
    params, said = {}, _spoken(title)
    for slot, body in schema.get("properties", {}).items():
        params[slot] = _tool_param(slot, body, title, name) | ({} if slot in required else {"optional": True})
        spoken = f"{_spoken(slot)} {_reference(slot, params[slot])}"
        said += f" {spoken}" if slot in required else f" [{spoken}]"
    return {"description": description, "sentences": [said], "params": params, "safety": {"risk": "confirm"}}


def _reference(slot: str, param: Data) -> str:
    """What is said for a parameter."""
    listed = {"boolean": "true_or_false", "string": "any_words"}.get(str(param.get("type")))
    return f"{{{slot}}}" if listed is None or "enum" in param or "const" in param else f"{{{listed}:{slot}}}"


def _tool_param(slot: str, body: Data, title: str, name: str) -> Data:
    """A property as far as it can be spoken and enforced."""
    for union in ("anyOf", "oneOf"):  # as pydantic writes what may be left out
        kinds = [kind for kind in body.get(union) or () if kind.get("type") != "null"]
        if len(kinds) == 1:
            body = {key: value for key, value in body.items() if key != union} | kinds[0]
    if None in (body.get("enum") or ()):
        body = body | {"enum": [value for value in body["enum"] if value is not None]}
    if isinstance(body.get("type"), list):
        body = body | {"type": next((kind for kind in body["type"] if kind != "null"), None)}
    if "enum" not in body and "const" not in body and body.get("type") not in TYPES:
        raise ConfigError(
            f"{name}: {title}: {slot} is a {body.get('type')}, which nobody can speak: leave the tool out"
        )
    if lost := sorted(body.keys() - ENFORCED - SAID):
        raise ConfigError(
            f"{name}: {title}: {slot}: {', '.join(lost)} can't be enforced on what was said: leave it out"
        )
    return dict(body)


def _spoken(title: str) -> str:
    return " ".join(part.lower() for part in _PARTS.split(title) if part)
