"""What people are asked, in the language in which the order was given: English and German; others are asked in English.

The values are always in it, whatever a pack's own `prompt` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from streamd.core.commands.definition import Command, Scalar

_DONE = {"en": "Was it done: {}?", "de": "Wurde es ausgeführt: {}?"}
_UNDO = {"en": "Take back “{}”", "de": "„{}“ zurücknehmen"}
ELSE = "en"  # for languages of which nothing is known


def read_back(command: Command, params: Mapping[str, Scalar], sentence: str, language: str) -> str:
    """What is about to be done, in words and in values."""
    own = command.prompt.get(language)
    asked = re.sub(r"\{(\w+)\}", lambda found: str(params.get(found[1], "")), own) if own else f"{_capital(sentence)}?"
    return f"{asked} ({values(command, params)})"


def undone(sentence: str, language: str) -> str:
    """The sentence of a question that asks whether another one is to be taken back."""
    return _UNDO.get(language, _UNDO[ELSE]).format(sentence)


def was_done(name: str, language: str) -> str:
    """A question of those who can see it; `name` as `values` gives it."""
    return _DONE.get(language, _DONE[ELSE]).format(name)


def values(command: Command | str | None, params: Mapping[str, Scalar]) -> str:
    """A command and its parameters; with their units where the whole command is known, not only its name."""
    schemas = command.params if isinstance(command, Command) else {}
    units = {name: f" {schema['unit']}" for name, schema in schemas.items() if "unit" in schema}
    told = ", ".join(f"{key} = {value}{units.get(key, '')}" for key, value in params.items())
    name = command.name if isinstance(command, Command) else command
    return f"{name}: {told}" if told else f"{name}"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
