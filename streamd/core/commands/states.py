"""What is known of the plant, for interlocks: told from outside, believed for a while."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter

from streamd.core.commands.definition import Scalar
from streamd.core.commands.reasons import Reason, either

MOST = 1_000  # states; the one that was told longest ago is forgotten

_Name = Annotated[str, Field(max_length=64)]
_Number = int | Annotated[float, Field(allow_inf_nan=False)]
_Text = Annotated[str, Field(max_length=200)]
_STATES: TypeAdapter[dict[str, Scalar]] = TypeAdapter(
    dict[_Name, bool | _Number | _Text], config=ConfigDict(strict=True)
)
WANTED = "names (to 64 characters) with true, false, numbers or texts (to 200)"


def checked(values: object) -> dict[str, Scalar]:
    """States as somebody tells them. Raises ValueError for what is not WANTED."""
    return _STATES.validate_python(values)


class States:
    """Names and values, each with the time at which it was last told."""

    def __init__(self, max_age_ms: int) -> None:
        self._max_age_ms = max_age_ms
        self._known: dict[str, tuple[Scalar, int]] = {}

    def tell(self, values: Mapping[str, Scalar], now_ms: int) -> None:
        """These are so now."""
        for name, value in values.items():
            self._known.pop(name, None)
            self._known[name] = (value, now_ms)
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def current(self, now_ms: int) -> dict[str, Scalar]:
        """Those that are still believed."""
        return {name: value for name, (value, at_ms) in self._known.items() if now_ms - at_ms <= self._max_age_ms}

    def blocked(self, interlock: Mapping[str, Scalar | tuple[Scalar, ...]], now_ms: int) -> str | None:
        """Which state is not as a command needs it, in words; None: all are. What nobody has told lately is not."""
        known = self.current(now_ms)
        for name, wanted in interlock.items():
            allowed = wanted if isinstance(wanted, tuple) else (wanted,)
            if name not in known:
                return Reason("interlock: nobody has told {} lately, and it must be {}", name, _either(allowed))
            if not any(_same(known[name], value) for value in allowed):
                return Reason("interlock: {} is {} and must be {}", name, _shown(known[name]), _either(allowed))
        return None


def parse(text: str) -> Scalar:
    """A value in an address: JSON's true, false and numbers, or else text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # brackets within brackets
        return text
    return value if isinstance(value, bool | int | float | str) else text


def _same(one: Scalar, other: Scalar) -> bool:
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def _either(values: tuple[Scalar, ...]) -> str:
    return either(map(_shown, values))


def _shown(value: Scalar) -> Scalar:
    return json.dumps(value) if isinstance(value, bool) else value
