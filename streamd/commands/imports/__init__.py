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
from streamd.errors import ConfigError

KINDS: Mapping[str, Callable[[str, str], Data]] = {
    "rhino": rhino,
    "hassil": hassil,
    "rhasspy": rhasspy,
    "openai": openai,
    "mcp": mcp,
}


def convert(kind: str, text: str, name: str) -> Data:
    """A pack's data from the text of a file called `name`. Raises ConfigError, and KeyError for an unknown kind."""
    importer = KINDS[kind]
    try:
        return {key: value for key, value in importer(text, name).items() if value}
    except (AttributeError, TypeError, KeyError, ValueError) as error:  # a list where keys should be, and the like
        raise ConfigError(f"{name}: not as {kind} writes it: {error!r}") from error
