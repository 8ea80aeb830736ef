"""The figures of several sessions: words count, not sessions."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest

from streamd.core.figures import by_fifths, percentile, summary
from streamd.core.measure import Reference, Snapshot, SpokenWord, measure
from tests.test_core_measure import SAID, STORY


def test_sessions_are_summarised_by_word() -> None:
    """Not by session: a session of one word counts as one word."""
    short = measure([Snapshot(9.0, "go", "go", "go")], Reference("go", (SpokenWord("go", 1.0),), (0,)))
    figures = summary([measure(STORY, SAID, str.lower), short], 4.0)
    assert figures["wer"] == pytest.approx(1 / 5)
    assert (figures["words_shown"], figures["words_said"]) == (5, 5)
    assert figures["stays_p50_s"] == 0.75
    assert figures["worst_session_p95_s"] == 8.0
    assert figures["utterances_lost"] == 0


def test_nothing_shown_is_no_figure() -> None:
    figures = summary([measure([], SAID)], 4.0)
    names = ("first_text_s", "behind_s", "stays_p50_s", "worst_session_p95_s", "erasure", "covered", "stays_growth_s")
    assert [figures[name] for name in names] == [None] * len(names)
    assert (figures["wer"], figures["utterances_lost"]) == (1, 1)


def test_nothing_known_but_what_was_shown_is_no_figure() -> None:
    figures = summary([measure(STORY, Reference(None))], 4.0)
    names = ("wer", "raw_wer", "stays_p50_s", "utterance_final_p50_s", "utterances_lost", "covered")
    assert [figures[name] for name in names] == [None] * len(names)
    assert figures["erasure"] == 0.75
    assert (figures["words_shown"], figures["words_said"]) == (4, None)


def test_invented_words_are_counted_where_nothing_was_said() -> None:
    figures = summary([measure(STORY, Reference(""))], 4.0)
    assert (figures["words_shown"], figures["words_said"], figures["wer"]) == (4, 0, None)


def test_growth_is_from_the_first_fifth_to_the_last() -> None:
    words = tuple(SpokenWord(str(n), float(n)) for n in range(10))
    shots = [
        Snapshot(n + n / 10, text, "", "")
        for n, text in enumerate(accumulate(map(str, range(10)), lambda text, word: f"{text} {word}"))
    ]
    measured = measure(shots, Reference(None, words))
    assert by_fifths([measured], 10.0)[50] == pytest.approx((0.05, 0.25, 0.45, 0.65, 0.85))
    figures = summary([measured], 10.0)
    assert figures["stays_growth_s"] == pytest.approx(0.8)
    assert summary([measure(shots[:5], Reference(None, words))], 10.0)["stays_growth_s"] is None


def test_a_percentile_leaves_out_what_never_happened() -> None:
    assert percentile(np.array([1.0, np.nan, 3.0]), 50) == 2.0
    assert percentile(np.array([np.nan]), 50) is None
