"""Gemma hears utterances: the cost of a guess does not grow with what was heard, and bad input is said to be bad.

What every engine must do is in test_engines_conformance.py.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamd.core.audio import FRAME_SAMPLES, SAMPLE_RATE
from streamd.core.words import join
from streamd.engines.base import Context, Hypothesis, UnknownUtterance
from streamd.engines.gemma import build
from streamd.engines.gemma.engine import LONGEST_S, PROMPTS, GemmaEngine
from streamd.engines.gemma.graphs import Graph
from streamd.engines.gemma.greedy import REDRAFT_TOKENS
from streamd.engines.gemma.prompt import Ask
from streamd.errors import UnavailableError
from tests.gemma_data import MODEL, recording

OPTIONS = {"model_path": str(MODEL), "threads": 1, "frames_per_call": 1}
NOTHING = Context()
SPEECH = np.concatenate([recording()] * 3)  # 33 s


@pytest.fixture(scope="module")
def engine() -> GemmaEngine:
    engine = build(OPTIONS)
    engine.warm_up()
    return engine


def hear(engine: GemmaEngine, samples: int, *, step_s: float = 0.24, context: Context = NOTHING) -> list[Hypothesis]:
    """The guesses as sound comes in, the last one the final."""
    step = round(step_s * SAMPLE_RATE)
    starts = range(0, samples, step)
    return [
        engine.advance("u", SPEECH[at : min(samples, at + step)], at + step >= samples, context, first=at == 0)
        for at in starts
    ]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of each graph, and tokens or frames that went through it."""
    counted: Counter[str] = Counter()
    run = Graph.run

    def counting(self: Graph, feeds: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        counted[f"{self.role} calls"] += 1
        for name, rows in (("inputs_embeds", 1), ("input_features", 4)):
            if name in feeds and name in self.inputs:
                counted[f"{self.role} tokens"] += feeds[name].shape[1] // rows
        return run(self, feeds)

    monkeypatch.setattr(Graph, "run", counting)
    return counted


def test_no_sound_is_read_twice_however_much_was_heard(engine: GemmaEngine, calls: Counter[str]) -> None:
    """New sound goes through encoder and prefill once; the decoder reads prompts and words, no sound."""
    for second in range(28):
        part = SPEECH[second * SAMPLE_RATE : (second + 1) * SAMPLE_RATE]
        engine.advance("cost", part, False, NOTHING, first=second == 0)
        for graph in ("audio_encoder_stream", "decoder_audio_prefill"):
            assert calls[f"{graph} tokens"] == 25 * (second + 1)
    assert engine._open["cost"].start_s > 8
    engine.forget("cost")


def test_a_guess_costs_no_more_however_much_was_heard(engine: GemmaEngine, calls: Counter[str]) -> None:
    """What the decoder reads is bounded by what was said since the last piece ended."""
    lead = len(engine._prompt.behind)
    for second in range(28):
        part = SPEECH[second * SAMPLE_RATE : (second + 1) * SAMPLE_RATE]
        state = engine._open.get("cost")
        calls.clear()
        draft, start_s = (len(state.caption.tokens), state.start_s) if state else (0, 0.0)
        engine.advance("cost", part, False, NOTHING, first=second == 0)
        state = engine._open["cost"]
        assert second + 1 - state.start_s < engine._options.piece_s + 6  # Kennedy pauses, but it is not always quiet
        passes, read = calls["decoder_model_merged calls"], calls["decoder_model_merged tokens"]
        if state.start_s == start_s:
            assert read <= lead + draft + (passes - 1) * (1 + REDRAFT_TOKENS)
            assert passes <= len(state.caption.tokens) + 1
    engine.forget("cost")


def test_each_piece_is_heard_behind_what_was_said_before(engine: GemmaEngine) -> None:
    """A piece says what the same sound says as an utterance of its own, after the same words."""
    engine.advance("u", SPEECH[: 15 * SAMPLE_RATE], False, Context(previous="Good morning."), first=True)
    state = engine._open["u"]
    at = round(state.start_s * SAMPLE_RATE)
    assert 8 * SAMPLE_RATE <= at < 15 * SAMPLE_RATE
    for start, end, said, words in (
        (0, at + 1, "Good morning.", state.settled),  # the sound goes on: see the rule in features.py
        (at, 15 * SAMPLE_RATE, f"Good morning. {join(state.settled)}", state.caption.words),
    ):
        alone = engine.advance("v", SPEECH[start:end], False, Context(previous=said), first=True)
        assert join(alone.words) == join(words)
        engine.forget("v")
    engine.forget("u")


def test_pieces_need_not_be_short() -> None:
    engine = build(OPTIONS | {"piece_s": 28.0})
    engine.advance("u", SPEECH[: 20 * SAMPLE_RATE], False, NOTHING, first=True)
    assert engine._open["u"].settled == ()


def test_what_was_committed_stays_across_pieces(engine: GemmaEngine) -> None:
    """Also if the sound comes again at once, as after a worker that died, and the words are another engine's."""
    guesses = hear(engine, 28 * SAMPLE_RATE, step_s=1.0)
    for committed in (join(guesses[20].words[:-1]), "And so my fellow Americans"):
        context = Context(committed=committed)
        again = engine.advance("again", SPEECH[: 21 * SAMPLE_RATE], False, context, first=True)
        assert again.text.startswith(committed)
        later = engine.advance("again", SPEECH[21 * SAMPLE_RATE : 28 * SAMPLE_RATE], True, context, first=False)
        assert later.text.startswith(committed)
        assert all(earlier.end_s <= word.start_s + 1e-6 for earlier, word in pairwise(later.words))


def test_the_words_of_pieces_make_one_text(engine: GemmaEngine) -> None:
    final = hear(engine, 28 * SAMPLE_RATE, step_s=1.0)[-1]
    assert len(final.words) > 5
    assert all(word.text.startswith(" ") for word in final.words[1:] if word.text.strip().isalpha())
    assert final.words[-1].end_s <= 28.04


def test_a_guess_in_a_pause_is_as_good_as_the_last(engine: GemmaEngine) -> None:
    for number, thorough in enumerate((Context(thorough=True), NOTHING)):
        guess = engine.advance(f"u{number}", SPEECH[:64_000], number == 1, thorough, first=True)
        assert guess.thorough
        assert guess.covered_s == 4.0
    engine.forget("u0")


def test_a_guess_that_stays_takes_one_pass(engine: GemmaEngine, calls: Counter[str]) -> None:
    engine.advance("u", SPEECH[:80_000], False, NOTHING, first=True)
    calls.clear()
    engine.advance("u", SPEECH[:0], False, NOTHING, first=False)
    assert calls["decoder_model_merged calls"] == 1
    assert calls["audio_encoder_stream calls"] == calls["decoder_audio_prefill calls"] == 0
    engine.forget("u")


def test_the_prompt_is_read_once_for_all_utterances(engine: GemmaEngine, calls: Counter[str]) -> None:
    hear(engine, 8_000)
    calls.clear()
    engine.advance("v", SPEECH[:0], True, NOTHING, first=True)
    assert not calls


def test_of_a_prompt_with_a_context_only_the_context_is_read(engine: GemmaEngine, calls: Counter[str]) -> None:
    hear(engine, 8_000)
    calls.clear()
    engine.advance("v", SPEECH[:0], True, Context(previous="Good morning."), first=True)
    assert calls["decoder_model_merged calls"] == 1
    plain, whole = engine._prompt.before(Ask()), engine._prompt.before(Ask(), (), "Good morning.")
    assert calls["decoder_model_merged tokens"] <= len(whole) - len(plain) + 3


def test_a_replay_from_the_start_says_the_same(engine: GemmaEngine) -> None:
    """As after a worker that died: what was heard is heard again in one piece."""
    guesses = hear(engine, 80_000)
    for number in (1, 5, len(guesses) - 2):
        heard = min(80_000, (number + 1) * round(0.24 * SAMPLE_RATE))
        again = engine.advance("again", SPEECH[:heard], False, NOTHING, first=True)
        assert again.text == guesses[number].text
    engine.forget("again")


@pytest.mark.parametrize("step_s", [0.04, 0.1, 0.5, 3.0, 10.0])
def test_chunks_of_any_size_give_the_same_final(engine: GemmaEngine, step_s: float) -> None:
    assert hear(engine, 50_000, step_s=step_s)[-1].text == hear(engine, 50_000, step_s=20)[-1].text


@pytest.mark.parametrize("step_s", [0.6, 1.7, 9.0])
def test_pieces_do_not_depend_on_chunks(engine: GemmaEngine, step_s: float) -> None:
    final, whole = (hear(engine, 28 * SAMPLE_RATE, step_s=step)[-1] for step in (step_s, 30))
    assert final.text == whole.text
    assert [word.end_s for word in final.words] == pytest.approx([word.end_s for word in whole.words])


@pytest.mark.parametrize("samples", [0, 1, 160, 161, 639, 640, 641, 1_280, 12_800])
def test_sound_of_any_length(engine: GemmaEngine, samples: int) -> None:
    hypothesis = engine.advance("u", SPEECH[20_000 : 20_000 + samples], True, NOTHING, first=True)
    assert hypothesis.covered_s == samples / SAMPLE_RATE
    assert all(word.end_s <= FRAME_SAMPLES / SAMPLE_RATE + hypothesis.covered_s for word in hypothesis.words)
    if samples <= 160:  # not a single frame
        assert hypothesis.words == ()


def test_nothing_is_made_up_about_silence(engine: GemmaEngine, calls: Counter[str]) -> None:
    silence = np.zeros(SAMPLE_RATE, np.int16)
    assert engine.advance("u", silence, False, NOTHING, first=True).words == ()
    assert calls["decoder_model_merged calls"] == 0
    final = engine.advance("u", silence, True, Context(committed="So it is."), first=False)
    assert final.text == "So it is."


def test_what_was_said_before_may_be_kept_from_the_model() -> None:
    engine = build(OPTIONS | {"carry_over": False})
    told, alone = Context(previous="Good morning to all of you."), Context()
    heard = [engine.advance("u", SPEECH[:32_000], True, context, first=True) for context in (told, alone)]
    assert heard[0].text == heard[1].text
    engine = build(OPTIONS)
    heard = [engine.advance("u", SPEECH[:32_000], True, context, first=True) for context in (told, alone)]
    assert heard[0].text != heard[1].text


def test_prompts_are_kept_for_a_few_languages(engine: GemmaEngine) -> None:
    for language in ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "pl"):
        engine.advance("u", SPEECH[:0], True, Context(language=language), first=True)
    assert len(engine._prompts) == PROMPTS


def test_the_language_is_the_one_that_was_asked_for(engine: GemmaEngine) -> None:
    hypothesis = engine.advance("u", SPEECH[:16_000], True, Context(language="de"), first=True)
    assert hypothesis.language == "de"
    assert engine.advance("u", SPEECH[:16_000], True, NOTHING, first=True).language is None


def test_the_stages_are_timed(engine: GemmaEngine) -> None:
    hypothesis = engine.advance("u", SPEECH[:16_000], True, NOTHING, first=True)
    assert set(hypothesis.timings_ms) == {"prompt", "features", "encoder", "prefill", "decoder"}


def test_more_than_it_was_trained_on_is_refused_where_nobody_pauses() -> None:
    whole = build(OPTIONS | {"piece_s": 40.0})
    with pytest.raises(UnavailableError, match=r"30\.5 s without a pause are more than Gemma hears at a time"):
        whole.advance("u", SPEECH[: round((LONGEST_S + 0.5) * SAMPLE_RATE)], False, NOTHING, first=True)


def test_an_unknown_utterance_is_said_to_be(engine: GemmaEngine) -> None:
    with pytest.raises(UnknownUtterance):
        engine.advance("never", SPEECH[:640], False, NOTHING, first=False)


def test_numbers_that_are_none_end_the_call(engine: GemmaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Graph.run

    def broken(self: Graph, feeds: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        outputs = run(self, feeds)
        return {name: array * np.nan if array.dtype == np.float32 else array for name, array in outputs.items()}

    monkeypatch.setattr(Graph, "run", broken)
    with pytest.raises(UnavailableError, match="gave no numbers"):
        engine.advance("u", SPEECH[:16_000], True, NOTHING, first=True)


def test_frames_at_a_time_are_measured_where_they_are_not_given() -> None:
    engine = build(OPTIONS | {"frames_per_call": 0})
    engine.warm_up()
    assert 1 <= engine._frames_per_call <= 8


def test_the_offline_encoder_does_where_there_is_no_other(engine: GemmaEngine, tmp_path: Path) -> None:
    """As in onnx-community's folders, which have no graph for sound alone either."""
    folder = Path(shutil.copytree(MODEL, tmp_path / "public"))
    for name in ("audio_encoder_stream", "decoder_audio_prefill"):
        (folder / "onnx" / f"{name}.onnx").unlink()
    (folder / "manifest.json").unlink()
    public = build(OPTIONS | {"model_path": str(folder)})
    assert [guess.text for guess in hear(public, 64_000)] == [guess.text for guess in hear(engine, 64_000)]


def test_a_tokenizer_with_more_tokens_than_the_decoder_writes_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODEL, tmp_path / "model"))
    (folder / "config.json").unlink()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["more"] = 1024
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(
        UnavailableError, match=r"decoder_model_merged\.onnx writes 1024 tokens, tokenizer.json has 1025"
    ):
        build(OPTIONS | {"model_path": str(folder)})
