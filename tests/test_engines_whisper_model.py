"""Several windows that are decoded together are heard as each would be by itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from streamd.core.audio import Pcm
from streamd.core.languages import likeliest, weigh
from streamd.core.words import HypothesisWord, bare, join
from streamd.engines.base import Context
from streamd.engines.stopwatch import Stopwatch
from streamd.engines.whisper import build
from streamd.engines.whisper.engine import PADDING_S
from streamd.engines.whisper.hotwords import MOST_TOKENS, prompt
from streamd.engines.whisper.mel import Float32, LogMel
from streamd.engines.whisper.model import Encoded, Model, Window
from tests.gate import PATIENCE_S
from tests.speech import recording, word_error_rate

NAMES = ("jfk", "austen_0870", "austen_0890")


@pytest.fixture(scope="module")
def model(tiny_en: Path) -> Model:
    return Model(tiny_en, "int8", "cpu", 1)


@pytest.fixture(scope="module")
def multilingual(base: Path) -> Model:
    return Model(base, "int8", "cpu", 1)


def window(pcm: Pcm, committed: str = "", **known: object) -> Window:
    mel = LogMel(80)
    mel.feed(pcm)
    return Window(mel.window(PADDING_S), mel.seconds, committed, **known)  # type: ignore[arg-type]


def hear(model: Model, *windows: Window) -> list[tuple[HypothesisWord, ...]]:
    return model.words(model.encode([each.mel for each in windows]), windows, 3, Stopwatch())


def texts(guesses: Sequence[Sequence[HypothesisWord]]) -> list[list[str]]:
    return [[bare(word.text) for word in words] for words in guesses]


@pytest.mark.model
class TestTogether:
    def test_windows_of_one_length_are_heard_as_each_is_alone(self, model: Model) -> None:
        windows = [window(recording(name).pcm[: 4 * 16_000]) for name in NAMES]
        alone = [hear(model, each)[0] for each in windows]
        together = hear(model, *windows)
        assert texts(together) == texts(alone)
        for ours, theirs in zip(together, alone, strict=True):
            assert [word.start_s for word in ours] == pytest.approx([word.start_s for word in theirs], abs=0.05)
            assert [word.confidence for word in ours] == pytest.approx([word.confidence for word in theirs], abs=0.05)

    def test_shorter_ones_are_filled_up_and_their_times_stay_within_them(self, model: Model) -> None:
        lengths_s = (4.0, 4.5, 5.0)
        windows = [window(recording(n).pcm[: int(s * 16_000)]) for n, s in zip(NAMES, lengths_s, strict=True)]
        for each, words in zip(windows, hear(model, *windows), strict=True):
            assert words[-1].end_s <= each.seconds
            assert word_error_rate(join(hear(model, each)[0]), join(words)) <= 0.2

    def test_each_goes_on_from_its_own_committed_words(self, model: Model) -> None:
        begun = {"jfk": "And so", "austen_0870": "He was", "austen_0890": "She had a"}
        windows = [window(recording(name).pcm[: 4 * 16_000], text) for name, text in begun.items()]
        together = hear(model, *windows)
        assert texts(together) == texts([hear(model, each)[0] for each in windows])
        assert all(join(words).startswith(text) for words, text in zip(together, begun.values(), strict=True))

    @pytest.mark.parametrize("seconds", [0.3, 1.0, 3.0])
    def test_a_vocabulary_as_long_as_there_is_room_for_leaves_room_for_words(
        self, model: Model, seconds: float
    ) -> None:
        terms = tuple(f"Kubernetes{n}" for n in range(40))
        assert len(prompt(model.tokens, terms)) > MOST_TOKENS - 10
        pcm = recording("jfk").pcm[4_000 : 4_000 + int(seconds * 16_000)]
        hear(model, window(pcm, vocabulary=terms))
        free, other = hear(model, *[window(pcm, vocabulary=terms)] * 2)
        assert free == other
        (more,) = hear(model, window(pcm, "And so", vocabulary=terms))
        assert join(more).startswith("And so")

    def test_a_window_without_words_leaves_the_others_theirs(self, model: Model) -> None:
        silence, speech = np.zeros(4 * 16_000, np.int16), recording("jfk").pcm[: 4 * 16_000]
        nothing, something = hear(model, window(silence), window(speech))
        assert nothing == ()
        assert "my fellow" in join(something).lower()
        assert hear(model, window(silence), window(silence)) == [(), ()]

    def test_languages_are_told_apart_and_written_each_in_its_own(self, multilingual: Model) -> None:
        names = ("fr_pangrama", "pt_pangrama")
        windows = [window(recording(f"languages/{name}").pcm) for name in names]
        encoded = multilingual.encode([each.mel for each in windows])
        found = multilingual.detect(encoded, [each.seconds for each in windows])
        assert [likeliest(weigh({}, each)) for each in found] == ["fr", "pt"]
        spoken = [Window(each.mel, each.seconds, language=name[:2]) for each, name in zip(windows, names, strict=True)]
        for name, words in zip(names, multilingual.words(encoded, spoken, 3, Stopwatch()), strict=True):
            assert word_error_rate(recording(f"languages/{name}").text, join(words)) <= 0.5

    def test_a_recited_vocabulary_is_found_out_in_company_too(self, model: Model) -> None:
        terms = ("Lasecki", "Okafor", "Jeffrey Bigham", "AI")
        noise = np.random.default_rng(0).normal(0, 8_000, 4 * 16_000).astype(np.int16)
        pcm = recording("jfk").pcm[: 4 * 16_000]
        said, recited = hear(model, window(pcm, vocabulary=terms), window(noise, vocabulary=terms))
        assert "my fellow" in join(said).lower()
        assert not {bare(word.text) for word in (*said, *recited)} & {bare(term) for term in terms}


def test_only_like_windows_share_a_batch() -> None:
    one = Window(np.zeros((80, 400), np.float32), 2.0)
    assert one.is_like(Window(np.zeros((80, 500), np.float32), 3.0))
    assert not one.is_like(Window(np.zeros((80, 502), np.float32), 3.02))
    assert not one.is_like(Window(one.mel, 2.0, committed="Go"))
    assert not one.is_like(Window(one.mel, 2.0, vocabulary=("Okafor",)))


@pytest.mark.model
def test_partials_that_come_while_the_model_is_busy_are_heard_together(
    tiny_en: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = build({"model_path": str(tiny_en), "threads": 1})
    batches: list[int] = []
    busy, free = threading.Event(), threading.Event()
    encode = Model.encode

    def held(model: Model, mels: Sequence[Float32]) -> Encoded:
        batches.append(len(mels))
        busy.set()
        assert free.wait(PATIENCE_S)
        return encode(model, mels)

    monkeypatch.setattr(Model, "encode", held)
    sounds = {name: recording(name).pcm[: 4 * 16_000] for name in NAMES}
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(engine.advance, "first", sounds["jfk"], False, Context(), first=True)
        assert busy.wait(PATIENCE_S)
        calls = {
            name: pool.submit(engine.advance, name, pcm, False, Context(), first=True) for name, pcm in sounds.items()
        }
        with engine.batcher.changed:
            assert engine.batcher.changed.wait_for(lambda: engine.batcher.waiting == len(calls), PATIENCE_S)
        free.set()
    assert batches == [1, 3]
    assert calls["jfk"].result().text == first.result().text
    for name, call in calls.items():
        heard = call.result().text.split()
        assert word_error_rate(" ".join(recording(name).text.split()[: len(heard)]), " ".join(heard)) <= 0.34
        assert "batch" in call.result().timings_ms
