"""Whisper's decoder in NumPy, against CTranslate2's."""

from __future__ import annotations

import struct
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from streamd.engines.whisper.decoder import Decoder, Sound, Texts
from streamd.engines.whisper.mel import LogMel
from streamd.engines.whisper.text import Tokens
from streamd.errors import UnavailableError
from tests.speech import recording


@pytest.fixture(scope="module", params=["tiny_en", "base"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def encoded(folder: Path) -> ctranslate2.StorageView:
    """A few words, as the encoder hears them in full precision."""
    mel = LogMel(80)
    mel.feed(recording("goforward").pcm)
    return _model(folder).encode(ctranslate2.StorageView.from_array(mel.window(2.0)[np.newaxis]))


@pytest.fixture(scope="module")
def decoder(folder: Path) -> Decoder:
    return Decoder(folder)


@pytest.fixture(scope="module")
def sound(decoder: Decoder, encoded: ctranslate2.StorageView) -> Sound:
    return decoder.hear(np.array(encoded)[0])


def _model(folder: Path) -> ctranslate2.models.Whisper:
    return ctranslate2.models.Whisper(str(folder), compute_type="float32", intra_threads=1)


def _start(folder: Path, tokens: Tokens) -> list[int]:
    return tokens.start_sequence("en" if folder.name == "base" else None)


@pytest.mark.parametrize("text", ["Go forward ten meters.", "Go backward two miles", "Something else, altogether"])
def test_probabilities_are_ctranslate2_s(
    folder: Path, decoder: Decoder, sound: Sound, encoded: ctranslate2.StorageView, text: str
) -> None:
    tokens = Tokens(folder / "tokenizer.json")
    words = tokens.encode(text)
    aligned = _model(folder).align(encoded, _start(folder, tokens), [words], np.array(encoded).shape[1] * 2)[0]
    states, _ = decoder.read(sound, [[*tokens.prompt(_start(folder, tokens), (), ()), *words]])
    chances = np.exp(decoder.log_probabilities(states[0])[-len(words) - 1 : -1])
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-3)
    among_text = chances / chances[:, : tokens.end].sum(1, keepdims=True)  # align compares them with words only
    np.testing.assert_allclose(among_text[np.arange(len(words)), words], aligned.text_token_probs, atol=2e-3)


def test_texts_may_be_read_at_once_step_by_step_and_from_a_common_beginning(decoder: Decoder, sound: Sound) -> None:
    rng = np.random.default_rng(0)
    common, ours, theirs = (rng.integers(0, 50_000, length).tolist() for length in (4, 3, 3))
    at_once, _ = decoder.read(sound, [[*common, *ours], [*common, *theirs]])

    _, beginning = decoder.read(sound, [common])
    branched, _ = decoder.read(sound, [ours, theirs], beginning)
    np.testing.assert_allclose(branched, at_once[:, 4:], atol=2e-3)

    own = Texts((), ())
    for one, other in zip(ours, theirs, strict=True):
        step, own = decoder.read(sound, [[one], [other]], beginning, own)
    assert own.length == 3
    np.testing.assert_allclose(step[:, 0], at_once[:, -1], atol=2e-3)

    swapped, _ = decoder.read(sound, [[7], [7], [7]], beginning, own.pick([1, 0, 1]))
    np.testing.assert_array_equal(swapped[0], swapped[2])
    straight, _ = decoder.read(sound, [[7], [7]], beginning, own)
    np.testing.assert_allclose(swapped[:2], straight[::-1], atol=2e-3)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    header = struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + struct.pack("<II", 3, 0)
    (tmp_path / "model.bin").write_bytes(header)
    with pytest.raises(UnavailableError, match=r"model\.bin is no decoder of Whisper's: it lacks 'num_heads'"):
        Decoder(tmp_path)
