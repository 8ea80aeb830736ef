"""What a session believes of the language that is spoken: short clips don't change its mind, lasting change does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.languages import TAGS, Belief, Evidence, expecting, likeliest, onwards, primary, weigh

tags = st.sampled_from(("de", "en", "fr", "ja"))
evidence = st.builds(
    Evidence, st.dictionaries(tags, st.floats(0, 1), max_size=4), st.floats(0, 30, allow_nan=False)
)  # not normalised: what is unlikely is left out


def heard(tag: str, seconds: float, chance: float = 0.9) -> Evidence:
    return Evidence({tag: chance, "la": 1 - chance}, seconds)


def listening(*utterances: Evidence, belief: Belief | None = None) -> list[str]:
    """The language of each utterance, one after the other in a session."""
    belief = expecting() if belief is None else belief
    chosen = []
    for utterance in utterances:
        belief = weigh(belief, utterance)
        chosen.append(likeliest(belief))
        belief = onwards(belief)
    return chosen


def test_the_first_utterance_is_taken_at_its_word() -> None:
    assert listening(heard("pl", 0.5, 0.3)) == ["la"]
    assert listening(heard("pl", 0.5, 0.6)) == ["pl"]


def test_a_short_clip_does_not_flip_the_language() -> None:
    speech = [heard("en", 6.0)] * 3
    for seconds in (0.5, 1.0, 2.0):
        assert listening(*speech, heard("de", seconds, 0.99), heard("en", 1.0)) == ["en"] * 5


def test_a_long_utterance_changes_it_at_once() -> None:
    assert listening(*[heard("en", 6.0)] * 5, heard("de", 8.0, 0.99)) == ["en"] * 5 + ["de"]


def test_several_short_ones_change_it_together() -> None:
    chosen = listening(*[heard("en", 6.0)] * 5, *[heard("de", 2.0, 0.95)] * 4)
    assert chosen[5] == "en"
    assert chosen[-1] == "de"


def test_what_lasted_for_hours_is_changed_as_quickly() -> None:
    change = [heard("de", 3.0)] * 3
    assert listening(*[heard("en", 6.0)] * 500, *change)[-3:] == listening(*[heard("en", 6.0)] * 5, *change)[-3:]


def test_only_candidates_are_considered() -> None:
    assert listening(heard("en", 8.0), heard("it", 1.0, 0.4), belief=expecting(("it", "es"))) == ["es", "it"]
    assert expecting(("de",)) == {"de": 1.0}
    assert likeliest(onwards(expecting(("de",)))) == "de"


def test_a_session_goes_on_in_the_language_it_was_in() -> None:
    assert likeliest(expecting(first="hi")) == "hi"
    assert listening(heard("de", 1.0), belief=expecting(first="hi")) == ["hi"]
    assert expecting(("de", "en"), first="hi") == {"de": 0.5, "en": 0.5}
    assert set(expecting()) == TAGS


def test_without_evidence_nothing_changes() -> None:
    belief = expecting(("de", "en"), first="de")
    assert weigh(belief, Evidence()) == belief
    assert weigh({}, heard("fr", 1.0)).keys() == {"fr", "la"}


def test_nothing_is_believed_to_be_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        likeliest({})


@given(st.lists(evidence, max_size=12), st.lists(tags, max_size=3))
def test_a_belief_is_always_a_distribution(utterances: list[Evidence], candidates: list[str]) -> None:
    belief = expecting(candidates)
    for utterance in utterances:
        belief = onwards(weigh(belief, utterance))
        assert sum(belief.values()) == pytest.approx(1)
        assert all(share > 0 for share in belief.values())
        assert set(belief) == set(candidates or TAGS)


def test_a_tag_may_name_a_country() -> None:
    assert [primary(tag) for tag in ("de", "DE", "de-AT", "de_DE.UTF-8", "English", "")] == [
        "de", "de", "de", "de", "english", "",
    ]  # fmt: skip
