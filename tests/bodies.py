"""Strategies for hypothesis: everything that an event may say."""

from __future__ import annotations

from hypothesis import strategies as st

from streamd.core.events import Body, Change, Ended, Final, Gap, Partial, Revised, Status, Vocabulary, Welcome, Word

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

DURABLES: st.SearchStrategy[Final | Revised | Gap] = FINALS | REVISIONS | GAPS
BODIES: st.SearchStrategy[Body] = PARTIALS | FINALS | REVISIONS | GAPS | STATUSES | VOCABULARIES | ENDS
