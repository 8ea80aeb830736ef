"""Which word of one text is which word of another: the fewest insertions, deletions and substitutions (Levenshtein).

Where several alignments cost the same, words are paired rather than inserted and deleted, from the end to the start.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Alignment:
    """Pairs of positions, in order; positions that are in no pair were deleted (left) or inserted (right)."""

    same: tuple[tuple[int, int], ...]
    substituted: tuple[tuple[int, int], ...]
    deleted: int
    inserted: int

    @property
    def errors(self) -> int:
        return len(self.substituted) + self.deleted + self.inserted


def align(left: Sequence[Hashable], right: Sequence[Hashable], *, unfinished: bool = False) -> Alignment:
    """Align two texts. `unfinished`: `right` says only the beginning of `left`, and what it leaves out costs nothing.

    Takes 4 bytes for every pair of words between the first and the last difference.
    """
    head = common_prefix(left, right)
    tail = 0 if unfinished else common_prefix(left[head:][::-1], right[head:][::-1])
    middle = left[head : len(left) - tail], right[head : len(right) - tail]
    pairs, used = _pairs(*middle, unfinished=unfinished)
    pairs = [(head + i, head + j) for i, j in pairs]
    same = [(i, j) for i, j in pairs if left[i] == right[j]]
    outer = [(i, i) for i in range(head)]
    ending = [(len(left) - n, len(right) - n) for n in range(tail, 0, -1)]
    return Alignment(
        same=(*outer, *same, *ending),
        substituted=tuple((i, j) for i, j in pairs if left[i] != right[j]),
        deleted=used - len(pairs),
        inserted=len(middle[1]) - len(pairs),
    )


def common_prefix(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """How many leading words are equal."""
    shorter = min(len(left), len(right))
    if left[:shorter] == right[:shorter]:
        return shorter
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _pairs(
    left: Sequence[Hashable], right: Sequence[Hashable], *, unfinished: bool
) -> tuple[list[tuple[int, int]], int]:
    """Positions that belong together, and how many words of `left` were aligned."""
    costs = _costs(left, right)
    used = i = int(np.argmin(costs[-1])) if unfinished else len(left)
    j = len(right)
    pairs = []
    while i and j:
        if costs[j, i] == costs[j - 1, i - 1] + (left[i - 1] != right[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif costs[j, i] == costs[j, i - 1] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1], used


def _costs(left: Sequence[Hashable], right: Sequence[Hashable]) -> NDArray[np.int32]:
    """Cost of aligning the first i words of `left` with the first j of `right`, shape (len(right) + 1, len(left) + 1).

    A row at a time: a deletion continues along the row, so its cheapest start is a running minimum.
    """
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(word, len(numbers)) for word in left], np.int32)
    steps = np.arange(len(left) + 1, dtype=np.int32)
    costs = np.empty((len(right) + 1, len(left) + 1), np.int32)
    costs[0] = steps
    for j, word in enumerate(right, start=1):
        row = costs[j - 1] + 1
        np.minimum(row[1:], costs[j - 1, :-1] + (codes != numbers.get(word, -1)), out=row[1:])
        costs[j] = np.minimum.accumulate(row - steps) + steps
    return costs
