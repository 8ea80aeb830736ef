"""The journal: what was said, kept in one SQLite file across restarts and kill -9."""

from __future__ import annotations

from streamd.store.audit import FIRST, LISTENED, Entry, broken
from streamd.store.journal import Journal, Loaded, Recorded
from streamd.store.keeper import Feed, Run, keep, retain

__all__ = ["FIRST", "LISTENED", "Entry", "Feed", "Journal", "Loaded", "Recorded", "Run", "broken", "keep", "retain"]
