"""Accounting for a device's samples: what is told adds up to what was counted, and to the clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.core.audio import SAMPLE_RATE
from streamd.sources.base import Missing
from streamd.sources.inbox import Block
from streamd.sources.timeline import TOLERANCE_S, WINDOW_S, DeficitWatch, Timeline
from tests.sound_files import tone

RATES = (8_000, 16_000, 44_100, 48_000, 96_000)
BLOCK_S = 0.02


def told(pieces: list[bytes | Missing]) -> int:
    """Samples at 16 kHz, missing ones included."""
    return sum(piece.samples if isinstance(piece, Missing) else len(piece) // 2 for piece in pieces)


def missing(pieces: list[bytes | Missing]) -> list[Missing]:
    return [piece for piece in pieces if isinstance(piece, Missing)]


class Card:
    """A sound card with a clock of its own, as its callback sees it."""

    def __init__(self, rate: int, drift: float = 0.0) -> None:
        self.rate = rate
        self.now_s = 1_000.0
        self._speed = 1 + drift
        self._samples = round(rate * BLOCK_S)

    def record(self, seconds: float, late_s: float = 0.0) -> list[Block]:
        blocks = []
        for _ in range(round(seconds / BLOCK_S)):
            self.now_s += BLOCK_S / self._speed
            blocks.append(Block(bytes(2 * self._samples), self.now_s + late_s))
        return blocks

    def lose(self, seconds: float) -> None:
        """Records nothing and says nothing."""
        self.now_s += seconds


@settings(deadline=None)  # slow machines are no failure
@given(
    rate=st.sampled_from(RATES),
    steps=st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 20)), max_size=12),
)
def test_told_is_counted(rate: int, steps: list[tuple[int, int]]) -> None:
    """Whatever is dropped, positions at 16 kHz are those at the device's rate."""
    timeline, card = Timeline(rate), Card(rate)
    pieces: list[bytes | Missing] = []
    counted = 0
    for dropped, blocks in steps:
        card.lose(dropped / rate)
        pieces += timeline.advance(dropped, card.record(blocks * BLOCK_S))
        counted += dropped + blocks * round(rate * BLOCK_S)
    pieces += timeline.finish()
    assert abs(told(pieces) - counted * SAMPLE_RATE / rate) <= 1
    assert all(piece.samples > 0 and piece.reason == "overflow" for piece in missing(pieces))


def test_a_loss_stands_where_it_happened() -> None:
    timeline = Timeline(48_000)
    first = Block(tone(1.0, 48_000).tobytes(), 1.0)
    second = Block(tone(1.0, 48_000).tobytes(), 4.0)
    pieces = [*timeline.advance(0, [first]), *timeline.advance(96_000, [second]), *timeline.finish()]
    gap = next(number for number, piece in enumerate(pieces) if isinstance(piece, Missing))
    assert told(pieces[:gap]) == SAMPLE_RATE  # what the resampler had held back comes before the loss
    assert pieces[gap] == Missing(2 * SAMPLE_RATE, "overflow")
    assert told(pieces[gap + 1 :]) == SAMPLE_RATE
    heard = np.frombuffer(b"".join(piece for piece in pieces[gap + 1 :] if isinstance(piece, bytes)), "<i2")
    assert np.corrcoef(heard[800:8_000], tone(1.0, SAMPLE_RATE)[800:8_000])[0, 1] > 0.99


@pytest.mark.parametrize("lost_s", [0.15, 1.0, 8.0])
def test_sound_lost_in_silence_is_found_by_counting(lost_s: float) -> None:
    timeline, card = Timeline(48_000), Card(48_000)
    pieces = list(timeline.advance(0, card.record(10)))
    card.lose(lost_s)
    pieces += timeline.advance(0, card.record(10))
    pieces += timeline.finish()
    assert sum(piece.samples for piece in missing(pieces)) == pytest.approx(lost_s * SAMPLE_RATE, abs=320)
    assert told(pieces) == pytest.approx((20 + lost_s) * SAMPLE_RATE, abs=320)


def test_late_blocks_are_not_lost() -> None:
    """After a stall of 8 s all that was recorded comes at once."""
    timeline, card = Timeline(48_000), Card(48_000)
    pieces = list(timeline.advance(0, card.record(10)))
    stalled_at_s = card.now_s + 8
    late = [Block(block.pcm, max(block.at_s, stalled_at_s)) for block in card.record(8)]
    pieces += [*timeline.advance(0, late), *timeline.advance(0, card.record(10)), *timeline.finish()]
    assert missing(pieces) == []
    assert told(pieces) == 28 * SAMPLE_RATE


@pytest.mark.parametrize("drift", [-0.002, 0.002])
def test_another_quartz_is_no_loss(drift: float) -> None:
    """Ten times the worst sound card for ten minutes."""
    watch, card = DeficitWatch(48_000), Card(48_000, drift)
    blocks = card.record(600)
    assert [watch.lost_samples(960 * (number + 1), block.at_s) for number, block in enumerate(blocks)] == [0] * 30_000


@settings(deadline=None)  # slow machines are no failure
@given(seed=st.integers(0, 1_000), most_s=st.floats(0, 2), phase=st.integers(0, 20))
def test_jitter_is_no_loss(seed: int, most_s: float, phase: int) -> None:
    """As long as one block in a window is punctual."""
    watch, card = DeficitWatch(16_000), Card(16_000)
    jitter_s = np.random.default_rng(seed).uniform(0, most_s, 500)
    every = round(WINDOW_S / BLOCK_S / 4)
    for number, block in enumerate(card.record(10)):
        late_s = 0 if (number + phase) % every == 0 else jitter_s[number]
        assert watch.lost_samples(320 * (number + 1), block.at_s + late_s) == 0


def test_a_loss_below_the_tolerance_is_taken_as_drift() -> None:
    watch, card = DeficitWatch(16_000), Card(16_000)
    samples = 0
    for _ in range(5):
        for block in card.record(5):
            samples += block.samples
            assert watch.lost_samples(samples, block.at_s) == 0
        card.lose(TOLERANCE_S * 0.9)
