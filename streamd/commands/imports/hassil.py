"""Home Assistant's custom sentences: templates, lists and rules are taken as they are.

https://developers.home-assistant.io/docs/voice/intent-recognition/template-sentence-syntax
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from streamd.commands.documents import read_yaml
from streamd.commands.imports.shared import AT_ONCE, Data, mark_optional, slots_of
from streamd.errors import ConfigError


def hassil(text: str, name: str) -> Data:
    """Intents as a pack's data."""
    data, lines = read_yaml(text, name)
    intents = data.get("intents")
    if not isinstance(intents, dict):
        raise ConfigError(f"{name}: no custom sentences: it has no intents")
    language = str(data.get("language", "en"))
    lists, rules = data.get("lists") or {}, data.get("expansion_rules") or {}
    commands = {}
    for intent, body in intents.items():
        sentences: list[Any] = []
        for number, block in enumerate((body or {}).get("data") or []):
            if held := {"requires_context", "excludes_context", "lists", "expansion_rules"} & block.keys():
                place = lines.get(("intents", intent, "data", number), name)
                raise ConfigError(
                    f"{place}: {', '.join(sorted(held))} of one block: streamd knows those of a pack only"
                )
            fixed = block.get("slots") or {}
            sentences += [{"template": item, "params": fixed} if fixed else item for item in block.get("sentences", [])]
        if not sentences:
            continue
        params = params_of_lists(sentences, lists, rules)
        commands[intent] = {"sentences": sentences, "params": params, "safety": AT_ONCE}
    return {"language": language, "commands": commands, "lists": lists, "expansion_rules": rules}


def params_of_lists(sentences: list[Any], lists: Mapping[str, Any], rules: Mapping[str, str]) -> Data:
    """The parameters that templates fill, with what the lists that they refer to can give."""
    said = [
        (item["template"], item["params"]) if isinstance(item, dict) else (str(item), {}) for item in sentences
    ]  # fmt: skip
    params: Data = {}
    for template, fixed in said:
        given = [(slot, _param_of_list(title, lists.get(title))) for slot, title in slots_of(template, rules)]
        for slot, param in [*given, *((slot, {"enum": [value]}) for slot, value in fixed.items())]:
            known = params.setdefault(slot, param)
            if "enum" in known:
                known["enum"] = list(dict.fromkeys([*known["enum"], *param.get("enum", [])]))
    mark_optional(params, said, rules)
    return params


def _param_of_list(title: str, body: Any) -> Data:
    inline = re.fullmatch(r"(-?\d+)\.\.(-?\d+)(?:,\d+)?", title)
    if inline:
        return {"type": "number", "minimum": int(inline[1]), "maximum": int(inline[2])}
    if not isinstance(body, dict) or body.get("wildcard"):
        return {"type": "string", "maxLength": 200}
    if span := body.get("range"):
        multiplier = span.get("multiplier") or 1
        low, high = span["from"] * multiplier, span["to"] * multiplier
        return {"type": "number", "minimum": min(low, high), "maximum": max(low, high)}
    values = [value.get("out", value["in"]) if isinstance(value, dict) else value for value in body.get("values", [])]
    return {"enum": list(dict.fromkeys(values))}
