"""How old is what arrives: at the pace of the clock, after a stall, after a loss that nobody told of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd.core.pace import JITTER_MS, STEADY_MS, SoundClock

FRAME_MS = 40


def live(clock: SoundClock, start_ms: int, length_ms: int, delay_ms: int = 0) -> None:
    """Sound of these positions, which is spoken at the same time of the clock and arrives so much later."""
    for position_ms in range(start_ms, start_ms + length_ms, FRAME_MS):
        clock.heard(position_ms, position_ms + delay_ms)


def test_nothing_was_said_before_any_sound() -> None:
    assert SoundClock().said_ms(0) is None


@given(st.lists(st.integers(0, JITTER_MS // 2), min_size=1, max_size=50))
def test_sound_that_comes_as_it_is_spoken_is_as_old_as_its_least_delay_says(delays: list[int]) -> None:
    clock = SoundClock()
    for number, delay_ms in enumerate(delays):
        clock.heard(number * FRAME_MS, 5_000 + number * FRAME_MS + delay_ms)
    assert clock.said_ms(0) == 5_000 + min(delays)


@given(st.integers(1_000, 120_000), st.integers(1, 200))
def test_what_was_held_up_is_as_old_as_it_is(stall_ms: int, speed: int) -> None:
    """A connection stalls and then delivers what had been spoken meanwhile, many times faster than that."""
    clock = SoundClock()
    live(clock, 0, 4_000)
    now_ms = 4_000 + stall_ms
    for position_ms in range(4_000, 4_000 + stall_ms, FRAME_MS):
        now_ms += FRAME_MS // (speed + 1)
        clock.heard(position_ms, max(now_ms, position_ms))
        assert clock.said_ms(position_ms) == position_ms, "it was spoken then, whenever it came"


def test_what_a_client_dropped_in_silence_makes_nobody_old_for_ever() -> None:
    """Positions lack what was dropped; once the pace has been the clock's for a while, it is believed."""
    clock = SoundClock()
    live(clock, 0, 4_000)
    live(clock, 4_000, STEADY_MS - FRAME_MS, delay_ms=9_000)
    assert clock.said_ms(5_000) == 5_000
    live(clock, 4_000 + STEADY_MS - FRAME_MS, 4_000, delay_ms=9_000)
    assert clock.said_ms(5_000) == 14_000


def test_a_position_that_goes_back_starts_the_wait_again() -> None:
    clock = SoundClock()
    clock.heard(60_000, 60_000)
    live(clock, 0, STEADY_MS - FRAME_MS, delay_ms=60_000)
    assert clock.said_ms(0) == 0
