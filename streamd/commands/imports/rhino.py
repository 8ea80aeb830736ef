"""Picovoice's context YAML: [a, b] is a choice, (a, b) one that may be left out, $type:name a slot.

https://picovoice.ai/docs/rhino
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from streamd.commands.documents import read_yaml
from streamd.commands.imports.shared import AT_ONCE, Data, mark_optional
from streamd.errors import ConfigError

_SLOT = re.compile(r"\$([\w.]+):(\w+)")
_NUMBERS = {"pv.SingleDigitInteger": (0, 9), "pv.TwoDigitInteger": (0, 99), "pv.Percent": (0, 100)}
_SWAPPED = {"[": "(", "]": ")", "(": "[", ")": "]"}
_OPENS = {"]": "[", ")": "("}


def rhino(text: str, name: str) -> Data:
    """A context as a pack's data. Its brackets are the other way round than hassil's."""
    data, _ = read_yaml(text, name)
    context = data.get("context")
    if not isinstance(context, dict) or not isinstance(context.get("expressions"), dict):
        raise ConfigError(f"{name}: no Rhino context: it has no context.expressions")
    slots = {str(key): [str(value) for value in values] for key, values in (context.get("slots") or {}).items()}
    rules = {
        str(key): f"({'|'.join(_template(str(value), name) for value in values)})"
        for key, values in (context.get("macros") or {}).items()
    }
    commands = {}
    for intent, said in context["expressions"].items():
        expressions = said if isinstance(said, list) else [said]
        sentences = [_template(str(expression), name) for expression in expressions]
        used = {slot: kind for expression in expressions for kind, slot in _SLOT.findall(str(expression))}
        params = {slot: _param(kind, slots, name) for slot, kind in used.items()}
        mark_optional(params, [(sentence, {}) for sentence in sentences], rules)
        commands[str(intent)] = {"sentences": sentences, "params": params, "safety": AT_ONCE}
    lists = {
        kind: {"values": [{"in": _escaped(value), "out": value} for value in values]} for kind, values in slots.items()
    }
    return {"language": "en", "commands": commands, "lists": lists, "expansion_rules": rules}


def _param(kind: str, slots: Mapping[str, list[str]], name: str) -> Data:
    if kind in _NUMBERS:
        low, high = _NUMBERS[kind]
        return {"type": "integer", "minimum": low, "maximum": high}
    if kind not in slots:
        known = ", ".join(_NUMBERS)
        raise ConfigError(
            f"{name}: the slot type {kind} is not in context.slots, and of Rhino's own only {known} are known"
        )
    return {"type": "string", "enum": slots[kind]}


def _template(expression: str, name: str) -> str:
    """[a, b] → (a|b), (a, b) → [a|b], $type:name → {type:name}, @macro → <macro>."""
    template, depth = "", []
    for piece in re.findall(r"\$[\w.]+:\w+|@\w+|.", expression):
        if piece in "[(":
            depth.append(piece)
        elif piece in _OPENS and (not depth or depth.pop() != _OPENS[piece]):
            raise ConfigError(f"{name}: brackets don't match in {expression!r}")
        if slot := _SLOT.fullmatch(piece):
            kind, title = slot.groups()
            template += f"{{{title}}}" if kind == title or kind in _NUMBERS else f"{{{kind}:{title}}}"
        elif piece.startswith("@"):
            template += f"<{piece[1:]}>"
        elif piece == "," and depth:
            template = template.rstrip() + "|"
        elif not (piece == " " and template.endswith(("|", "(", "["))):
            template += _SWAPPED.get(piece, piece)
    if depth:
        raise ConfigError(f"{name}: brackets don't match in {expression!r}")
    return template


def _escaped(text: str) -> str:
    """A value as a template that says exactly it."""
    return re.sub(r"([()\[\]{}<>|;\\])", r"\\\1", text)
