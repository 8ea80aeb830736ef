"""The limits of numbers in a JSON Schema, as an expression of the numerals that keep them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from streamd.core.tools.numerals import numerals

LOWER = ("minimum", "exclusiveMinimum")
UPPER = ("maximum", "exclusiveMaximum")
LIMITS = ("multipleOf", *LOWER, *UPPER)

MOST_INTEGER = 2**53 - 1  # of an integer without limits: JSON's readers hold no larger one exactly
MOST_NUMBER = 10**8  # of a number without limits
MOST_PLACES = 6  # behind the point of a number without multipleOf …
EXACT_DIGITS = 15  # … and no more digits than a double tells apart, or the limits would not hold for what is read back


class LimitError(ValueError):
    """Limits that can't be enforced, and the keyword to blame."""

    def __init__(self, keyword: str, why: str) -> None:
        self.keyword = keyword
        super().__init__(why)


def integers(schema: Mapping[str, Any]) -> str:
    """The integers that `schema` allows. Raises LimitError."""
    step = _exact(schema.get("multipleOf", 1))
    if step != int(step):
        raise LimitError("multipleOf", f"{step} is no integer")
    return _within(schema, MOST_INTEGER, 0, int(step))


def numbers(schema: Mapping[str, Any]) -> str:
    """The numbers that `schema` allows, with as many places as it needs. Raises LimitError."""
    if "multipleOf" in schema:
        step = _exact(schema["multipleOf"])
        places = max(0, -int(step.normalize().as_tuple().exponent))
        return _within(schema, MOST_NUMBER, places, int(step.scaleb(places)))
    limits = [MOST_NUMBER if limit is None else abs(int(limit[0])) for limit in (_low(schema), _high(schema))]
    places = max(0, min(MOST_PLACES, EXACT_DIGITS - len(str(max(limits)))))
    return _within(schema, MOST_NUMBER, places, 1)


def _within(schema: Mapping[str, Any], most: int, places: int, step: int) -> str:
    low, above = _low(schema) or (Decimal(-most), False)
    high, below = _high(schema) or (Decimal(most), False)
    first, last = math.ceil(low.scaleb(places)), math.floor(high.scaleb(places))
    first += above and first == low.scaleb(places)
    last -= below and last == high.scaleb(places)
    if places and len(str(max(abs(first), abs(last)))) > EXACT_DIGITS:
        raise LimitError("multipleOf", f"needs over {EXACT_DIGITS} digits from {low} to {high}: narrow them")
    try:
        return numerals(first, last, places, step)
    except ValueError as error:
        keyword = next((name for name in LIMITS if name in schema), "type")
        raise LimitError(keyword, f"from {low} to {high}: {error}: change the limits") from error


def _low(schema: Mapping[str, Any]) -> tuple[Decimal, bool] | None:
    """The lower limit, and whether it is excluded; None: there is none."""
    limits = [(_exact(schema[name]), name != "minimum") for name in LOWER if name in schema]
    return max(limits, default=None)


def _high(schema: Mapping[str, Any]) -> tuple[Decimal, bool] | None:
    limits = [(-_exact(schema[name]), name != "maximum") for name in UPPER if name in schema]
    found = max(limits, default=None)
    return found and (-found[0], found[1])


def _exact(number: float) -> Decimal:
    """The number as it is written; binary fractions would make 0.3 no multiple of 0.1."""
    return Decimal(str(number))
