"""Parameters of commands: which JSON Schemas can be enforced, and whether values obey them.

https://json-schema.org/draft/2020-12/json-schema-validation, for scalars only: nobody speaks an array. Two keywords
are ours: `unit`, in which a number reaches the target, and `optional`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match

from streamd.core.commands.reasons import Reason

# fmt: off
ENFORCED = frozenset({
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "pattern",
    "minLength", "maxLength",
})
SAID = frozenset({"title", "description", "default", "examples", "unit", "optional"})  # to people and to us
# fmt: on
_LIMITS = {
    "maximum": "{} is greater than the maximum of {}",
    "minimum": "{} is less than the minimum of {}",
    "exclusiveMaximum": "{} is greater than or equal to the maximum of {}",
    "exclusiveMinimum": "{} is less than or equal to the minimum of {}",
    "multipleOf": "{} is not a multiple of {}",
}
TYPES = frozenset({"string", "number", "integer", "boolean"})


def check_param(name: str, schema: Mapping[str, Any]) -> None:
    """Raises ValueError that names what can't be enforced, or what is no schema at all."""
    for keyword in schema:
        if keyword not in ENFORCED | SAID:
            known = ", ".join(sorted(ENFORCED))
            raise ValueError(f"{name}: {keyword} can't be enforced on what was said: use {known}, or leave it out")
    if "type" not in schema and "enum" not in schema and "const" not in schema:
        raise ValueError(f"{name}: has neither type nor enum, so anything could be said: give one")
    if "type" in schema and schema["type"] not in TYPES:
        raise ValueError(f"{name}: type {schema['type']!r} can't be spoken: use one of {', '.join(sorted(TYPES))}")
    if not isinstance(schema.get("optional", False), bool):
        raise ValueError(f"{name}: optional is true or false, not {schema['optional']!r}")
    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        raise ValueError(f"{name}: {'.'.join(map(str, error.path))}: {error.message}") from error


def is_number(schema: Mapping[str, Any]) -> bool:
    """Whether the parameter is a quantity, so that figures may stand in a sentence for it."""
    return schema.get("type") in ("number", "integer")


def fault(schema: Mapping[str, Any], value: Any) -> str | None:
    """Why `value` is outside the schema, in words, or None where it is inside."""
    frozen = tuple(sorted((key, _hashable(item)) for key, item in schema.items() if key in ENFORCED))
    error = best_match(_validator(frozen).iter_errors(_exact(value)))
    if error is None:
        return None
    if template := _LIMITS.get(str(error.validator)):
        return Reason(template, error.instance, error.validator_value)
    if error.validator == "enum":
        return Reason("{} is not one of {}", _words(repr(error.instance)), _words(repr(error.validator_value)))
    return _words(error.message)


@lru_cache(maxsize=1_000)
def _validator(schema: tuple[tuple[str, Any], ...]) -> Draft202012Validator:
    return Draft202012Validator({key: list(item) if isinstance(item, tuple) else item for key, item in schema})


def _hashable(item: Any) -> Any:
    return tuple(map(_exact, item)) if isinstance(item, list | tuple) else _exact(item)


def _exact(value: Any) -> Any:
    """Binary fractions make 0.3 no multiple of 0.1."""
    return Decimal(str(value)) if isinstance(value, float) else value


def _words(message: str) -> str:
    return re.sub(r"Decimal\('([^']*)'\)", r"\1", message)
