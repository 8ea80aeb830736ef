"""Names and jargon: what Whisper reads of them, and which of those that it writes the sound bears out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamd.core.stabilise import Stabiliser
from streamd.engines.base import Context, HypothesisWord
from streamd.engines.whisper import build
from streamd.engines.whisper.engine import WhisperEngine
from streamd.engines.whisper.hotwords import MOST_TOKENS, is_borne_out, is_doubtful, prompt
from streamd.engines.whisper.text import Tokens
from tests.speech import read_aloud, recording

TERMS = ("Lasecki", "Okafor", "Jeffrey Bigham", "AI")


def guess(text: str, confidence: float = 0.5) -> list[HypothesisWord]:
    return [HypothesisWord(f" {word}", n / 4, n / 4 + 0.25, confidence) for n, word in enumerate(text.split())]


@pytest.mark.parametrize(
    ("text", "confidence", "doubtful"),
    [
        ("Please welcome Lasecki to the stage.", 0.5, False),
        ("Please welcome Lasecki's team.", 0.01, True),
        ("Nobody of that name.", 0.01, False),
        ("Okafor, Lasecki.", 0.5, True),
        ("Jeffrey Bigham is here.", 0.5, True),
        ("Aiming is not AI.", 0.5, False),
        ("", 0.5, False),
    ],
)
def test_terms_that_the_model_would_not_write_by_itself_are_doubtful(
    text: str, confidence: float, doubtful: bool
) -> None:
    assert is_doubtful(guess(text, confidence), TERMS) is doubtful
    assert not is_doubtful(guess(text, confidence), ())


def test_what_was_committed_is_not_doubted_again() -> None:
    words = guess("Lasecki, Okafor, and others.", 0.01)
    assert is_doubtful(words, TERMS, committed="Lasecki,")
    assert not is_doubtful(words, TERMS, committed="Lasecki, Okafor,")
    assert not is_doubtful(words, TERMS, committed="Lasecki, Okafor, and others. And more")


@pytest.mark.parametrize(
    ("told", "free", "borne_out"),
    [
        ("Please welcome Lasecki.", "Please welcome the setsky.", True),
        ("I thank you, Lasecki.", "I thank you.", False),
        ("Lasecki, Okafor and AI.", "Lesetski, Okafir and a eye.", True),
        ("Lasecki, Okafor", "There's a lot of people around.", False),
        ("Jeffrey Bigham is here.", "Jeffrey Bigham is here.", True),
        ("Jeffrey Bigham is here.", "Jeffrey Bingham is there.", True),
        ("Nothing of that kind.", "Something of that kind.", True),
    ],
)
def test_a_term_needs_something_in_its_place_and_several_the_like(told: str, free: str, borne_out: bool) -> None:
    assert is_borne_out(guess(told), guess(free), TERMS) is borne_out


def test_what_there_is_no_room_for_is_left_out(tiny_en: Path) -> None:
    tokens = Tokens(tiny_en / "tokenizer.json")
    assert prompt(tokens, ()) == []
    assert tokens.decode(prompt(tokens, TERMS[:2])) == " Glossary: Lasecki, Okafor."
    many = prompt(tokens, ["नमस्ते दुनिया"] * 40)
    assert 180 < len(many) <= MOST_TOKENS
    assert prompt(tokens, ["नमस्ते दुनिया" * 20]) == []


@pytest.fixture(scope="module")
def engine(tiny_en: Path) -> WhisperEngine:
    return build({"model_path": str(tiny_en)})


@pytest.mark.model
def test_a_name_is_written_as_it_was_told(engine: WhisperEngine) -> None:
    sound = recording("austen_0870").pcm
    for name in ("Dashwood", "Dashwoode"):
        hypothesis = engine.advance("a", sound, True, Context(vocabulary=(name,)), first=True)
        assert f"John {name} " in hypothesis.text


@pytest.mark.model
def test_a_name_is_not_begun_twice(engine: WhisperEngine, tmp_path: Path) -> None:
    """While it is spoken its first half is a word of its own, from which the engine, told of the name, goes on."""
    sound = read_aloud("The paper by Lasecki and others describes real time captioning.", tmp_path / "speech.wav")
    terms, stabiliser, heard = ("Lasecki", "CTranslate2"), Stabiliser(), 0
    for stop in range(16 * 240, len(sound), 16 * 280):
        context = Context(committed=stabiliser.committed, vocabulary=terms)
        guess = engine.advance("a", sound[heard:stop], False, context, first=not heard)
        stabiliser.update(guess.words, guess.covered_s, terms=terms)
        heard = stop
    context = Context(committed=stabiliser.committed, vocabulary=terms)
    final = stabiliser.finish(engine.advance("a", sound[heard:], True, context, first=False).words)
    assert "others" in final.text
    assert final.text.count(" Las") <= 1


@pytest.mark.model
@pytest.mark.parametrize("name", ["jfk", "goforward", "austen_0890"])
def test_terms_do_no_harm_where_nobody_says_them(engine: WhisperEngine, name: str) -> None:
    terms = ("Lasecki", "Okafor", "Kubernetes", "CTranslate2")
    plain = engine.advance("a", recording(name).pcm, True, Context(), first=True)
    told = engine.advance("a", recording(name).pcm, True, Context(vocabulary=terms), first=True)
    assert plain.text.casefold().split()[:3] == told.text.casefold().split()[:3]
    assert not any(term.casefold() in told.text.casefold() for term in terms)


@pytest.mark.model
def test_noise_recites_no_terms(engine: WhisperEngine) -> None:
    noise = np.random.default_rng(3).normal(0, 2_000, 3 * 16_000).astype(np.int16)
    assert engine.advance("a", noise, True, Context(vocabulary=TERMS), first=True).text == ""
