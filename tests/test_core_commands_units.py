"""Units: exact, there and back, and only among their own kind."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.units import Unit, compatible, convert, units

# Values from NIST SP 811, appendix B, and the definitions of the units.
KNOWN = [
    ("70", "psi", "bar", "4.82633011"),
    ("1", "in", "mm", "25.4"),
    ("212", "°F", "°C", "100"),
    ("-40", "°C", "°F", "-40"),
    ("2", "rps", "rpm", "120"),
    ("300", "mm/min", "m/s", "0.005"),
    ("95", "rpm", "rpm", "95"),
]


@pytest.mark.parametrize(("value", "said", "wanted", "result"), KNOWN)
def test_values_are_converted(value: str, said: str, wanted: str, result: str) -> None:
    assert convert(Decimal(value), units()[said], wanted) == Decimal(result)


def test_units_keep_to_their_kind() -> None:
    assert [unit.names[0] for unit in compatible("bar")] == ["Pa", "kPa", "MPa", "mbar", "bar", "psi"]
    assert compatible("pieces") == ()


PAIRS = [(said, wanted) for wanted in units() for said in compatible(wanted)]


@given(st.sampled_from(PAIRS), st.decimals(-1_000, 1_000, places=1))
def test_there_and_back(pair: tuple[Unit, str], value: Decimal) -> None:
    said, wanted = pair
    back = convert(convert(value, said, wanted), units()[wanted], said.names[0])
    assert abs(back - value) <= Decimal("0.000001") * (abs(value) + 1)
