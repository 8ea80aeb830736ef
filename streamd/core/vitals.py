"""How an engine does: what it went through, and how quick it is. Time is given."""

from __future__ import annotations

from math import inf

from streamd.core.route import Health, Rules, State


class Vitals:
    """How an engine does: what it went through, and how quick it is.

    Its speed is the work for a second of sound where captions are renewed once for it; sound that came in while an
    engine was busy counts with the next call. The last calls weigh most.
    """

    _KEPT = 0.8  # of a call's weight, with every later call
    _LONGEST_REST = 16  # times `rest_s`

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._state: State = "starting"
        self._fault_s: float | None = None
        self._work_s = self._sound_s = 0.0
        self._measured_at_s = -inf
        self._at_load = (0.0, 0.0)  # work and sound
        self._rest_s = rules.rest_s

    def changed(self, state: State, now_s: float) -> None:
        """The engine's worker came, went, or does not come back."""
        if state in ("respawning", "failed") or self._fault_s is not None:
            self._fault_s = now_s
        self._state = state

    def failed(self, now_s: float) -> None:
        """It gave no answer to a call."""
        self._fault_s = now_s

    def worked(self, took_s: float, new_s: float, now_s: float) -> None:
        """It answered a call with `new_s` seconds of sound that it had not heard before."""
        self._work_s = self._KEPT * self._work_s + took_s
        self._sound_s = self._KEPT * self._sound_s + max(1.0, new_s)
        self._measured_at_s = now_s
        if self._work_s < self._rules.quick * self._sound_s:
            self._rest_s = self._rules.rest_s

    def loaded(self) -> None:
        """What was measured so far was measured at load: this is not forgotten."""
        self._at_load = (self._work_s, self._sound_s)

    def health(self, now_s: float) -> Health:
        """The facts, `now_s` being now."""
        steady_s = inf if self._fault_s is None else now_s - self._fault_s
        return Health(self._state, steady_s, self._speed)

    def forgive(self, now_s: float) -> None:
        """If it was slow and has rested since, what it did at load counts again. The next rest would be longer."""
        if self._speed is None or self._speed < self._rules.quick:
            return
        if now_s - self._measured_at_s < self._rest_s or (self._work_s, self._sound_s) == self._at_load:
            return
        self._work_s, self._sound_s = self._at_load
        self._rest_s = min(2 * self._rest_s, self._LONGEST_REST * self._rules.rest_s)

    @property
    def _speed(self) -> float | None:
        return self._work_s / self._sound_s if self._sound_s else None
