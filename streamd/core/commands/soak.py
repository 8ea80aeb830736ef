"""How often a grammar acts on what nobody meant: counted from an audit, with the rate that it may really have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

HOUR_MS = 3_600_000
DOUBT = 0.05  # the rate is below `at_most` but for one such soak in twenty


@dataclass(slots=True)
class Soak:
    """What one grammar did in one mode."""

    grammar: str
    shadow: bool
    heard_ms: int = 0
    acted: Counter[str] = field(default_factory=Counter)  # sent, or in shadow mode would have been
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def hours(self) -> float:
        return self.heard_ms / HOUR_MS

    @property
    def acted_per_hour(self) -> float:
        return self.acted.total() / self.hours if self.heard_ms else math.nan

    @property
    def at_most_per_hour(self) -> float:
        """The rate above which so few would be rare."""
        return most(self.acted.total()) / self.hours if self.heard_ms else math.nan


def tally(rows: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> list[Soak]:
    """Rows of the audit (kind, record, note), in order → a soak for each grammar and mode, in order of appearance."""
    soaks: dict[tuple[str, bool], Soak] = {}
    of: dict[str, Soak] = {}  # command_id → where it belongs: only its first row tells the grammar

    def soak(note: Mapping[str, Any], shadow: bool) -> Soak:
        key = str(note.get("grammar", "")), shadow
        return soaks.setdefault(key, Soak(*key))

    for kind, record, note in rows:
        if kind == "listened":
            soak(note, bool(note["shadow"])).heard_ms += note["heard_ms"]
        elif kind == "command":
            command_id, name = record["command_id"], str(record["name"])
            if "grammar" in note:
                of[command_id] = soak(note, bool(record["shadow"]))
            if command_id in of and record["state"] == "confirmed":
                of[command_id].acted[name] += 1
            elif command_id in of and record["state"] == "awaiting_confirmation" and record["by"] is None:
                of[command_id].asked[name] += 1
    return list(soaks.values())


def most(count: int, doubt: float = DOUBT) -> float:
    """The mean of a Poisson distribution of which `count` or less is seen with probability `doubt` (Garwood, 1936)."""
    low, high = 0.0, 10.0 + 4.0 * count
    for _ in range(60):
        mean = (low + high) / 2
        term = total = math.exp(-mean)
        for number in range(1, count + 1):
            term *= mean / number
            total += term
        low, high = (mean, high) if total > doubt else (low, mean)
    return high
