"""Committed text is append-only, whatever the engine says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from streamd.core.policy import Policy
from streamd.core.stabilise import Stabiliser, chance
from streamd.core.words import HypothesisWord, bare, join

texts = st.sampled_from(
    [" and", " so", " my", " My", " fellow,", " fellow", " Americans.", " ask", "n't", "。", "日本", " -", " 5%"]
)
hypotheses = st.lists(st.lists(st.tuples(texts, st.floats(0.05, 1.0)), max_size=8), min_size=1, max_size=12)


NEVER = 99.0
LATER = Policy(
    show=0.8,
    show_after_s=0.5,
    show_age_s=NEVER,
    commit=0.95,
    commit_after_s=1.0,
    commit_age_s=NEVER,
    hold_s=0.0,
    replace_after=2,
)
AGREEMENT = Policy(show=0.0, commit=0.93, commit_age_s=NEVER)


def timed(pairs: list[tuple[str, float]]) -> list[HypothesisWord]:
    words, at_s = [], 0.0
    for text, length_s in pairs:
        words.append(HypothesisWord(text, at_s, at_s + length_s))
        at_s += length_s
    return words


def said(text: str, each_s: float = 0.3, confidence: float = 1.0) -> list[HypothesisWord]:
    words = timed([(" " + word, each_s) for word in text.split()])
    return [replace(word, confidence=confidence) for word in words]


@given(hypotheses, st.floats(0, 0.5))
def test_committed_text_is_append_only_and_begins_the_final(
    guesses: list[list[tuple[str, float]]], hold_s: float
) -> None:
    stabiliser, committed = Stabiliser(Policy(hold_s=hold_s)), ""
    for number, guess in enumerate(guesses):
        caption = stabiliser.update(timed(guess), covered_s=1.0 + number / 2)
        assert caption.text[: caption.committed].startswith(committed)
        assert caption.text[: caption.committed] == stabiliser.committed
        assert join(caption.words) == caption.text
        committed = caption.text[: caption.committed]
    final = stabiliser.finish(timed(guesses[-1]))
    assert final.text.startswith(committed)
    assert final.committed == len(final.text)


def test_two_guesses_that_agree_commit() -> None:
    stabiliser = Stabiliser(AGREEMENT)
    assert stabiliser.update(said("and so my", confidence=0.9), 2.0).committed == 0
    caption = stabiliser.update(said("and so my fellow", confidence=0.9), 2.5)
    assert caption.text[: caption.committed] == "and so my"


def test_words_that_lean_on_the_newest_sound_wait() -> None:
    stabiliser = Stabiliser(Policy(hold_s=0.3))
    stabiliser.update(said("and so my"), 0.9)
    caption = stabiliser.update(said("and so my"), 1.0)
    assert caption.text[: caption.committed] == "and so"
    assert stabiliser.committed_end_s == 0.6


def test_case_and_punctuation_do_not_hinder_agreement() -> None:
    stabiliser = Stabiliser(AGREEMENT)
    stabiliser.update(said("And so, my fellow", confidence=0.9), 3.0)
    caption = stabiliser.update(said("and so my fellow", confidence=0.9), 3.0)
    assert caption.text[: caption.committed] == "and so"


def test_punctuation_that_is_not_settled_holds_words_up_only_until_they_are_old() -> None:
    stabiliser = Stabiliser(Policy(commit_age_s=1.0))
    first, second = said("And so, my fellow Americans"), said("And so my fellow Americans")
    fresh_s, old_s = second[1].end_s + 0.9, second[1].end_s + 1.0
    stabiliser.update(first, fresh_s - 0.1)
    caption = stabiliser.update(second, fresh_s)
    assert caption.text[: caption.committed] == "And so"
    caption = stabiliser.update(first, old_s)
    assert caption.text[: caption.committed].startswith("And so, my")


def test_punctuation_is_settled_also_where_words_come_in_before_it() -> None:
    stabiliser = Stabiliser(replace(LATER, show=0.0, commit=1.0, commit_after_s=0.5, commit_age_s=1.5, replace_after=1))
    old, one, two = HypothesisWord(" so", 0.0, 0.2), HypothesisWord(" one", 0.4, 0.8), HypothesisWord(" two", 1.5, 1.9)
    stabiliser.update([one, two], 2.0)
    caption = stabiliser.update([old, one, two], 2.5)
    assert caption.text[: caption.committed] == "so one two"


def test_the_last_committed_word_goes_without_its_punctuation() -> None:
    stabiliser = Stabiliser()
    stabiliser.update(said("my fellow Americans."), 3.0)
    caption = stabiliser.update(said("my fellow Americans."), 3.0)
    assert caption.text[: caption.committed] == "my fellow Americans"
    assert caption.text == "my fellow Americans."


def test_a_guess_that_forgets_what_was_committed_is_mended() -> None:
    stabiliser = Stabiliser()
    stabiliser.update(said("one two three"), 3.0)
    stabiliser.update(said("one two three"), 3.0)
    final = stabiliser.finish(said("won too three four"))
    assert final.text == "one two three four"


def test_a_mended_guess_keeps_its_spaces() -> None:
    stabiliser = Stabiliser()
    for _ in range(2):
        stabiliser.update(said("one two"), 3.0)
    words = [HypothesisWord("Three", 0.6, 0.9), HypothesisWord(" four", 0.9, 1.2)]
    assert stabiliser.finish(words).text == "one two Three four"


def test_nothing_is_nothing() -> None:
    assert Stabiliser().finish([]).text == ""


spoken = st.lists(
    st.sampled_from(["my", "Lase", "key,", "-", "Jeffrey", "Bigham", "Lasecki", "C", "Translate2"]), max_size=8
)


@given(st.lists(spoken, min_size=1, max_size=12))
def test_what_is_committed_never_ends_within_a_name_that_is_expected(guesses: list[list[str]]) -> None:
    names = ("Lasecki", "Jeffrey Bigham", "CTranslate2")
    stabiliser = Stabiliser(Policy(hold_s=0.0))
    for number, texts in enumerate(guesses):
        stabiliser.update(said(" ".join(texts)), 1.0 + number / 2, terms=names)
        words = stabiliser.committed.split()
        ends = {bare("".join(words[start:])) for start in range(len(words))} - {""}
        assert not [(end, name) for end in ends for name in map(bare, names) if name.startswith(end) and name != end]


def test_the_half_of_a_name_waits_for_the_other_half_or_for_what_comes_instead() -> None:
    committed = []
    stabiliser = Stabiliser()
    for text in ("my Jeffrey Lase", "my Jeffrey Lase key", "my Jeffrey Lase key and others"):
        for _ in range(2):
            stabiliser.update(said(text), 4.0, terms=["Lasecki", "Jeffrey Bigham"])
        committed.append(stabiliser.committed)
    assert committed == ["my", "my Jeffrey Lase key", "my Jeffrey Lase key and others"]
    assert stabiliser.finish(said("my Jeffrey Lase key and others")).text == "my Jeffrey Lase key and others"


def test_short_words_begin_a_name_only_if_they_are_written_like_it() -> None:
    for text, committed in (
        ("so and", "so and"),
        ("so And", "so"),
        ("so ande", "so"),
        ("so C", "so"),
        ("so c", "so c"),
    ):
        stabiliser = Stabiliser()
        for _ in range(2):
            stabiliser.update(said(text), 4.0, terms=["Andersson", "CTranslate2"])
        assert stabiliser.committed == committed


def guess(text: str, confidence: float) -> list[HypothesisWord]:
    return [HypothesisWord(text, 0.0, 0.4, confidence)]


def test_a_word_that_the_engine_doubts_must_stand_for_a_while() -> None:
    stabiliser = Stabiliser(LATER)
    doubted = [*guess(" thank", 0.2), HypothesisWord(" you", 0.4, 0.8)]
    captions = [stabiliser.update(doubted, covered_s) for covered_s in (1.0, 1.4, 1.5, 1.9, 2.0)]
    assert [caption.text for caption in captions] == ["", "", "thank you", "thank you", "thank you"]
    assert [caption.committed for caption in captions] == [0, 0, 0, 0, len("thank you")]


def test_a_word_that_the_engine_is_sure_of_is_shown_at_once() -> None:
    caption = Stabiliser(LATER).update([*guess(" stop", 0.99), HypothesisWord(" it", 0.4, 0.5)], 0.6)
    assert (caption.text, caption.committed) == ("stop it", len("stop"))


def test_a_word_that_more_sound_will_not_settle_is_settled() -> None:
    stabiliser = Stabiliser(replace(LATER, show_age_s=0.7, commit_age_s=1.2))
    guesses = [(" dial", 1.0), (" dow", 1.2), (" dial", 1.4), (" dow", 1.7)]
    captions = [stabiliser.update(guess(text, 0.3), covered_s) for text, covered_s in guesses]
    assert [caption.text for caption in captions] == ["", "dow", "dow", "dow"]
    assert [caption.committed for caption in captions] == [0, 0, 0, 3]


def test_a_word_that_is_guessed_otherwise_does_not_take_away_from_those_after_it() -> None:
    stabiliser = Stabiliser(replace(LATER, commit_after_s=0.8, show=0.0, replace_after=1))
    for text, covered_s in ((" dial", 1.0), (" dow", 1.5), (" dow", 1.6)):
        stabiliser.update([*guess(text, 0.2), HypothesisWord(" one", 0.4, 0.5, 0.2)], covered_s)
    caption = stabiliser.update([*guess(" dow", 0.99), HypothesisWord(" one", 0.4, 0.5, 0.2)], 1.9)
    assert caption.text[: caption.committed] == "dow one"


def test_doubt_begins_anew_when_the_word_changes() -> None:
    stabiliser = Stabiliser(LATER)
    guesses = [(" like", 1.0), (" like", 1.9), (" what", 2.0), (" what", 2.9)]
    assert [stabiliser.update(guess(text, 0.2), covered_s).committed for text, covered_s in guesses] == [0, 0, 0, 0]
    assert stabiliser.update(guess(" what", 0.2), 3.0).committed == len("what")


def test_a_shown_word_stays_until_another_is_guessed_twice() -> None:
    stabiliser = Stabiliser(LATER)
    stabiliser.update(guess(" like", 0.2), 1.0)
    assert stabiliser.update(guess(" like", 0.2), 1.5).text == "like"
    assert stabiliser.update(guess(" what", 0.2), 1.6).text == "like"
    assert stabiliser.update(guess(" like", 0.2), 1.7).text == "like"
    assert [stabiliser.update(guess(" what", 0.2), s).text for s in (1.8, 1.9)] == ["like", ""]


def test_a_shown_word_is_replaced_at_once_by_a_sure_one() -> None:
    stabiliser = Stabiliser(LATER)
    stabiliser.update(guess(" like", 0.2), 1.0)
    stabiliser.update(guess(" like", 0.2), 1.5)
    sure = [*guess(" what", 0.99), HypothesisWord(" your", 0.4, 0.8)]
    assert stabiliser.update(sure, 1.6).text == "what your"


def test_where_the_speaker_pauses_all_words_are_shown() -> None:
    assert Stabiliser(LATER).update(guess(" yes", 0.1), 0.4, ended=True).text == "yes"


@given(st.floats(0, 1), st.integers(1, 50), st.floats(-1, 30), st.booleans())
def test_a_chance_is_a_probability_that_grows_with_the_evidence(
    confidence: float, guesses: int, age_s: float, newest: bool
) -> None:
    known = chance(confidence, guesses, age_s, newest=newest)
    assert 0 < known < 1
    assert chance(confidence, guesses + 1, age_s, newest=newest) >= known
    assert chance(min(1.0, confidence + 0.1), guesses, age_s, newest=newest) >= known
