"""Questions in English and German, with the values in them whatever a pack says."""

from __future__ import annotations

import pytest

from streamd.core.commands.definition import Command, Scalar
from streamd.core.commands.prompts import read_back, undone, values, was_done

SPEED = Command.model_validate(
    {
        "name": "set_speed",
        "sentences": {"en": ["set {press} to {speed}"]},
        "params": {"press": {"type": "string"}, "speed": {"type": "number", "unit": "rpm"}},
        "prompt": {"de": "{press} wirklich auf {speed} Umdrehungen stellen{nothing}?"},
    }
)
STOP = Command.model_validate({"name": "stop", "sentences": {"en": ["stop the line"]}})
PARAMS: dict[str, Scalar] = {"press": "press_2", "speed": 95}


def test_a_sentence_is_asked_back_with_its_values_and_their_units() -> None:
    asked = read_back(SPEED, PARAMS, "set press 2 to 95", "en")
    assert asked == "Set press 2 to 95? (set_speed: press = press_2, speed = 95 rpm)"
    assert read_back(STOP, {}, "stop the line", "en") == "Stop the line? (stop)"


def test_a_pack_may_ask_otherwise_and_not_without_the_values() -> None:
    asked = read_back(SPEED, PARAMS, "stell Presse 2 auf 95", "de")
    assert asked == "press_2 wirklich auf 95 Umdrehungen stellen? (set_speed: press = press_2, speed = 95 rpm)"


@pytest.mark.parametrize(
    ("language", "back", "done"),
    [
        ("en", "Take back “light on”", "Was it done: stop?"),
        ("de", "„light on“ zurücknehmen", "Wurde es ausgeführt: stop?"),
        ("fr", "Take back “light on”", "Was it done: stop?"),
    ],
)
def test_languages(language: str, back: str, done: str) -> None:
    assert (undone("light on", language), was_done(values("stop", {}), language)) == (back, done)
