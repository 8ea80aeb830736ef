"""Where the sound card's thread leaves its blocks."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """Sound as a device delivered it."""

    pcm: bytes  # mono s16le at the device's rate
    at_s: float  # monotonic clock at its delivery

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2


class Inbox:
    """Holds at most `limit_samples`; then the oldest blocks go, and are counted. For two threads."""

    def __init__(self, limit_samples: int) -> None:
        self._limit_samples = limit_samples
        self._blocks: deque[Block] = deque()
        self._held_samples = 0
        self._dropped_samples = 0
        self._lock = threading.Lock()

    def put(self, block: Block) -> None:
        """Leave a block. Waits for nothing but a take of microseconds."""
        with self._lock:
            self._blocks.append(block)
            self._held_samples += block.samples
            while self._held_samples > self._limit_samples:
                oldest = self._blocks.popleft().samples
                self._held_samples -= oldest
                self._dropped_samples += oldest

    def first(self) -> Block | None:
        """The oldest block that waits."""
        with self._lock:
            return self._blocks[0] if self._blocks else None

    def take(self) -> tuple[int, list[Block]]:
        """Samples dropped since the last take, and the blocks that came after them."""
        with self._lock:
            dropped, blocks = self._dropped_samples, list(self._blocks)
            self._dropped_samples = self._held_samples = 0
            self._blocks.clear()
        return dropped, blocks
