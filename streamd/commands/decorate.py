"""Commands as decorated functions: sugar that makes the same definitions.

    press_line = Commands()

    @press_line.command(en=["set {press} to {speed}"], safety={"risk": "low"})
    def set_speed(press: Literal["press_1", "press_2"], speed: Annotated[float, Field(ge=0, le=120), Unit("rpm")]):
        \"\"\"Sets how fast a press runs.\"\"\"

`streamd commands lint my_module:press_line` reads them. A function is called where an installed package offers it under
the entry point group `streamd.commands`, by its own name if `dispatch` says nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, get_type_hints

from pydantic import TypeAdapter

from streamd.core.commands.definition import Command, Pack, Words

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Unit:
    """In an `Annotated`: the unit of a number."""

    name: str


@dataclass
class Commands:
    """Collects commands. `words` are hassil's lists and expansion rules, by language."""

    words: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    _commands: dict[str, Command] = field(default_factory=dict)

    def command(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        safety: Mapping[str, Any] | None = None,
        dispatch: Mapping[str, Any] | None = None,
        undo: Mapping[str, Any] | None = None,
        prompt: Mapping[str, str] | None = None,
        tests: Mapping[str, Any] | None = None,
        **sentences: list[Any],
    ) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
        """A function is a command; `sentences` by language. Raises ValueError like the definition itself."""

        def collect(function: Callable[_P, _R]) -> Callable[_P, _R]:
            name = function.__name__
            given = {
                "name": name,
                "description": inspect.getdoc(function) or "",
                "sentences": sentences,
                "params": params if params is not None else _params(function),
                "dispatch": dispatch or {"python": {"callable": name}},
                "undo": undo,
                "prompt": prompt or {},
                "safety": safety or {},
                "tests": tests or {},
            }
            self._commands[name] = Command.model_validate(given)
            return function

        return collect

    @property
    def pack(self) -> Pack:
        """All that was collected."""
        words = {language: Words.model_validate(said) for language, said in self.words.items()}
        return Pack(commands=self._commands, words=words)


def _params(function: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(function, include_extras=True)
    params = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints.get(name, str)
        schema = TypeAdapter(hint).json_schema()
        units = [item.name for item in getattr(hint, "__metadata__", ()) if isinstance(item, Unit)]
        schema |= {"unit": units[0]} if units else {}
        schema |= {"optional": True} if parameter.default is not parameter.empty else {}
        params[name] = schema
    return params
