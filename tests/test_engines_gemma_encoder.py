"""Sound is encoded as it comes in, and gives what it gives at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pytest

from streamd.engines.gemma.encoder import (
    REACH_FRAMES,
    ROWS,
    ClipEncoder,
    Encoder,
    State,
    StreamingEncoder,
    encoder,
    frames_per_call,
)
from streamd.engines.gemma.features import BANDS, LogMel
from streamd.engines.gemma.graphs import Array, Graph, Options, open_graph
from streamd.errors import UnavailableError
from tests.gemma_data import MODEL, recording

OPTIONS = Options(threads=1)
STREAMING = encoder(open_graph(MODEL / "onnx" / "audio_encoder_stream.onnx", OPTIONS))
CLIP = encoder(open_graph(MODEL / "onnx" / "audio_encoder.onnx", OPTIONS))
ALIKE = 1e-5
ROWS_OF_SPEECH = LogMel().feed(recording()[: (REACH_FRAMES + 60) * 640])


def encode(encoder: Encoder, rows: Array, sizes: Sequence[int]) -> Array:
    """Soft tokens of rows that come in parts of so many frames."""
    state, tokens, at = encoder.start(), [], 0
    for frames in sizes:
        part = rows[at * ROWS : (at + frames) * ROWS]
        out, state = encoder.step(state, part, np.ones(len(part), np.bool_))
        tokens.append(out)
        at += frames
    return np.concatenate(tokens)


def sizes(each: int | None, total: int) -> Iterator[int]:
    """Parts of `each` frames, or of random ones."""
    random = np.random.default_rng(5)
    while total > 0:
        size = min(total, each or int(random.integers(1, 12)))
        yield size
        total -= size


def test_each_graph_gets_the_encoder_that_it_needs() -> None:
    assert isinstance(STREAMING, StreamingEncoder)
    assert isinstance(CLIP, ClipEncoder)


@pytest.mark.parametrize("each", [1, 3, 8, None])
@pytest.mark.parametrize("subject", [STREAMING, CLIP], ids=["streaming", "clip"])
def test_sound_in_any_parts_is_sound_at_once(subject: Encoder, each: int | None) -> None:
    rows = ROWS_OF_SPEECH[: 60 * ROWS] if each else ROWS_OF_SPEECH
    frames = len(rows) // ROWS
    whole, _ = CLIP.step(CLIP.start(), rows, np.ones(len(rows), np.bool_))
    np.testing.assert_allclose(encode(subject, rows, list(sizes(each, frames))), whole, atol=ALIKE)


def test_what_a_clip_encoder_reads_again_is_bounded() -> None:
    _, state = CLIP.step(CLIP.start(), ROWS_OF_SPEECH, np.ones(len(ROWS_OF_SPEECH), np.bool_))
    assert len(state.arrays[0]) == REACH_FRAMES * ROWS


@pytest.mark.parametrize("subject", [STREAMING, CLIP], ids=["streaming", "clip"])
def test_rows_behind_the_end_do_not_count(subject: Encoder) -> None:
    rows = ROWS_OF_SPEECH[: 2 * ROWS].copy()
    mask = np.array([True] * 6 + [False] * 2)
    expected, _ = subject.step(subject.start(), rows, mask)
    rows[6:] = 3.0
    tokens, _ = subject.step(subject.start(), rows, mask)
    np.testing.assert_array_equal(tokens, expected)


@pytest.mark.parametrize("subject", [STREAMING, CLIP], ids=["streaming", "clip"])
def test_a_state_stays_as_it_is(subject: Encoder) -> None:
    rows, mask = ROWS_OF_SPEECH[:ROWS], np.ones(ROWS, np.bool_)
    _, state = subject.step(subject.start(), rows, mask)
    first, _ = subject.step(state, rows, mask)
    second, _ = subject.step(state, rows, mask)
    np.testing.assert_array_equal(first, second)


def test_what_is_no_number_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = np.full((1, 1, 64), np.nan, np.float32)
    monkeypatch.setattr(Graph, "run", lambda *_: {"audio_features": nothing})
    with pytest.raises(UnavailableError, match=r"audio_encoder\.onnx gave no numbers"):
        CLIP.step(CLIP.start(), ROWS_OF_SPEECH[:ROWS], np.ones(ROWS, np.bool_))


def test_another_number_of_tokens_is_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graph, "run", lambda *_: {"audio_features": np.zeros((3, 64), np.float32)})
    with pytest.raises(UnavailableError, match=r"audio_encoder\.onnx gave 3 tokens for 1 frames"):
        CLIP.step(CLIP.start(), ROWS_OF_SPEECH[:ROWS], np.ones(ROWS, np.bool_))


class Timed:
    """An encoder that takes `call_ms` for a call and `frame_ms` for each of its frames."""

    def __init__(self, call_ms: float, frame_ms: float) -> None:
        self._call_ms, self._frame_ms = call_ms, frame_ms
        self.now_s = 0.0

    def clock(self) -> float:
        return self.now_s

    def start(self) -> State:
        return State(())

    def step(self, state: State, rows: Array, _: Array) -> tuple[Array, State]:
        assert rows.shape[1] == BANDS
        self.now_s += (self._call_ms + self._frame_ms * len(rows) / ROWS) / 1_000
        return rows, state


@pytest.mark.parametrize(
    ("call_ms", "frame_ms", "frames"),
    [(5, 1, 1), (30, 4, 2), (50, 5, 4), (100, 5, 8), (300, 30, 8)],
)
def test_as_few_frames_are_encoded_at_a_time_as_leave_room(call_ms: float, frame_ms: float, frames: int) -> None:
    subject = Timed(call_ms, frame_ms)
    assert frames_per_call(cast(Encoder, subject), clock=subject.clock) == frames
