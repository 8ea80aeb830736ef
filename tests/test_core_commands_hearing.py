"""What goes between a grammar and an engine."""

from __future__ import annotations

from streamd.core.commands.hearing import Comparison, Comparisons


def test_the_time_of_every_stage_is_that_of_all_languages() -> None:
    english = Comparison((), (), 0.0, 1.0, "test", {"encoder": 60.0, "search": 800.0})
    german = Comparison((), (), 0.0, 1.0, "test", {"encoder": 50.0})
    compared = Comparisons((("en", english), ("de", german)))
    assert compared.timings_ms == {"compare_encoder": 110.0, "compare_search": 800.0}
    assert Comparisons(()).timings_ms == {}
