"""When was it said? Positions on the timeline → the clock on the wall, for sound that may come late.

Sound comes at the pace of the clock, or after a stall faster than it until it has caught up. So the least distance
that arrival ever had from position is that of sound which was not late, and what is farther away has waited.
"""

from __future__ import annotations

STEADY_MS = 30_000  # sound that is never early for so long is on time again: a client dropped what it could not send
JITTER_MS = 500  # by which sound on time may be early or late


class SoundClock:
    """Of one source. Begins anew with each."""

    def __init__(self) -> None:
        self._offset_ms: int | None = None  # arrival less position of sound that is on time
        self._steady_from_ms = 0  # the position since which the pace is the clock's
        self._steady_offset_ms = 0

    def heard(self, position_ms: int, now_ms: int) -> None:
        """Sound up to this position has arrived now."""
        offset_ms = now_ms - position_ms
        if self._offset_ms is None or offset_ms <= self._offset_ms:
            self._offset_ms = offset_ms
        if abs(offset_ms - self._steady_offset_ms) > JITTER_MS or position_ms < self._steady_from_ms:
            self._steady_from_ms, self._steady_offset_ms = position_ms, offset_ms
        elif position_ms - self._steady_from_ms >= STEADY_MS:
            self._offset_ms = min(offset_ms, self._steady_offset_ms)

    def said_ms(self, position_ms: int) -> int | None:
        """When what stands at this position was said; None before any sound."""
        return None if self._offset_ms is None else position_ms + self._offset_ms
