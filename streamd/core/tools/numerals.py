"""Regular expressions of the decimal numerals in a range, so that a grammar can keep the limits of a schema.

They hold in Rust's and in Python's dialect alike. A numeral has no leading zeros, no exponent and no minus zero.
"""

from __future__ import annotations

import re

MOST_LISTED = 1_000
"""Alternatives that are written out one by one, at most."""


def numerals(low: int, high: int, places: int = 0, step: int = 1) -> str:
    """The multiples of `step` from `low` to `high`, both included, each divided by 10 ** `places`.

    Raises ValueError where there are none, or where neither listing them nor their last digits tell them.
    """
    low, high = -(-low // step) * step, high // step * step
    if low > high:
        raise ValueError("there is no such number")
    parts = []
    if low < 0:
        parts.append(f"-{_magnitudes(max(step, -high), -low, places, step)}")
    if high >= 0:
        parts.append(_magnitudes(max(low, 0), high, places, step))
    return _either(parts)


def _magnitudes(low: int, high: int, places: int, step: int) -> str:
    if step == 1:
        return _decimals(low, high, places)
    if (high - low) // step < MOST_LISTED:
        return _listed(low, high, places, step)
    return _by_last_digits(low, high, places, step)


def _listed(low: int, high: int, places: int, step: int) -> str:
    return _either([re.escape(_numeral(number, places)) for number in range(low, high + 1, step)])


def _numeral(number: int, places: int, width: int = 1) -> str:
    """`number` / 10 ** `places` as it is written; at least `width` digits before zeros at its end are dropped."""
    digits = str(number).zfill(max(places + 1, width))
    whole, fraction = digits[: len(digits) - places], digits[len(digits) - places :].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _by_last_digits(low: int, high: int, places: int, step: int) -> str:
    """Whether a number is a multiple shows in its last `width` digits, if `step` divides 10 ** `width`."""
    width = next((n for n in range(places, places + 10) if 10**n % step == 0), None)
    if width is None or 10**width // step > MOST_LISTED:
        raise ValueError(f"there are more than {MOST_LISTED:,} such numbers, and their last digits don't tell them")
    unit = 10**width
    first, last = low // unit, high // unit

    def ending(above: str, start: int, stop: int) -> str:
        ends = range(-(-start // step) * step, stop + 1, step)
        return above + _either([re.escape(_ending(end, places, width)) for end in ends])

    parts = [_listed(low, unit - 1, places, step) if first == 0 else ending(str(first), low % unit, unit - 1)]
    if last - first > 1:
        parts.append(ending(_integers(first + 1, last - 1), 0, unit - 1))
    parts.append(ending(str(last), 0, high % unit))
    return _either(parts)


def _ending(number: int, places: int, width: int) -> str:
    """The last `width` digits of a numeral, which may all stand behind the point."""
    return _numeral(number, places, width + 1).removeprefix("0")


def _decimals(low: int, high: int, places: int) -> str:
    if not places:
        return _integers(low, high)
    unit = 10**places
    (first, start), (last, stop) = divmod(low, unit), divmod(high, unit)
    if first == last:
        return f"{first}{_fraction(start, stop, places)}"
    parts = [f"{first}{_fraction(start, unit - 1, places)}"]
    if last - first > 1:
        parts.append(f"{_integers(first + 1, last - 1)}{_fraction(0, unit - 1, places)}")
    parts.append(f"{last}{_fraction(0, stop, places)}")
    return _either(parts)


def _integers(low: int, high: int) -> str:
    parts = []
    for width in range(len(str(low)), len(str(high)) + 1):
        start, stop = max(low, 10 ** (width - 1) if width > 1 else 0), min(high, 10**width - 1)
        parts.append(_between(str(start), str(stop)))
    return _either(parts)


def _between(low: str, high: str) -> str:
    """Digits of the width of `low` and `high`, which is the same."""
    rest = len(low) - 1
    if not low:
        return ""
    if low[0] == high[0]:
        return low[0] + _between(low[1:], high[1:])
    parts, first, last = [], int(low[0]), int(high[0])
    if low[1:].strip("0"):
        parts.append(low[0] + _between(low[1:], "9" * rest))
        first += 1
    if high[1:].strip("9"):
        parts.append(high[0] + _between("0" * rest, high[1:]))
        last -= 1
    if first <= last:
        parts.append(_digit(first, last) + (f"[0-9]{{{rest}}}" if rest else ""))
    return _either(parts)


def _fraction(low: int, high: int, places: int) -> str:
    """What follows the integer: nothing, or a point and up to `places` digits, from `low` to `high` once filled up."""
    start, stop = str(low).zfill(places), str(high).zfill(places)
    digits = rf"\.{_filled(start, stop, empty=False)}"
    return digits if low else f"({digits})?"


def _filled(low: str, high: str, *, empty: bool) -> str:
    """Digits that, with zeros behind them, are from `low` to `high`; none at all only if `empty` and `low` is 0."""
    places = len(low)
    zero = not low.strip("0")
    if zero and not high.strip("9"):
        return f"[0-9]{{{0 if empty else 1},{places}}}" if places else ""
    parts, first, last = [], int(low[0]), int(high[0])
    if first == last:
        parts.append(low[0] + _filled(low[1:], high[1:], empty=True))
    else:
        if not zero:
            parts.append(low[0] + _filled(low[1:], "9" * (places - 1), empty=True))
            first += 1
        if high.strip("9"):
            parts.append(high[0] + _filled("0" * (places - 1), high[1:], empty=True))
            last -= 1
        if first <= last:
            parts.append(_digit(first, last) + _filled("0" * (places - 1), "9" * (places - 1), empty=True))
    return f"({_either(parts)})?" if empty and zero else _either(parts)


def _digit(first: int, last: int) -> str:
    return str(first) if first == last else f"[{first}-{last}]"


def _either(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"
