"""Which engine hears an utterance: facts in, an engine and the reason out. Time is given, nothing here waits.

There are two roles. SHORT is filled by the model for short utterances (Gemma), LONG by the one that hears anything for
hours (faster-whisper).

What the sound asks for:
- LONG for speech that has gone on for `speech_s` without a pause, however it was split into utterances;
- otherwise the role that the pipeline wishes, if it wishes one;
- LONG in a session in which people have spoken for `session_s` without a break of `break_s`;
- SHORT for everything else. A role that nobody fills is never asked for.

What engines can do:
- GOOD: ready, and without a fault for `settle_s`. One that never had a fault is good at once.
- SLOW: the same, but it can't keep up. Its speed reached `slow`, or reaches `quick` while others wait for their final
  or while it is not the one that hears: it must be faster to come back than to stay. LONG is never slow: nothing is
  lighter.
- SHAKY: ready again after a fault, but not for long enough.
- COMING: it loads or is started again. A call may wait for it.
- OUT: it failed, or gave no answer to this very call.

Who hears, by what is asked for and by what both can do (S: SHORT, L: LONG, -: nobody):

    asked for SHORT       LONG is  GOOD  SHAKY  COMING  OUT
         SHORT is GOOD             S     S      S       S
                  SLOW             L     L      S       S
                  SHAKY            L     S      S       S
                  COMING           L     L      S       S
                  OUT              L     L      L       -
    asked for LONG
         SHORT is GOOD             L     S      S       S
                  SLOW             L     L      S       S
                  SHAKY            L     L      S       S
                  COMING           L     L      L       S
                  OUT              L     L      L       -

When it changes:
- At once, in the middle of an utterance too, if the engine that hears is not ready, gave no answer, can't keep up, or
  if speech has gone on for too long for it.
- Otherwise with the beginning of an utterance, and no sooner than `settle_s` after the last change.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import Literal

State = Literal["absent", "starting", "ready", "respawning", "failed", "closed"]


class Role(Enum):
    """What an engine is there for."""

    SHORT = "short"
    LONG = "long"

    @property
    def other(self) -> Role:
        return Role.LONG if self is Role.SHORT else Role.SHORT


class Condition(Enum):
    """What an engine can do now."""

    GOOD = "good"
    SLOW = "slow"
    SHAKY = "shaky"
    COMING = "coming"
    OUT = "out"


class Reason(Enum):
    """Why it is this engine that hears."""

    SHORT = "short"  # a short utterance
    ONLY = "only"  # there is no other one
    WISH = "wish"  # of the pipeline
    SESSION = "session"  # a long one
    SPEECH = "speech"  # without a pause, for too long for the other one
    SLOW = "slow"  # the other one can't keep up
    LOADING = "loading"  # the other one has not loaded yet
    LOST = "lost"  # the other one ended and is started again, or has yet to prove itself
    FAILED = "failed"  # the other one does not come back, or gave no answer
    BACK = "back"  # the other one can hear again, and does so soon


FAULTS = frozenset({Reason.SLOW, Reason.LOADING, Reason.LOST, Reason.FAILED, Reason.BACK})


@dataclass(frozen=True, slots=True)
class Rules:
    """When the roles change. Seconds, and speeds: seconds of work for a second of sound."""

    speech_s: float = 28.0
    session_s: float = 1_800.0
    break_s: float = 300.0
    slow: float = 0.9
    quick: float = 0.6
    settle_s: float = 30.0
    rest_s: float = 120.0  # a speed that was too slow is forgotten, and the engine tried again


@dataclass(frozen=True, slots=True)
class Health:
    """Facts about an engine."""

    state: State = "absent"  # absent: nobody fills this role
    steady_s: float = inf  # since its last fault, or since it came back from it
    speed: float | None = None  # seconds of work for a second of sound; None: not measured


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known when somebody has to hear."""

    now_s: float
    short: Health = Health()
    long: Health = Health()
    wish: Role | None = None
    opening: bool = True  # an utterance begins
    age_s: float = 0.0  # of the session, when the utterance began: since the last break
    unbroken_s: float = 0.0  # speech without a pause
    waiting: int = 0  # utterances that wait for this one's final
    unanswered: Set[Role] = frozenset()  # engines that gave no answer to this call

    def health(self, role: Role) -> Health:
        return self.short if role is Role.SHORT else self.long


@dataclass(frozen=True, slots=True)
class Choice:
    """Who hears, and why."""

    role: Role | None  # None: nobody can
    reason: Reason
    since_s: float  # of the last change; the first choice is none
    fresh: bool = False  # it changed within this utterance

    @property
    def fallback(self) -> bool:
        """It is not the engine that the sound asks for."""
        return self.reason in FAULTS


_S, _L = Role.SHORT, Role.LONG
_GOOD, _SLOW, _SHAKY, _COMING, _OUT = Condition
_LONG_IS = (_GOOD, _SHAKY, _COMING, _OUT)

# asked for → what SHORT can do → who hears, by what LONG can do
TABLE: dict[Role, dict[Condition, dict[Condition, Role | None]]] = {
    _S: {
        _GOOD: dict(zip(_LONG_IS, (_S, _S, _S, _S), strict=True)),
        _SLOW: dict(zip(_LONG_IS, (_L, _L, _S, _S), strict=True)),
        _SHAKY: dict(zip(_LONG_IS, (_L, _S, _S, _S), strict=True)),
        _COMING: dict(zip(_LONG_IS, (_L, _L, _S, _S), strict=True)),
        _OUT: dict(zip(_LONG_IS, (_L, _L, _L, None), strict=True)),
    },
    _L: {
        _GOOD: dict(zip(_LONG_IS, (_L, _S, _S, _S), strict=True)),
        _SLOW: dict(zip(_LONG_IS, (_L, _L, _S, _S), strict=True)),
        _SHAKY: dict(zip(_LONG_IS, (_L, _L, _S, _S), strict=True)),
        _COMING: dict(zip(_LONG_IS, (_L, _L, _L, _S), strict=True)),
        _OUT: dict(zip(_LONG_IS, (_L, _L, _L, None), strict=True)),
    },
}


def choose(facts: Facts, last: Choice | None, rules: Rules) -> Choice:
    """Who hears now, after `last`."""
    asked, why = _asked_for(facts, rules)
    role = TABLE[asked][condition(_S, facts, last, rules)][condition(_L, facts, last, rules)]
    reason = why if role is asked else _fault(asked, facts, last, rules)
    if last is None:
        return Choice(role, reason, since_s=-inf)
    if last.role is None or role is None:
        return Choice(role, reason, facts.now_s)
    fresh = last.fresh and not facts.opening
    if role is last.role:
        return Choice(role, reason, last.since_s, fresh)
    if _must_leave(last.role, facts, last, rules) or _may_leave(facts, last, rules):
        return Choice(role, reason, facts.now_s, fresh=True)
    return replace(last, reason=Reason.BACK if last.fallback else last.reason, fresh=fresh)


def condition(role: Role, facts: Facts, last: Choice | None, rules: Rules) -> Condition:
    """What the engine in this role can do now."""
    health = facts.health(role)
    if role in facts.unanswered or health.state in ("absent", "failed", "closed"):
        return _OUT
    if health.state != "ready":
        return _COMING
    if health.steady_s < rules.settle_s:
        return _SHAKY
    return _SLOW if _is_slow(role, facts, last, rules) else _GOOD


def _asked_for(facts: Facts, rules: Rules) -> tuple[Role, Reason]:
    for role in Role:
        if facts.health(role.other).state == "absent":
            return role, Reason.ONLY
    if facts.unbroken_s >= rules.speech_s:
        return _L, Reason.SPEECH
    if facts.wish is not None:
        return facts.wish, Reason.WISH
    if facts.age_s >= rules.session_s:
        return _L, Reason.SESSION
    return _S, Reason.SHORT


def _fault(asked: Role, facts: Facts, last: Choice | None, rules: Rules) -> Reason:
    """Why the engine that is asked for does not hear."""
    match condition(asked, facts, last, rules):
        case Condition.OUT:
            return Reason.FAILED
        case Condition.SLOW:
            return Reason.SLOW
        case _:
            return Reason.LOADING if facts.health(asked).state == "starting" else Reason.LOST


def _is_slow(role: Role, facts: Facts, last: Choice | None, rules: Rules) -> bool:
    speed = facts.health(role).speed
    if role is _L or speed is None:
        return False
    stays = last is not None and last.role is role and not facts.waiting
    return speed >= (rules.slow if stays else rules.quick)


def _must_leave(role: Role, facts: Facts, last: Choice, rules: Rules) -> bool:
    if role in facts.unanswered or facts.health(role).state != "ready" or _is_slow(role, facts, last, rules):
        return True
    return role is _S and facts.unbroken_s >= rules.speech_s


def _may_leave(facts: Facts, last: Choice, rules: Rules) -> bool:
    return facts.opening and facts.now_s - last.since_s >= rules.settle_s


class Talk:
    """How long a session has been talked in, from the utterances that are heard, in order."""

    def __init__(self, break_s: float) -> None:
        self._break_s = break_s
        self._start_s = -inf  # of the utterance
        self._end_s = -inf
        self._session_from_s = 0.0
        self._speech_from_s = 0.0

    def hear(self, start_s: float, end_s: float, *, continues: bool) -> None:
        """An utterance, or more of it. It `continues` the one that it was split from."""
        if start_s != self._start_s:
            if start_s - self._end_s > self._break_s:
                self._session_from_s = start_s
            if not continues:
                self._speech_from_s = start_s
            self._start_s = start_s
        self._end_s = end_s

    @property
    def age_s(self) -> float:
        """From the last break to the beginning of the utterance."""
        return self._start_s - self._session_from_s

    @property
    def unbroken_s(self) -> float:
        """From the last pause to the end of what was heard."""
        return self._end_s - self._speech_from_s
