"""Strategies for hypothesis: everything that an event may say."""

from __future__ import annotations

from hypothesis import strategies as st

from streamd.core.events import (
    Body,
    Change,
    Command,
    Ended,
    Final,
    Gap,
    Partial,
    Revised,
    Status,
    Vocabulary,
    Welcome,
    Word,
)

MS = st.integers(0, 2**40)
# Half of a surrogate pair is no text: neither JSON nor SQLite can hold it.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)

WORDS = st.builds(Word, text=TEXT, start_ms=MS, end_ms=MS, confidence=st.floats(0, 1))
PARTIALS = st.builds(
    Partial, utterance=st.integers(1, 6), rev=MS, start_ms=MS, end_ms=MS, text=TEXT, committed=st.integers(0, 30)
)
FINALS = st.builds(
    Final,
    utterance=st.integers(1, 6),
    start_ms=MS,
    end_ms=MS,
    text=TEXT,
    words=st.lists(WORDS, max_size=3).map(tuple),
    language=st.none() | TEXT,
    engine=TEXT,
    fallback=st.booleans(),
)
REVISIONS = st.builds(
    Revised,
    utterance=st.integers(1, 6),
    start_ms=MS,
    end_ms=MS,
    text=TEXT,
    changes=st.lists(st.builds(Change, start=MS, stop=MS, text=TEXT), max_size=3).map(tuple),
    words=st.lists(WORDS, max_size=3).map(tuple),
    engine=TEXT,
)
GAPS = st.builds(Gap, start_ms=MS, end_ms=MS, reason=TEXT)
COMMANDS = st.builds(
    Command,
    command_id=TEXT,
    state=st.sampled_from(["proposed", "awaiting_confirmation", "confirmed", "denied", "dispatched", "succeeded"]),
    name=st.none() | TEXT,
    params=st.dictionaries(TEXT, TEXT | st.integers(-9, 9) | st.booleans(), max_size=3),
    utterance=st.integers(1, 6),
    reason=st.none() | TEXT,
    prompt=st.none() | TEXT,
    confirm=st.sampled_from([None, "readback", "codeword", "button", "two_person", "outcome"]),
    expires_ms=st.none() | MS,
    shadow=st.booleans(),
)
STATUSES = st.builds(
    Status,
    state=st.sampled_from(["starting", "listening", "speech", "no_signal", "source_lost", "degraded", "idle"]),
    lag_ms=MS,
    source=st.none() | TEXT,
    engine=st.none() | TEXT,
    detail=st.none() | TEXT,
)
ENDS = st.builds(Ended, audio_ms=MS)
VOCABULARIES = st.builds(Vocabulary, terms=st.lists(TEXT, max_size=3).map(tuple))
WELCOMES = st.builds(Welcome, epoch=TEXT, oldest=MS, newest=MS, server=TEXT)

DURABLES: st.SearchStrategy[Final | Revised | Gap | Command] = FINALS | REVISIONS | GAPS | COMMANDS
BODIES: st.SearchStrategy[Body] = PARTIALS | FINALS | REVISIONS | GAPS | COMMANDS | STATUSES | VOCABULARIES | ENDS
