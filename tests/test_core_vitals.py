"""How an engine does: its faults and its speed."""

from __future__ import annotations

from math import inf

import pytest

from streamd.core.route import Health, Rules
from streamd.core.vitals import Vitals

RULES = Rules(rest_s=100.0)


def test_an_engine_that_never_had_a_fault_is_steady_at_once() -> None:
    vitals = Vitals(RULES)
    assert vitals.health(0.0) == Health("starting")
    vitals.changed("ready", 5.0)
    assert vitals.health(5.0) == Health("ready", inf)


def test_after_a_fault_it_counts_from_its_return() -> None:
    vitals = Vitals(RULES)
    vitals.changed("respawning", 10.0)
    vitals.changed("ready", 15.0)
    assert vitals.health(20.0) == Health("ready", 5.0)
    vitals.failed(40.0)
    assert vitals.health(41.0) == Health("ready", 1.0)


def test_sound_that_came_in_meanwhile_counts_with_the_next_call() -> None:
    vitals = Vitals(RULES)
    vitals.worked(2.0, 4.0, 0.0)
    assert vitals.health(0.0).speed == 0.5


def test_a_caption_a_second_is_enough() -> None:
    """A guess for 0.2 s of sound that took 0.3 s is no sign of an engine that can't keep up."""
    vitals = Vitals(RULES)
    vitals.worked(0.3, 0.2, 0.0)
    assert vitals.health(0.0).speed == 0.3


def test_the_last_calls_weigh_most_and_one_slip_little() -> None:
    vitals = Vitals(RULES)
    for _ in range(20):
        vitals.worked(0.2, 1.0, 0.0)
    vitals.worked(1.5, 1.0, 0.0)
    assert vitals.health(0.0).speed == pytest.approx(0.2 + 1.3 / 5, abs=0.02)
    for _ in range(20):
        vitals.worked(1.5, 1.0, 0.0)
    assert vitals.health(0.0).speed == pytest.approx(1.5, abs=0.02)


def test_a_speed_that_was_too_slow_is_forgotten_after_ever_longer_rests() -> None:
    vitals = Vitals(RULES)
    vitals.worked(0.4, 1.0, 0.0)
    vitals.loaded()
    now_s = 0.0
    for rest_s in (100.0, 200.0, 400.0, 800.0, 1_600.0, 1_600.0):
        vitals.worked(9.0, 1.0, now_s)
        vitals.forgive(now_s + rest_s - 0.1)
        assert vitals.health(now_s + rest_s - 0.1).speed == pytest.approx(9.32 / 1.8)
        now_s += rest_s
        vitals.forgive(now_s)
        assert vitals.health(now_s).speed == 0.4
    vitals.worked(0.2, 1.0, now_s)
    vitals.worked(9.0, 1.0, now_s)
    vitals.forgive(now_s + 100.0)
    assert vitals.health(now_s + 100.0).speed == 0.4


def test_a_look_changes_nothing() -> None:
    vitals = Vitals(RULES)
    vitals.worked(2.0, 1.0, 0.0)
    assert [vitals.health(now_s).speed for now_s in (1_000.0, 99.0)] == [2.0, 2.0]


def test_what_was_slow_at_load_stays_so() -> None:
    vitals = Vitals(RULES)
    vitals.worked(2.0, 1.0, 0.0)
    vitals.loaded()
    vitals.forgive(1e6)
    assert vitals.health(1e6).speed == 2.0


def test_without_a_measure_at_load_nothing_is_known_after_a_rest() -> None:
    vitals = Vitals(RULES)
    vitals.forgive(100.0)
    vitals.worked(2.0, 1.0, 0.0)
    vitals.forgive(100.0)
    assert vitals.health(100.0).speed is None
