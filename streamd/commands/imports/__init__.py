"""Grammars of other systems → packs. Slots become parameters of the same names, and their values stay as they are.

What carries its orders out at once elsewhere gets `risk: low`; of tools, only one that says it reads is `read`, and all
others are confirmed first. All of it is written down in the pack, for somebody to review.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamd.commands.imports.hassil import hassil
from streamd.commands.imports.rhasspy import rhasspy
from streamd.commands.imports.rhino import rhino
from streamd.commands.imports.shared import Data
from streamd.commands.imports.tools import mcp, openai

KINDS: Mapping[str, Callable[[str, str], Data]] = {
    "rhino": rhino,
    "hassil": hassil,
    "rhasspy": rhasspy,
    "openai": openai,
    "mcp": mcp,
}


def convert(kind: str, text: str, name: str) -> Data:
    """A pack's data from the text of a file called `name`. Raises ConfigError, and KeyError for an unknown kind."""
    return {key: value for key, value in KINDS[kind](text, name).items() if value}
