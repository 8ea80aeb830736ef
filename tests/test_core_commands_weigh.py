"""How certain a command is, given how well a sound bears out what may have been said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.grammar import Grammar, Match, Rejection
from streamd.core.commands.hearing import Comparison, Reading
from streamd.core.commands.weigh import CALIBRATED, Weighed, Weights, likeliest, weigh
from tests.packs import press_line

GRAMMAR = Grammar(press_line())
WEIGHTS = Weights(
    margin=1.0, word=2.0, stray=-8.0, constant=0.0,
    askable=0.5, askable_gap=6.0, askable_ending=-0.5,
    certain=0.99, least_margin=2.0, most_gap=3.0, most_shortfall=4.0, least_ending=0.2,
)  # fmt: skip

Scored = Mapping[str, float | Reading]


def reading(text: str, chance: float, prior: float = -20.0, ending: float = 1.0, shortfall: float = 0.0) -> Reading:
    return Reading(text, chance, 5, prior, ending, shortfall)


def weighed(sentences: Scored, free: Mapping[str, float], weights: Weights = WEIGHTS) -> Weighed:
    """Log-probabilities of texts, or all about them."""
    given = sentences.items()
    readings = tuple(each if isinstance(each, Reading) else reading(text, each) for text, each in given)
    heard = tuple(reading(text, chance) for text, chance in free.items())
    return weigh(Comparison(readings, heard, 0.0, 2.0, "test"), GRAMMAR, "en", weights)


def sentence(found: Weighed) -> str:
    assert isinstance(found.found, Match)
    return found.found.sentence


def reason(found: Weighed) -> str:
    assert isinstance(found.found, Rejection)
    return found.found.reason


CLEAR = {"Set press two to 95": -0.5, "Set press three to 95": -9.0}


def test_what_nothing_else_sounds_like_is_certain() -> None:
    found = weighed(CLEAR, {"Set press two to 95.": -0.5})
    assert sentence(found) == "set press 2 to 95"
    assert found.sure
    assert found.limits == ()
    assert found.texts == ("Set press two to 95.",)


def test_two_meanings_that_are_almost_alike_are_asked_about_or_left() -> None:
    near = {"Set press two to 95": -1.0, "Set press three to 95": -2.0}
    found = weighed(near, {})
    assert sentence(found) == "set press 2 to 95"
    assert not found.sure
    assert found.limits == ("certainty 0.6457 (at least 0.99)", "margin 1 (at least 2)")
    unclear = weighed({"Set press two to 95": -5.0, "Set press three to 95": -5.1}, {})
    assert reason(unclear).startswith("this could be set_speed(press=press_2, speed=95) or set_speed(press=press_3")


def test_of_several_languages_the_most_certain_one_counts_unless_another_contradicts() -> None:
    clear, unclear = weighed(CLEAR, {}), weighed({"Light on": -1.0, "Light off": -2.0}, {})
    same, other = Weighed(clear.found, sure=True, texts=()), weighed({"Light on": -0.1, "Light off": -9.0}, {})
    nothing = Weighed(Rejection("no"), sure=False, texts=())
    assert other.sure
    for beside in (unclear, same, nothing):
        assert likeliest({"de": beside, "en": clear}) == ("en", clear)
    tag, found = likeliest({"de": other, "en": clear})
    assert (found.found, found.sure) == ((clear if tag == "en" else other).found, False)
    assert found.limits == ("in another language it is sure to be another command",)


def test_what_sounds_more_like_something_else_is_no_command() -> None:
    found = weighed({"Set press two to 95": -14.0}, {"Sit and rest for a while.": -2.0})
    assert reason(found) == "something else was said"
    assert found.limits[-1] == "gap 12 (at most 6)"


def test_what_sounds_a_little_more_like_something_else_is_asked_about() -> None:
    found = weighed(CLEAR, {"Set press too to ninety five.": 3.0})
    assert sentence(found) == "set press 2 to 95"
    assert found.certainty > 0.99
    assert not found.sure


def test_a_word_that_something_else_would_fit_better_is_asked_about() -> None:
    unlike = {text: reading(text, chance, shortfall=4.1) for text, chance in CLEAR.items()}
    found = weighed(unlike, {"Set press two to 95.": -0.5})
    assert sentence(found) == "set press 2 to 95"
    assert (found.sure, found.limits) == (False, ("shortfall 4.1 (at most 4)",))


def test_where_more_was_said_it_is_asked_about() -> None:
    begun = {text: reading(text, chance, ending=0.1) for text, chance in CLEAR.items()}
    found = weighed(begun, {"Set press two to 95.": -0.5})
    assert sentence(found) == "set press 2 to 95"
    assert (found.sure, found.limits) == (False, ("ending 0.1 (at least 0.2)",))


def test_where_much_more_was_said_it_is_no_command() -> None:
    begun = {text: reading(text, chance, ending=-0.6) for text, chance in CLEAR.items()}
    assert reason(weighed(begun, {"Set press two to 95 no wait.": -3.0})) == "more was said than “set press 2 to 95”"


def test_in_noise_in_which_something_else_was_heard_too_it_is_asked_about() -> None:
    found = weighed(CLEAR, {"Set press two to 95.": -0.5, "That rest to do any time.": -30.0})
    assert sentence(found) == "set press 2 to 95"
    assert not found.sure
    assert found.scores is not None
    assert 0.5 < found.scores.stray <= 1.0


def test_what_is_hardly_borne_out_is_no_command() -> None:
    assert reason(weighed({"Stop now line": -30.0, "Light on": -34.0}, {"Hm.": -31.0})) == "it was not understood"


def test_without_a_sentence_there_is_nothing_to_ask_about() -> None:
    found = weighed({}, {"Good morning.": -1.0})
    assert reason(found) == "no command sounds like this"
    assert found.texts == ("Good morning.",)
    assert found.certainty == 0.0


def test_what_the_grammar_refuses_is_no_meaning() -> None:
    found = weighed({"Set press two to 9000": -0.1, "Set press two to 90": -3.0}, {})
    assert sentence(found) == "set press 2 to 90"


def test_a_sentence_of_any_text_is_found_where_it_was_heard_freely() -> None:
    assert sentence(weighed({"Light on": -14.0}, {NOTE: -1.0})) == NOTE.lower()


def test_what_is_written_more_often_needs_more_sound() -> None:
    often, seldom = "Set press two to 95", "Set press three to 95"
    alike = {often: reading(often, -2.0, prior=-20.0), seldom: reading(seldom, -2.5, prior=-30.0)}
    assert sentence(weighed(alike, {})) == "set press 3 to 95"


def test_all_ways_to_write_a_command_speak_for_it() -> None:
    one_way = weighed({"Set press two to 95": -2.0, "Set press three to 95": -4.0}, {})
    many = weighed(
        {"Set press two to 95": -2.0, "Set press 2 to 95": -2.5, "Set press three to 95": -4.0},
        {"Set press two to 95": -2.0},  # the same again is none of them
    )
    assert many.certainty > one_way.certainty
    assert one_way.scores is not None
    assert many.scores is not None
    assert many.scores.margin - one_way.scores.margin == pytest.approx(0.474, abs=0.01)


def test_only_what_may_have_been_said_can_object() -> None:
    found = weighed(CLEAR, {"Set press two to 95.": -0.5, "Don't set press two to 95.": -30.0})
    assert found.texts == ("Set press two to 95.",)


def test_the_limits_are_those_that_are_documented() -> None:
    text = (Path(__file__).parent.parent / "commands" / "README.md").read_text(encoding="utf-8")
    limits = dict(re.findall(r"^\| `(\w+)` \| ((?:[≤≥] [-\d.]+)? ?\| (?:[≤≥] [-\d.]+)?) ?\|", text, re.MULTILINE))
    known = CALIBRATED
    assert limits == {
        "margin": f"| ≥ {known.least_margin:g}",
        "gap": f"≤ {known.askable_gap:g} | ≤ {known.most_gap:g}",
        "word": "| ",
        "shortfall": f"| ≤ {known.most_shortfall:g}",
        "ending": f"≥ {known.askable_ending:g} | ≥ {known.least_ending:g}",
        "stray": "| ",
        "certainty": f"≥ {known.askable:g} | ≥ {known.certain:g}",
    }


NOTE = "Note more oil for the shift"
chances = st.floats(-40, 0)


@given(chances, chances, chances, st.floats(0, 10))
def test_more_sound_for_the_best_never_makes_it_less_certain(
    best: float, second: float, free: float, more: float
) -> None:
    second = min(second, best)

    def certainty(chance: float) -> float:
        sentences = {"Set press two to 95": min(0.0, chance), "Set press three to 95": second}
        return weighed(sentences, {"Something else": free}).certainty

    assert certainty(best + more) >= certainty(best)


@given(st.dictionaries(st.sampled_from(["Light on", "Light off", "Stop line now", "Feed 5"]), chances), chances)
def test_what_is_certain_is_what_was_heard_best(sentences: dict[str, float], free: float) -> None:
    found = weighed(sentences, {"Well, well": free}, CALIBRATED)
    if found.sure:
        assert sentence(found) == max(sentences, key=lambda text: sentences[text]).lower()
        assert max(sentences.values()) > free - 12
