from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.tools.numerals import numerals


def plain(number: int, places: int) -> str:
    """`number` / 10 ** `places` without zeros at the end."""
    return format(Decimal(number).scaleb(-places).normalize(), "f")


STEPS = st.sampled_from([1, 1, 2, 3, 5, 7, 10, 25, 50, 125])


@given(st.integers(-3_000, 3_000), st.sampled_from([0, 1, 5, 60, 700]), st.integers(0, 3), STEPS)
def test_what_is_matched_is_what_is_in_the_range(low: int, span: int, places: int, step: int) -> None:
    low, high = low // step * step, low // step * step + span * step
    expression = re.compile(numerals(low - step // 2, high + step // 2, places, step))
    for number in {*range(low - 120, min(high, low + 1_500) + 120), *range(high - 20, high + 20)}:
        inside = low <= number <= high and number % step == 0
        assert bool(expression.fullmatch(plain(number, places))) is inside, number


ROUND_STEPS = STEPS.filter(lambda step: step not in (3, 7))


@given(st.integers(0, 10**6), st.integers(10**7, 10**9), st.integers(0, 3), ROUND_STEPS)
def test_long_ranges_are_told_by_their_last_digits(low: int, high: int, places: int, step: int) -> None:
    expression = re.compile(numerals(low, high, places, step))
    for middle in (low, 10**7 // 2, high, -low):
        for number in range(middle - 60, middle + 60):
            inside = low <= number <= high and number % step == 0
            assert bool(expression.fullmatch(plain(number, places))) is inside, number


@pytest.mark.parametrize("low", [-12_000, 0, 12_000])
def test_a_range_without_a_whole_unit_of_last_digits(low: int) -> None:
    """Sixteen divides ten thousand: more numbers than are listed may lie in the ends of two units."""
    high = low + 16 * 1_100
    expression = re.compile(numerals(low, high, 0, 16))
    for number in range(low - 50, high + 50):
        assert bool(expression.fullmatch(str(number))) is (low <= number <= high and number % 16 == 0), number


@pytest.mark.parametrize("text", ["-0", "00", "01", "+1", "1.", ".5", "1e1", "", "-0.0", "1.0000000", " 1"])
def test_one_way_to_write_them(text: str) -> None:
    assert re.fullmatch(numerals(-(10**7), 10**7, 6), text) is None


@pytest.mark.parametrize("text", ["0", "1.5", "1.50", "-0.000001", "10", "0.0"])
def test_zeros_behind_the_point_are_free(text: str) -> None:
    assert re.fullmatch(numerals(-(10**7), 10**7, 6), text)


def test_what_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="no such number"):
        numerals(1, 6, 0, 7)
    with pytest.raises(ValueError, match="last digits"):
        numerals(0, 10**6, 0, 7)
    with pytest.raises(ValueError, match="last digits"):
        numerals(0, 10**9, 5, 2)
