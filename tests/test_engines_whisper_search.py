"""The search for the sentence of a grammar that a sound bears out best."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamd.core.commands.hearing import Arc, Lattice
from streamd.engines.whisper.decoder import Decoder
from streamd.engines.whisper.mel import LogMel
from streamd.engines.whisper.search import Scorer, Speller
from streamd.engines.whisper.text import Tokens
from tests.speech import recording

STEPS = (("go", "turn"), ("forward", "backward"), ("two", "ten", "10"), ("meters",))


def chain(*steps: tuple[str, ...], ends: tuple[int, ...] = ()) -> Lattice:
    """One word of each step, in this order."""
    arcs = [tuple(Arc(word, number + 1) for word in step) for number, step in enumerate(steps)]
    return Lattice((*arcs, ()), frozenset(ends or [len(steps)]))


@pytest.fixture(scope="module")
def tokens(tiny_en: Path) -> Tokens:
    return Tokens(tiny_en / "tokenizer.json")


@pytest.fixture(scope="module")
def scorer(tiny_en: Path, tokens: Tokens) -> Scorer:
    """Someone who says "go forward ten meters"."""
    mel = LogMel(80)
    mel.feed(recording("goforward").pcm)
    model = ctranslate2.models.Whisper(str(tiny_en), compute_type="int8", intra_threads=1)
    encoded = model.encode(ctranslate2.StorageView.from_array(mel.window(2.0)[np.newaxis]))
    decoder = Decoder(tiny_en)
    start = tokens.start_sequence(None)
    prompts = [tokens.prompt(start, (), ()), tokens.prompt(start, (), tokens.encode("Turn left two miles."))]
    return Scorer(decoder, tokens, decoder.hear(np.array(encoded)[0]), prompts)


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def test_the_sentence_that_was_said_is_found(scorer: Scorer, tokens: Tokens) -> None:
    found = scorer.search(Speller(chain(*STEPS), tokens))
    assert plain(found[0].text) in ("go forward ten meters", "go forward 10 meters")
    assert found == sorted(found, key=lambda reading: -reading.log_probability)


def test_what_is_found_is_worth_what_it_is_worth_by_itself(scorer: Scorer, tokens: Tokens) -> None:
    for reading in scorer.search(Speller(chain(*STEPS), tokens))[:5]:
        [alone] = scorer.score([reading.text])
        assert alone.log_probability == pytest.approx(reading.log_probability, abs=0.02)
        assert alone.tokens == reading.tokens


def test_no_sentence_is_better_than_the_one_that_is_found(scorer: Scorer, tokens: Tokens) -> None:
    best = scorer.search(Speller(chain(*STEPS), tokens))[0].log_probability
    others = scorer.score([" ".join(words).capitalize() for words in itertools.product(*STEPS)])
    assert max(reading.log_probability for reading in others) <= best + 0.02


def test_texts_are_told_what_they_are_worth_without_sound(scorer: Scorer, tokens: Tokens) -> None:
    found = scorer.search(Speller(chain(*STEPS), tokens))
    assert max(reading.prior for reading in found) < found[0].log_probability
    for reading in found[:3]:
        [alone] = scorer.score([reading.text])
        assert alone.prior == pytest.approx(reading.prior, abs=0.02)
        assert alone.ending == pytest.approx(reading.ending, abs=0.02)
        assert alone.shortfall == pytest.approx(reading.shortfall, abs=0.02)


def test_the_sound_tells_whether_a_text_may_end_there(scorer: Scorer) -> None:
    whole, begun = scorer.score(["Go forward ten meters.", "Go forward"])
    assert whole.ending > 0 > begun.ending


def test_the_word_that_fits_least_is_known(scorer: Scorer) -> None:
    right, wrong = scorer.score(["Go forward ten meters.", "Go forward seventy meters."])
    assert right.shortfall + 2 < wrong.shortfall


def test_where_no_sentence_is_good_enough_none_is_found(scorer: Scorer, tokens: Tokens) -> None:
    speller = Speller(chain(*STEPS), tokens)
    best, *rest = scorer.search(speller)
    floor = best.log_probability - 0.5
    assert scorer.search(speller, floor)[0].text == best.text
    assert scorer.search(speller, floor=0.0) == []
    assert len(scorer.search(speller, floor)) < 1 + len(rest)


def test_ways_to_write_the_same_words_are_known_as_such(tokens: Tokens) -> None:
    speller = Speller(chain(*STEPS), tokens)

    def said(text: str) -> str:
        return "".join(speller.said(token)[0] for token in tokens.pieces(text)).replace("  ", " ")

    assert said(" Double-shot, Latte") == said(" double shot latte") == " double shot latte"
    assert said(" 1 12") != said(" 11 2")
    assert said(" 喫") != said(" 喨")  # their letters are cut into tokens


def test_a_sentence_may_end_where_another_goes_on(scorer: Scorer, tokens: Tokens) -> None:
    found = scorer.search(Speller(chain(*STEPS, ends=(2, 4)), tokens))
    assert "go forward" in {plain(reading.text) for reading in found}
    assert plain(found[0].text) in ("go forward ten meters", "go forward 10 meters")


def test_without_sentences_nothing_is_found(scorer: Scorer, tokens: Tokens) -> None:
    assert scorer.search(Speller(Lattice(((),), frozenset()), tokens)) == []


def test_marks_at_the_end_of_a_text_cost_nothing(scorer: Scorer) -> None:
    marked, unmarked, empty = scorer.score(["Go forward.", "Go forward", ""])
    assert marked.log_probability == unmarked.log_probability
    assert (empty.tokens, empty.log_probability < 0) == (0, True)
    assert scorer.score([]) == []


words = st.text("abcdeiou", min_size=1, max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(words, min_size=1, max_size=4, unique=True).map(tuple), min_size=1, max_size=4), st.data())
def test_nothing_but_sentences_is_spelled(tokens: Tokens, steps: list[tuple[str, ...]], data: st.DataObject) -> None:
    speller = Speller(chain(*steps), tokens)
    state, spelled = speller.start, []
    while not speller.is_end(state):
        following = speller.following(state)
        token = data.draw(st.sampled_from(sorted(following)))
        spelled.append(token)
        state = following[token]
    text = tokens.decode(spelled)
    assert plain(text).split() in [list(sentence) for sentence in itertools.product(*steps)]
    assert text.startswith(" ")
    assert text[1:2].isupper()


def test_every_sentence_can_be_spelled_with_hyphens_commas_and_capitals(tokens: Tokens) -> None:
    speller = Speller(chain(("run",), ("cnc",), ("mill",)), tokens)
    for text in (" Run cnc mill", " Run CNC mill", " Run Cnc-mill", " Run, cnc, Mill"):
        state = speller.start
        for token in tokens.pieces(text):
            state = speller.following(state)[token]
        assert speller.is_end(state)
