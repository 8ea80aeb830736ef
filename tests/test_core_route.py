"""Which engine hears: the table, and what holds for any course of events."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core import route
from streamd.core.route import (
    TABLE,
    Choice,
    Condition,
    Facts,
    Health,
    Reason,
    Role,
    Rules,
    State,
    Talk,
    choose,
    condition,
)

S, L = Role.SHORT, Role.LONG
RULES = Rules()
READY = Health("ready")
SHAKY = Health("ready", steady_s=29.9)
SLOW = Health("ready", speed=0.6)
LOADING, AGAIN, FAILED = Health("starting"), Health("respawning", 0.0), Health("failed", 0.0)


def first(short: Health = READY, long: Health = READY, rules: Rules = RULES, **facts: object) -> Choice:
    """The choice of a session in which nobody has heard yet."""
    return choose(replace(Facts(0.0, short, long), **facts), None, rules)  # type: ignore[arg-type]


# --- the table ---


def test_the_table_is_the_one_that_is_documented() -> None:
    """Row by row, as it stands at the top of the module."""
    assert route.__doc__
    rows = re.findall(r"(GOOD|SLOW|SHAKY|COMING|OUT) +([SL]) +([SL]) +([SL]) +([SL-])$", route.__doc__, re.MULTILINE)
    letters = {S: "S", L: "L", None: "-"}
    written = [
        (
            short.name,
            *(letters[row[long]] for long in (Condition.GOOD, Condition.SHAKY, Condition.COMING, Condition.OUT)),
        )
        for asked in (S, L)
        for short, row in TABLE[asked].items()
    ]
    assert rows == written
    assert len(rows) == 10


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (READY, Condition.GOOD),
        (Health("ready", 30.0), Condition.GOOD),
        (Health("ready", speed=0.59), Condition.GOOD),
        (SLOW, Condition.SLOW),
        (SHAKY, Condition.SHAKY),
        (replace(SLOW, steady_s=0.0), Condition.SHAKY),
        (LOADING, Condition.COMING),
        (AGAIN, Condition.COMING),
        (FAILED, Condition.OUT),
        (Health("closed"), Condition.OUT),
        (Health(), Condition.OUT),
    ],
)
def test_what_an_engine_can_do(health: Health, expected: Condition) -> None:
    assert condition(S, Facts(0.0, short=health), None, RULES) is expected
    unanswered = Facts(0.0, short=health, unanswered={S})
    assert condition(S, unanswered, None, RULES) is Condition.OUT


def test_the_engine_for_long_sessions_is_never_slow() -> None:
    assert condition(L, Facts(0.0, long=Health("ready", speed=9.0)), None, RULES) is Condition.GOOD


@pytest.mark.parametrize(
    ("facts", "role", "reason"),
    [
        ({}, S, Reason.SHORT),
        ({"age_s": 1_799.9, "unbroken_s": 27.9}, S, Reason.SHORT),
        ({"age_s": 1_800.0}, L, Reason.SESSION),
        ({"unbroken_s": 28.0}, L, Reason.SPEECH),
        ({"wish": S, "age_s": 9_999.0}, S, Reason.WISH),
        ({"wish": S, "unbroken_s": 28.0}, L, Reason.SPEECH),
        ({"wish": L}, L, Reason.WISH),
        ({"long": Health(), "unbroken_s": 60.0, "wish": L}, S, Reason.ONLY),
        ({"short": Health()}, L, Reason.ONLY),
        ({"short": Health(), "wish": S}, L, Reason.ONLY),
        ({"short": LOADING, "long": Health()}, S, Reason.ONLY),
    ],
)
def test_what_the_sound_asks_for(facts: dict[str, object], role: Role, reason: Reason) -> None:
    choice = first(**facts)  # type: ignore[arg-type]
    assert (choice.role, choice.reason, choice.fallback) == (role, reason, False)


@pytest.mark.parametrize(
    ("short", "long", "facts", "role", "reason"),
    [
        (SLOW, READY, {}, L, Reason.SLOW),
        (LOADING, READY, {}, L, Reason.LOADING),
        (AGAIN, READY, {}, L, Reason.LOST),
        (SHAKY, READY, {}, L, Reason.LOST),
        (FAILED, READY, {}, L, Reason.FAILED),
        (READY, READY, {"unanswered": {S}}, L, Reason.FAILED),
        (READY, FAILED, {"unbroken_s": 28.0}, S, Reason.FAILED),
        (READY, AGAIN, {"age_s": 1_800.0}, S, Reason.LOST),
        (LOADING, SHAKY, {}, L, Reason.LOADING),
        (FAILED, FAILED, {}, None, Reason.FAILED),
        (READY, READY, {"unanswered": {S, L}}, None, Reason.FAILED),
    ],
)
def test_who_helps_out_and_why(
    short: Health, long: Health, facts: dict[str, object], role: Role | None, reason: Reason
) -> None:
    choice = first(short, long, **facts)  # type: ignore[arg-type]
    assert (choice.role, choice.reason, choice.fallback, choice.fresh) == (role, reason, True, False)


@pytest.mark.parametrize(("short", "long"), [(SLOW, FAILED), (SLOW, LOADING), (SHAKY, SHAKY), (LOADING, LOADING)])
def test_the_engine_that_is_asked_for_stays_where_nobody_can_help(short: Health, long: Health) -> None:
    assert first(short, long).role is S
    assert not first(short, long).fallback


# --- when it changes ---


class Session:
    """Facts over time, and what is chosen."""

    def __init__(self) -> None:
        self.facts = Facts(0.0, READY, READY)
        self.choice: Choice | None = None

    def at(self, now_s: float, **facts: object) -> tuple[Role | None, bool]:
        """Who hears, and whether that has changed within this utterance."""
        self.facts = replace(self.facts, now_s=now_s, **facts)  # type: ignore[arg-type]
        self.choice = choose(self.facts, self.choice, RULES)
        return self.choice.role, self.choice.fresh


def test_long_speech_is_handed_over_in_the_middle_and_back_with_the_next_utterance() -> None:
    session = Session()
    assert session.at(0, opening=True) == (S, False)
    assert session.at(27, opening=False, unbroken_s=27.9) == (S, False)
    assert session.at(28, unbroken_s=28.0) == (L, True)
    assert session.at(29, unbroken_s=29.0) == (L, True)
    assert session.at(31, opening=True, unbroken_s=1.0) == (L, False)
    assert session.at(59, unbroken_s=1.0, opening=False) == (L, False)
    assert session.at(60, opening=True) == (S, True)
    assert session.at(61, opening=False) == (S, True)
    assert session.at(62, opening=True) == (S, False)


def test_a_lost_engine_is_replaced_at_once_and_comes_back_once_it_is_steady() -> None:
    session = Session()
    session.at(0)
    assert session.at(5, opening=False, short=AGAIN) == (L, True)
    assert session.at(6, opening=True, short=Health("ready", 0.5)) == (L, False)
    assert session.at(35, short=Health("ready", 29.5)) == (L, False)
    assert session.at(36, opening=False, short=Health("ready", 30.5)) == (L, False)
    assert session.at(37, opening=True, short=Health("ready", 31.5)) == (S, True)


def test_an_engine_that_works_is_kept_through_the_doubts_about_it() -> None:
    """Another session had a fault; here it goes on until an utterance begins."""
    session = Session()
    session.at(0)
    assert session.at(40, opening=False, short=SHAKY) == (S, False)
    assert session.at(41, opening=True, short=SHAKY) == (L, True)


def test_it_takes_more_to_come_back_than_to_stay() -> None:
    session = Session()
    quick, between, slow = (Health("ready", speed=speed) for speed in (0.5, 0.8, 0.9))
    session.at(0, short=quick)
    assert session.at(1, opening=False, short=between) == (S, False)
    assert session.at(2, short=slow) == (L, True)
    assert session.at(60, opening=True, short=between) == (L, False)
    assert session.at(61, short=quick) == (S, True)
    assert session.at(62, opening=False, short=between, waiting=1) == (L, True)


def test_an_engine_that_has_loaded_takes_over_with_the_next_utterance() -> None:
    session = Session()
    assert session.at(0, short=LOADING) == (L, False)
    assert session.at(1, opening=False, short=READY) == (L, False)
    assert session.choice is not None
    assert (session.choice.reason, session.choice.fallback) == (Reason.BACK, True)
    assert session.at(2, opening=True) == (S, True)


def test_who_has_nobody_takes_whoever_comes() -> None:
    session = Session()
    assert session.at(0, short=FAILED, long=FAILED) == (None, False)
    assert session.at(1, opening=False, long=READY) == (L, False)


STATES: list[State] = ["starting", "ready", "respawning", "failed", "closed"]
HEALTHS = st.builds(
    Health,
    state=st.sampled_from([*STATES, "ready", "ready"]),
    steady_s=st.sampled_from([0.0, 29.0, 30.0, float("inf")]),
    speed=st.sampled_from([None, 0.1, 0.59, 0.6, 0.7, 0.9, 5.0]),
)
FACTS = st.builds(
    Facts,
    now_s=st.floats(0.1, 20.0),  # since the facts before
    short=HEALTHS,
    long=HEALTHS,
    wish=st.sampled_from([None, S, L]),
    opening=st.booleans(),
    age_s=st.sampled_from([0.0, 1_799.0, 1_800.0]),
    unbroken_s=st.sampled_from([0.0, 27.9, 28.0, 90.0]),
    waiting=st.integers(0, 2),
    unanswered=st.frozensets(st.sampled_from(Role)),
)


def _timed(course: list[Facts]) -> list[Facts]:
    now_s, timed = 0.0, []
    for facts in course:
        now_s += facts.now_s
        timed.append(replace(facts, now_s=now_s))
    return timed


def _forced(facts: Facts, left: Role) -> bool:
    """Something happened that the engine which was left can't go on with."""
    health = facts.health(left)
    is_too_slow = left is S and health.speed is not None and health.speed >= (0.6 if facts.waiting else 0.9)
    is_too_long = left is S and facts.unbroken_s >= 28
    return health.state != "ready" or left in facts.unanswered or is_too_slow or is_too_long


@given(st.lists(FACTS, min_size=1, max_size=30))
def test_whatever_happens(course: list[Facts]) -> None:
    """No engine is chosen that can't hear where one can, and nothing changes without need or too soon."""
    last: Choice | None = None
    for facts in _timed(course):
        choice = choose(facts, last, RULES)
        assert choice == choose(facts, last, RULES)
        able = {role for role in Role if facts.health(role).state == "ready" and role not in facts.unanswered}
        if choice.role is None:
            assert not able
        else:
            assert choice.role not in facts.unanswered
            assert facts.health(choice.role).state in ("ready", "starting", "respawning")
            assert choice.role in able or not able
        if last and last.role and choice.role not in (None, last.role):
            assert choice.since_s == facts.now_s
            assert _forced(facts, last.role) or (facts.opening and facts.now_s - last.since_s >= RULES.settle_s)
        elif last and choice.role and choice.role is last.role:
            assert choice.since_s == last.since_s
        last = choice


# --- how long people have talked ---


def test_a_session_is_as_old_as_the_talk_since_the_last_break() -> None:
    talk = Talk(break_s=300.0)
    talk.hear(1_000.0, 1_000.5, continues=False)
    talk.hear(1_000.0, 1_010.0, continues=False)
    assert (talk.age_s, talk.unbroken_s) == (0.0, 10.0)
    talk.hear(1_310.0, 1_315.0, continues=False)
    assert (talk.age_s, talk.unbroken_s) == (310.0, 5.0)
    talk.hear(1_615.1, 1_616.0, continues=False)
    assert talk.age_s == 0.0


def test_speech_goes_on_through_a_split() -> None:
    talk = Talk(break_s=300.0)
    talk.hear(5.0, 25.0, continues=False)
    talk.hear(24.0, 34.0, continues=True)
    assert talk.unbroken_s == 29.0
    talk.hear(36.0, 37.0, continues=False)
    assert talk.unbroken_s == 1.0
