"""Whisper on short windows: features, tokens, words, evidence; and real speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.core.words import bare
from streamd.engines.base import Context, HypothesisWord, UnknownUtterance
from streamd.engines.whisper import build
from streamd.engines.whisper.engine import MIN_SOUND_S, WhisperEngine
from streamd.engines.whisper.evidence import believable
from streamd.engines.whisper.mel import LogMel, mel_filters
from streamd.engines.whisper.text import Tokens
from streamd.errors import UnavailableError
from tests.speech import read_aloud, recording, word_error_rate


@pytest.mark.parametrize("bands", [80, 128])
def test_mel_filters_are_the_reference_s(bands: int) -> None:
    np.testing.assert_allclose(mel_filters(bands), FeatureExtractor(feature_size=bands).mel_filters, atol=1e-7)


def test_features_are_the_reference_s_but_for_the_mirrored_end() -> None:
    pcm = recording("goforward").pcm
    mel = LogMel(80)
    mel.feed(pcm)
    window = mel.window(0.0)
    reference = FeatureExtractor()(pcm.astype(np.float32) / 32768.0, padding=0)
    inner = min(window.shape[1], reference.shape[1]) - 2
    np.testing.assert_allclose(window[:, :inner], reference[:, :inner], atol=1e-4)


@given(st.lists(st.integers(0, 2_000), max_size=10), st.floats(0, 3))
def test_features_do_not_depend_on_chunking(cuts: list[int], padding_s: float) -> None:
    pcm = np.random.default_rng(0).integers(-3_000, 3_000, sum(cuts), np.int16)
    whole, parts = LogMel(80), LogMel(80)
    whole.feed(pcm)
    at = 0
    for length in cuts:
        parts.feed(pcm[at : at + length])
        at += length
        parts.window(padding_s)
    np.testing.assert_allclose(parts.window(padding_s), whole.window(padding_s), atol=1e-5)
    assert whole.window(padding_s).shape[1] % 2 == 0


def said(*starts_s: float, confidence: float = 0.9) -> list[HypothesisWord]:
    return [HypothesisWord(f" w{n}", start, start + 0.2, confidence) for n, start in enumerate(starts_s)]


def test_words_beyond_the_sound_are_not_believed() -> None:
    assert [word.text for word in believable(said(0.1, 0.5, 2.1, 0.9), 1.0, 0.0, "")] == [" w0", " w1"]


def test_a_repetition_that_runs_out_of_sound_is_not_believed_from_its_start() -> None:
    texts = ["go", "forward", "ten", "meters", "go", "forward", "ten", "meters"]
    starts = (0.0, 0.7, 1.0, 1.5, 2.1, 4.7, 4.7, 4.7)
    words = [HypothesisWord(" " + text, at, at + 0.1) for text, at in zip(texts, starts, strict=True)]
    assert [word.text for word in believable(words, 2.7, 0.0, "")] == [" go", " forward", " ten", " meters"]
    assert len(believable(words, 2.7, 0.0, "go forward ten meters go")) == 5


def echoed(texts: str, length_s: float) -> list[HypothesisWord]:
    """The words twice; the first one of the second time has this length."""
    words = [HypothesisWord(f" {text}", 0.5 * n, 0.5 * n + 0.5) for n, text in enumerate([*texts.split()] * 2)]
    first = len(words) // 2
    words[first] = replace(words[first], end_s=words[first].start_s + length_s)
    return words


@pytest.mark.parametrize("texts", ["Thank you.", "Not at all.", "so good morning"])
def test_an_echo_is_not_believed_but_what_was_said_twice_is(texts: str) -> None:
    assert len(believable(echoed(texts, 0.0), 9.0, 0.0, "")) == len(texts.split())
    assert len(believable(echoed(texts, 0.14), 9.0, 0.0, "")) == 2 * len(texts.split())
    assert len(believable(echoed("no", 0.0), 9.0, 0.0, "")) == 2


def test_what_was_said_twice_stays_where_an_echo_follows() -> None:
    said_twice = [*echoed("He said no.", 0.2), *echoed("He said no.", 0.0)[3:]]
    words = [
        replace(word, start_s=0.5 * n, end_s=0.5 * n + word.end_s - word.start_s) for n, word in enumerate(said_twice)
    ]
    assert len(believable(words, 9.0, 0.0, "")) == 6


def spoken(texts: str, after: Sequence[HypothesisWord], confidence: float = 0.9) -> list[HypothesisWord]:
    """Words behind others."""
    at_s = after[-1].end_s
    return [HypothesisWord(f" {text}", at_s + n, at_s + n + 0.5, confidence) for n, text in enumerate(texts.split())]


@pytest.mark.parametrize("behind", ["And then he left.", "Yes.", "He said yes."])
def test_where_the_speaker_goes_on_only_the_echo_is_left_out(behind: str) -> None:
    echo = echoed("He said no.", 0.0)
    words = [*echo, *spoken(behind, echo)]
    assert believable(words, 9.0, 0.0, "") == (*words[:3], *words[6:])
    assert believable(words, 9.0, 0.0, "He said no. He") == tuple(words), "what was committed in part stays whole"
    assert believable([*words, replace(words[-1], start_s=9.1)], 9.0, 0.0, "") == (*words[:3], *words[6:])
    assert believable([*words[:6], *spoken(behind, echo, 0.4)], 9.0, 0.0, "") == tuple(words[:3]), "it is not sure"


def test_an_echo_that_goes_on_is_one() -> None:
    echo = echoed("He said no.", 0.0)
    for more in ("He said", "He said no.", "He said no. He"):
        assert believable([*echo, *spoken(more, echo)], 9.0, 0.0, "") == tuple(echo[:3])
    assert believable([*echo, *spoken("He said no. He left.", echo)], 9.0, 0.0, "")[3:] != ()


def test_words_behind_an_echo_without_sound_are_not_believed() -> None:
    echo = echoed("He said no.", 0.0)
    first, *others = spoken("And then", echo)
    assert believable([*echo, replace(first, end_s=first.start_s), *others], 9.0, 0.0, "") == tuple(echo[:3])


def test_words_in_silence_are_not_believed_unless_they_are_sure() -> None:
    assert believable(said(0.1, confidence=0.3), 1.0, 0.9, "") == ()
    assert len(believable(said(0.1, confidence=0.9), 1.0, 0.9, "")) == 1


def test_what_was_committed_is_believed_for_ever() -> None:
    assert [word.text for word in believable(said(0.1, 5.0, 6.0, confidence=0.1), 1.0, 0.9, "w0 w1")] == [" w0", " w1"]


def test_times_stay_within_the_sound() -> None:
    (word,) = believable([HypothesisWord(" w", 0.9, 1.7)], 1.0, 0.0, "")
    assert (word.start_s, word.end_s) == (0.9, 1.0)


@pytest.mark.model
class TestTokens:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Hello, world!", [" Hello,", " world!"]),
            ("don't (really) stop", [" don't", " (really)", " stop"]),
            ("ten - twelve", [" ten", " -", " twelve"]),
            ("今日は、いい天気", [" 今日は、", "いい", "天", "気"]),
            ("नमस्ते दुनिया", [" नमस्ते", " दुनिया"]),
            ("", []),
        ],
    )
    def test_words(self, base: Path, text: str, words: list[str]) -> None:
        tokens = Tokens(base / "tokenizer.json")
        ids = tokens.encode(text)
        spans = tokens.words(ids)
        assert [span.text for span in spans] == words
        assert [n for span in spans for n in range(span.start, span.stop)] == list(range(len(ids)))

    @given(st.text(max_size=40))
    @settings(deadline=None)
    def test_words_are_the_whole_text(self, base: Path, text: str) -> None:
        tokens = _tokens(base)
        ids = tokens.encode(text)
        spans = tokens.words(ids)
        assert "".join(span.text for span in spans) == tokens.decode(ids)
        assert [n for span in spans for n in range(span.start, span.stop)] == list(range(len(ids)))

    def test_a_foreign_vocabulary_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "tokenizer.json"
        file.write_text('{"version":"1.0","model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[]}')
        with pytest.raises(UnavailableError, match=r"no <\|endoftext\|>"):
            Tokens(file)


_CACHE: dict[Path, Tokens] = {}


def _tokens(folder: Path) -> Tokens:
    return _CACHE.setdefault(folder, Tokens(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def engine(tiny_en: Path) -> WhisperEngine:
    engine = build({"model_path": str(tiny_en)})
    engine.warm_up()
    return engine


@pytest.fixture(scope="module")
def multilingual(base: Path) -> WhisperEngine:
    return build({"model_path": str(base)})


@pytest.mark.model
class TestEngine:
    def test_real_speech(self, engine: WhisperEngine) -> None:
        for name in ("jfk", "austen_0870", "goforward"):
            speech = recording(name)
            hypothesis = engine.advance(name, speech.pcm, True, Context(), first=True)
            assert word_error_rate(speech.text, hypothesis.text) <= 0.25
            assert hypothesis.covered_s == pytest.approx(len(speech.pcm) / 16_000)

    def test_decoding_goes_on_from_what_was_committed(self, engine: WhisperEngine) -> None:
        context = Context(committed="And so my fellow Canadians")
        hypothesis = engine.advance("a", recording("jfk").pcm, True, context, first=True)
        assert hypothesis.text.startswith("And so my fellow Canadians")
        assert hypothesis.text.count("fellow") == 1
        assert "your country" in hypothesis.text

    def test_noise_and_silence_say_nothing(self, engine: WhisperEngine) -> None:
        noise = np.random.default_rng(2).normal(0, 300, 16_000 * 3).astype(np.int16)
        for number, sound in enumerate((noise, np.zeros(48_000, np.int16))):
            assert engine.advance(str(number), sound, True, Context(), first=True).text == ""

    @pytest.mark.parametrize("amplitude", [0, 8, 60])
    def test_nobody_thanks_in_the_silence_after_speech(self, multilingual: WhisperEngine, amplitude: int) -> None:
        silence = (np.random.default_rng(0).normal(0, 1, 19_200) * amplitude).astype(np.int16)
        for name in ("jfk", "austen_0890"):
            sound = np.concatenate([recording(name).pcm, silence])
            hypothesis = multilingual.advance(name, sound, True, Context(language="en"), first=True)
            assert bare(hypothesis.words[-1].text).endswith(bare(recording(name).text.split()[-1]))

    def test_too_little_sound_holds_no_word(self, engine: WhisperEngine) -> None:
        sound = np.zeros(int(MIN_SOUND_S * 16_000) - 1, np.int16)
        assert engine.advance("a", sound, True, Context(), first=True).words == ()

    def test_unknown_utterances_are_said_to_be(self, engine: WhisperEngine) -> None:
        with pytest.raises(UnknownUtterance):
            engine.advance("never", recording("jfk").pcm, False, Context(), first=False)

    def test_the_stages_are_timed(self, engine: WhisperEngine) -> None:
        hypothesis = engine.advance("a", recording("goforward").pcm, True, Context(), first=True)
        assert set(hypothesis.timings_ms) == {"features", "batch", "encoder", "decoder", "align"}

    def test_a_model_that_does_not_load_is_explained(self, tiny_en: Path, tmp_path: Path) -> None:
        for name in ("tokenizer.json", "config.json", "vocabulary.txt"):
            (tmp_path / name).write_bytes((tiny_en / name).read_bytes())
        (tmp_path / "model.bin").write_bytes(b"rubbish")
        with pytest.raises(UnavailableError, match="does not load as int8 on cpu"):
            build({"model_path": str(tmp_path)})


@pytest.mark.model
class TestMultilingual:
    def test_the_language_is_detected(self, multilingual: WhisperEngine) -> None:
        hypothesis = multilingual.advance("a", recording("jfk").pcm, True, Context(), first=True)
        assert hypothesis.language == "en"

    def test_a_fixed_language_is_kept(self, multilingual: WhisperEngine) -> None:
        hypothesis = multilingual.advance("a", recording("jfk").pcm, True, Context(language="de"), first=True)
        assert hypothesis.language == "de"

    def test_a_language_nobody_knows_is_refused(self, multilingual: WhisperEngine) -> None:
        with pytest.raises(ValueError, match="'xx'"):
            multilingual.advance("a", recording("jfk").pcm, True, Context(language="xx"), first=True)


@pytest.mark.model
def test_what_was_said_once_is_not_written_twice(engine: WhisperEngine, tmp_path: Path) -> None:
    silence = np.zeros(9_600, np.int16)
    for text in ("Good morning.", "Thank you."):
        sound = np.concatenate([read_aloud(text, tmp_path / "speech.wav"), silence])
        hypothesis = engine.advance("a", sound, True, Context(), first=True)
        assert hypothesis.text.rstrip(".!") == text.rstrip(".")


@pytest.mark.model
def test_what_comes_after_a_long_pause_is_heard_as_well(engine: WhisperEngine) -> None:
    pause = np.zeros(2 * 16_000, np.int16)
    pieces = [recording("goforward"), recording("austen_0890")]
    sound = np.concatenate([pieces[0].pcm, pause, pieces[1].pcm])
    hypothesis = engine.advance("a", sound, True, Context(), first=True)
    assert word_error_rate(" ".join(piece.text for piece in pieces), hypothesis.text) <= 0.25
    assert [word.start_s for word in hypothesis.words] == sorted(word.start_s for word in hypothesis.words)


@pytest.mark.model
def test_a_final_is_decoded_freely_where_it_says_what_was_committed(engine: WhisperEngine) -> None:
    context = Context(committed="go forward 10 meters")
    hypothesis = engine.advance("a", recording("goforward").pcm, True, context, first=True)
    assert hypothesis.text.rstrip(".") == "go forward 10 meters"
