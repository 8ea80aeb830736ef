"""Exported graphs of a tiny model against what transformers gave for it. Neither PyTorch nor transformers is needed.

tests/gemma_reference.py recorded both; tests/export makes them afresh and compares again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from streamd.cli import app
from streamd.errors import UnavailableError
from tests.gemma_data import MODEL, greedy_cases, manifest, recording, reference, whole_prompt
from tests.gemma_graphs import Array, Graphs, Past, crop, length, padded_rows

CLIPS = sorted(map(int, reference("audio")))
BOUND = 1e-4  # of logits


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    return Graphs(MODEL / "onnx", manifest()["facts"]["ids"])


def chunks(frames: int, size: int | None) -> list[int]:
    """`frames` in calls of `size`, or of random sizes."""
    if size:
        return [min(size, frames - at) for at in range(0, frames, size)]
    sizes: list[int] = []
    random = np.random.default_rng(frames)
    while (left := frames - sum(sizes)) > 0:
        sizes.append(min(left, int(random.integers(1, 12))))
    return sizes


@pytest.mark.parametrize("size", [1, 3, 8, None])
@pytest.mark.parametrize("samples", CLIPS)
def test_streamed_sound_is_heard_as_the_whole_clip(graphs: Graphs, samples: int, size: int | None) -> None:
    """A clip that ends with a frame, one sample later, and within a frame."""
    rows, mask = padded_rows(recording()[:samples])
    heard = graphs.stream(rows, mask, chunks(len(rows) // 4, size))
    expected = reference("audio")[str(samples)]
    assert heard.shape == expected.shape
    assert np.abs(heard - expected).max() <= 1e-5


def test_the_last_frame_differs_where_sound_ends_with_it(graphs: Graphs) -> None:
    """The reference leaves the very last row out: only the last token tells."""
    exact, more = reference("audio")["51200"], reference("audio")["51201"]
    assert np.array_equal(np.abs(exact - more).max(axis=1) > 1e-4, np.arange(len(exact)) == len(exact) - 1)
    rows, _ = padded_rows(recording()[:51_201])
    heard = graphs.stream(rows, np.ones(len(rows), bool), [len(rows) // 4])
    assert np.abs(heard - exact)[-1].max() > 1e-4


def test_the_graph_for_clips_hears_the_same(graphs: Graphs) -> None:
    """Two clips of different lengths in one batch, the shorter one padded."""
    clips = [padded_rows(recording()[:samples]) for samples in (25_777, 51_201)]
    most = max(len(rows) for rows, _ in clips)
    features, masks = np.zeros((2, most, 128), np.float32), np.zeros((2, most), bool)
    for at, (rows, mask) in enumerate(clips):
        features[at, : len(rows)], masks[at, : len(mask)] = rows, mask
    out = graphs.run("audio_encoder", {"input_features": features, "input_features_mask": masks})
    for at, samples in enumerate((25_777, 51_201)):
        heard = out["audio_features"][at][out["audio_features_mask"][at]]
        assert np.abs(heard - reference("audio")[str(samples)]).max() <= 1e-5


class Told:
    """The recorded prompt, and its tokens as the graphs take them."""

    def __init__(self, graphs: Graphs) -> None:
        prompt, ids = whole_prompt(), graphs.ids
        self.before = [*prompt.before, ids["begin_audio"]]
        self.soft = graphs.hear(prompt)
        self.after = [ids["end_audio"], *prompt.after]
        self.expected = reference("text")["logits"][-len(self.after) :]


@pytest.fixture(scope="module")
def told(graphs: Graphs) -> Told:
    return Told(graphs)


def heard(graphs: Graphs, told: Told, size: int, graph: str = "decoder_audio_prefill") -> Past:
    """The past up to the sound's end, with `size` soft tokens a call."""
    _, past = graphs.read(graphs.start(), told.before)
    for at in range(0, len(told.soft), size):
        past = graphs.attend(past, told.soft[at : at + size], graph)
    return past


@pytest.mark.parametrize("graph", ["decoder_audio_prefill", "decoder_model_merged"])
@pytest.mark.parametrize("size", [1, 3, 25, 1_000])
def test_logits_do_not_depend_on_how_sound_was_read(graphs: Graphs, told: Told, size: int, graph: str) -> None:
    """At once or token by token, through all layers or only those that own keys and values."""
    logits, _ = graphs.read(heard(graphs, told, size, graph), told.after)
    assert np.abs(logits - told.expected).max() <= BOUND


def test_logits_after_going_back(graphs: Graphs, told: Told) -> None:
    """Half of the sound, a caption on it, back to the sound's end, the other half."""
    half = len(told.soft) // 2
    _, past = graphs.read(graphs.start(), told.before)
    past = graphs.attend(past, told.soft[:half])
    _, longer = graphs.read(past, [*told.after, 500, 501, 502])
    past = graphs.attend(crop(longer, length(past)), told.soft[half:])
    logits, _ = graphs.read(past, told.after)
    assert np.abs(logits - told.expected).max() <= BOUND


def test_logits_of_one_token_a_call(graphs: Graphs, told: Told) -> None:
    past, logits = heard(graphs, told, 8), []
    for token in told.after:
        one, past = graphs.read(past, [token], keep=1)
        logits.append(one)
    assert np.abs(np.concatenate(logits) - told.expected).max() <= BOUND


@pytest.mark.parametrize("keep", [1, 4, 0, 1_000])
def test_only_the_logits_that_are_wanted(graphs: Graphs, told: Told, keep: int) -> None:
    """The last `keep`; 0, or more than there are, means all."""
    logits, past = graphs.read(heard(graphs, told, 25), told.after, keep)
    kept = min(keep or len(told.after), len(told.after))
    assert logits.shape[0] == kept
    assert np.abs(logits - told.expected[-kept:]).max() <= BOUND
    assert length(past) == len(told.before) + len(told.soft) + len(told.after)


def test_a_batch_of_two(graphs: Graphs, told: Told) -> None:
    """The same prompt twice, once padded on the left: hidden positions count for nothing."""
    embeds = graphs.run("embed_tokens", {"input_ids": np.array([[0, 0, 0, *told.before], [*told.before, 7, 8, 9]])})
    steps = len(told.before) + 3
    mask = np.ones((2, steps), np.int64)
    mask[0, :3] = 0
    places = np.stack([np.maximum(np.arange(steps) - 3, 0), np.arange(steps)])
    past = {name: np.repeat(array, 2, axis=0) for name, array in graphs.start().items()}
    given = embeds | {"attention_mask": mask, "position_ids": places, "num_logits_to_keep": np.array(0)} | past
    logits = graphs.run("decoder_model_merged", given)["logits"]
    alone, _ = graphs.read(graphs.start(), told.before)
    assert np.abs(logits[0, 3:] - alone).max() <= BOUND
    assert np.abs(logits[1, :-3] - alone).max() <= BOUND


@pytest.mark.parametrize("drafted", ["nothing", "right", "half right", "wrong"])
def test_greedy_tokens_are_those_of_generate(graphs: Graphs, drafted: str) -> None:
    """For every recorded prompt, with and without a draft that is checked in one pass."""
    cases = greedy_cases()
    assert len(cases) >= 20
    for prompt, expected in cases:
        _, past = graphs.read(graphs.start(), [*prompt.before, graphs.ids["begin_audio"]])
        past = graphs.attend(past, graphs.hear(prompt))
        half = len(expected) // 2
        draft = {
            "nothing": [],
            "right": expected,
            "half right": [*expected[:half], 600, 601, 602],
            "wrong": [600, 601, 602],
        }[drafted]
        said = greedy(graphs, past, [graphs.ids["end_audio"], *prompt.after], draft, len(expected))
        assert said == expected


def greedy(graphs: Graphs, past: Past, suffix: list[int], draft: Sequence[int], most: int) -> list[int]:
    """The likeliest tokens up to an end; `draft` is read with the suffix, and kept as far as it is what comes out."""
    start = length(past) + len(suffix)
    logits, past = graphs.read(past, [*suffix, *draft], keep=len(draft) + 1)
    best: list[int] = logits.argmax(axis=-1).tolist()
    right = next((at for at, token in enumerate(draft) if token != best[at]), len(draft))
    said = best[: right + 1]
    past = crop(past, start + right)
    while len(said) < most and said[-1] not in graphs.ids["eos"]:
        logits, past = graphs.read(past, said[-1:], keep=1)
        said.append(int(logits[-1].argmax()))
    return said[:most]


def test_sound_takes_the_per_layer_inputs_of_padding(graphs: Graphs) -> None:
    """The reference looks the pad token up where sound or pictures go."""

    def looked_up(token: int) -> Array:
        return graphs.run("embed_tokens", {"input_ids": np.array([[token]])})["per_layer_inputs"]

    pad, audio = graphs.ids["pad"], graphs.ids["audio"]
    assert np.array_equal(looked_up(audio), looked_up(pad))
    assert not np.array_equal(looked_up(600), looked_up(pad))


def test_without_pytorch_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is installed here: as if torch was not."""
    for module in [name for name in sys.modules if name.startswith("streamd.engines.gemma.export.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    answer = CliRunner().invoke(app, ["models", "export", str(tmp_path), str(tmp_path / "out")])
    assert isinstance(answer.exception, UnavailableError)
    assert "streamd-captions[export]" in str(answer.exception)
    assert not (tmp_path / "out").exists()


def test_the_manifest_tells_what_was_measured_and_what_the_files_are() -> None:
    made = manifest()["dtypes"]["fp32"]
    files = [(MODEL / name, file) for name, file in manifest()["files"].items()]
    for graph in made["graphs"].values():
        files += [(MODEL / "onnx" / name, file) for name, file in graph["files"].items()]
    assert {path for path, _ in files} == {path for path in MODEL.rglob("*.*") if path.name != "manifest.json"}
    for path, file in files:
        content = path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    assert made["parity"]["audio_encoder_stream"]["largest_error"] <= 1e-5
    assert made["parity"]["decoder_model_merged"]["largest_error"] <= BOUND
    assert made["versions"]["transformers"]
