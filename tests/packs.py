"""A press line that takes orders in English and German: what tests of voice commands speak about."""

from __future__ import annotations

from typing import Any

from streamd.core.commands.definition import Pack

PRESSES = {"type": "string", "enum": ["press_1", "press_2", "press_3"]}
SPEED = {"type": "number", "minimum": 0, "maximum": 120, "multipleOf": 0.5, "unit": "rpm"}
PRESSURE = {"type": "number", "minimum": 0, "maximum": 10, "unit": "bar"}
PRESS_LINE: dict[str, Any] = {
    "commands": {
        "set_speed": {
            "name": "set_speed",
            "sentences": {
                "en": ["(set|change) [the speed of] {press} to {speed} [please]"],
                "de": ["stell[e] [die] Presse {press} auf {speed} [ein]"],
            },
            "params": {"press": PRESSES, "speed": SPEED},
        },
        "set_pressure": {
            "name": "set_pressure",
            "sentences": {
                "en": ["set [the] pressure [of {press}] to {pressure}"],
                "de": ["stell[e] [den] Druck [von Presse {press}] auf {pressure}"],
            },
            "params": {"press": PRESSES | {"optional": True}, "pressure": PRESSURE},
        },
        "light": {
            "name": "light",
            "sentences": {
                "en": [
                    {"template": "(turn|switch) on [the] light[s]", "params": {"on": True}},
                    {"template": "(turn|switch) off [the] light[s]", "params": {"on": False}},
                    "light {on}",
                ],
                "de": [
                    {"template": "Licht (an|ein)", "params": {"on": True}},
                    {"template": "Licht aus", "params": {"on": False}},
                ],
            },
            "params": {"on": {"type": "boolean"}},
            "safety": {"risk": "low"},
        },
        "stop": {
            "name": "stop",
            "sentences": {"en": ["stop [the] (line;now)", "halt <at_once>"], "de": ["[Anlage] stopp"]},
            "safety": {"risk": "low"},
        },
        "note": {
            "name": "note",
            "sentences": {"en": ["note {text} for the shift"]},
            "params": {"text": {"type": "string", "maxLength": 40}},
        },
        "tilt": {
            "name": "tilt",
            "sentences": {"en": ["tilt {0..90,10:angle} degrees", "tilt a bit {steps}"]},
            "params": {"angle": {"type": "integer", "optional": True}, "steps": {"type": "number", "optional": True}},
        },
        "mode": {
            "name": "mode",
            "sentences": {"en": ["mode {mode}", "feed {feed}"]},
            "params": {
                "mode": {"const": "fully_automatic", "optional": True},
                "feed": {"type": "integer", "enum": [1, 5, 25], "optional": True},
            },
        },
    },
    "words": {
        "en": {
            "lists": {
                "press": {
                    "values": [
                        {"in": "press [number] one", "out": "press_1"},
                        {"in": "press [number] (two|2)", "out": "press_2"},
                        {"in": "press [number] three", "out": "press_3"},
                        {"in": "press twenty-one", "out": "press_21"},
                    ]
                },
                "on": {"values": [{"in": "on", "out": True}, {"in": "off", "out": False}]},
                "text": {"wildcard": True},
                "steps": {"range": {"from": -2, "to": 2, "fractions": "halves", "multiplier": 0.1}},
            },
            "expansion_rules": {"at_once": "(at once|immediately|this very second)"},
        },
        "de": {
            "lists": {
                "press": {
                    "values": [
                        {"in": "[Nummer] eins", "out": "press_1"},
                        {"in": "[Nummer] zwei", "out": "press_2"},
                        {"in": "[Nummer] drei", "out": "press_3"},
                    ]
                }
            }
        },
    },
}


def press_line(**commands: Any) -> Pack:
    """The press line, with other commands beside it or instead of its own."""
    return Pack.model_validate({**PRESS_LINE, "commands": {**PRESS_LINE["commands"], **commands}})
