"""Committed text is append-only, whatever the engine says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd.core.stabilise import CommitPolicy, Stabiliser
from streamd.core.words import HypothesisWord, join

texts = st.sampled_from(
    [" and", " so", " my", " My", " fellow,", " fellow", " Americans.", " ask", "n't", "。", "日本", " -", " 5%"]
)
hypotheses = st.lists(st.lists(st.tuples(texts, st.floats(0.05, 1.0)), max_size=8), min_size=1, max_size=12)


def timed(pairs: list[tuple[str, float]]) -> list[HypothesisWord]:
    words, at_s = [], 0.0
    for text, length_s in pairs:
        words.append(HypothesisWord(text, at_s, at_s + length_s))
        at_s += length_s
    return words


def said(text: str, each_s: float = 0.3) -> list[HypothesisWord]:
    return timed([(" " + word, each_s) for word in text.split()])


@given(hypotheses, st.floats(0, 0.5))
def test_committed_text_is_append_only_and_begins_the_final(
    guesses: list[list[tuple[str, float]]], hold_s: float
) -> None:
    stabiliser, committed = Stabiliser(CommitPolicy(hold_s=hold_s)), ""
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
    stabiliser = Stabiliser()
    assert stabiliser.update(said("and so my"), 2.0).committed == 0
    caption = stabiliser.update(said("and so my fellow"), 2.5)
    assert caption.text[: caption.committed] == "and so my"


def test_words_that_lean_on_the_newest_sound_wait() -> None:
    stabiliser = Stabiliser(CommitPolicy(hold_s=0.3))
    stabiliser.update(said("and so my"), 0.9)
    caption = stabiliser.update(said("and so my"), 1.0)
    assert caption.text[: caption.committed] == "and so"
    assert stabiliser.committed_end_s == 0.6


def test_case_and_punctuation_do_not_hinder_agreement() -> None:
    stabiliser = Stabiliser()
    stabiliser.update(said("And so, my fellow"), 3.0)
    caption = stabiliser.update(said("and so my fellow"), 3.0)
    assert caption.text[: caption.committed] == "and so"


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


def test_a_word_that_the_engine_doubts_must_stand_for_a_while() -> None:
    stabiliser = Stabiliser(CommitPolicy(hold_s=0.0, sure=0.5, patience_s=1.0))
    doubted = [HypothesisWord(" thank", 0.0, 0.4, confidence=0.3), HypothesisWord(" you", 0.4, 0.8)]
    committed = [stabiliser.update(doubted, covered_s).committed for covered_s in (1.0, 1.5, 1.9, 2.0)]
    assert committed == [0, 0, 0, len("thank you")]


def test_doubt_begins_anew_when_the_word_changes() -> None:
    stabiliser = Stabiliser(CommitPolicy(hold_s=0.0, sure=0.5, patience_s=1.0))
    like, what = ([HypothesisWord(text, 0.0, 0.4, confidence=0.3)] for text in (" like", " what"))
    guesses = [(like, 1.0), (like, 1.9), (what, 2.0), (what, 2.9)]
    assert [stabiliser.update(guess, covered_s).committed for guess, covered_s in guesses] == [0, 0, 0, 0]
    assert stabiliser.update(what, 3.0).committed == 4
