"""What an audit says of a night of noise."""

from __future__ import annotations

import math
from typing import Any

import pytest

from streamd.core.commands.soak import HOUR_MS, most, tally


def told(command_id: str, state: str, note: dict[str, Any] | None = None, **more: Any) -> tuple[str, Any, Any]:
    record = {"command_id": command_id, "state": state, "name": "stop", "shadow": True, "by": None}
    return "command", record | more, note or {}


def listened(hours: float, grammar: str = "g1", *, shadow: bool = True) -> tuple[str, Any, Any]:
    return "listened", {}, {"heard_ms": round(hours * HOUR_MS), "grammar": grammar, "shadow": shadow}


def test_hours_and_actions_are_counted_by_grammar_and_mode() -> None:
    first = {"grammar": "g1"}
    soaks = tally(
        [
            *(listened(7), told("a", "proposed", first), told("a", "confirmed"), told("a", "rejected")),
            *(told("b", "proposed", first), told("b", "awaiting_confirmation"), told("b", "expired")),
            *(told("c", "rejected", first), listened(1), listened(2, "g2"), listened(3, shadow=False)),
            *(told("unknown", "confirmed"), ("other", {}, {})),
        ]
    )
    seen = [(soak.grammar, soak.shadow, soak.hours) for soak in soaks]
    assert seen == [("g1", True, 8), ("g2", True, 2), ("g1", False, 3)]
    assert (dict(soaks[0].acted), dict(soaks[0].asked)) == ({"stop": 1}, {"stop": 1})
    assert soaks[0].acted_per_hour == 1 / 8
    assert soaks[0].at_most_per_hour == pytest.approx(4.744 / 8, abs=1e-3)
    assert soaks[1].at_most_per_hour == pytest.approx(1.498, abs=1e-3)


def test_without_an_hour_there_is_no_rate() -> None:
    (soak,) = tally([told("a", "proposed", {"grammar": "g1"})])
    assert math.isnan(soak.acted_per_hour)
    assert math.isnan(soak.at_most_per_hour)


@pytest.mark.parametrize(
    ("count", "mean"), [(0, 2.996), (1, 4.744), (2, 6.296), (5, 10.513), (10, 16.962), (100, 118.1)]
)
def test_the_bound_is_the_one_of_the_tables(count: int, mean: float) -> None:
    """Garwood's one-sided 95 % limits."""
    assert most(count) == pytest.approx(mean, abs=0.06)
