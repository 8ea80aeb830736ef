"""`streamd models export` with a real checkpoint on the disk, and with broken ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from streamd.cli import app
from streamd.engines.gemma.export import DTYPES, export, parity
from streamd.errors import StreamdError, UnavailableError
from tests.gemma_checkpoint import make
from tests.gemma_data import greedy_cases
from tests.gemma_graphs import Graphs


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("checkpoints") / "whole", seed=2)


@pytest.fixture
def checkpoint(whole: Path, tmp_path: Path) -> Path:
    """One to be broken."""
    return Path(shutil.copytree(whole, tmp_path / "checkpoint"))


def test_four_bits_in_sixteen(whole: Path, tmp_path: Path) -> None:
    """The dtype that differs most: written, measured, runnable, no folder of another dtype in its way."""
    (tmp_path / "onnx").mkdir()
    answer = CliRunner().invoke(app, ["models", "export", str(whole), str(tmp_path), "--dtype", "q4f16"])
    assert answer.exit_code == 0, answer.output
    made = json.loads((tmp_path / "manifest.json").read_text())
    assert set(made["files"]) >= {"config.json", "tokenizer.json"}
    assert all((tmp_path / name).stat().st_size == file["bytes"] for name, file in made["files"].items())
    entry = made["dtypes"]["q4f16"]
    for name, graph in entry["graphs"].items():
        kind = "GatherBlockQuantized" if name == "embed_tokens" else "MatMulNBits"
        assert graph["operators"][kind]
        assert graph["quantised_parameters"] > 0.7 * graph["parameters"]
    assert entry["parity"]["audio_encoder_stream"]["cosine"] > 0.95
    graphs = Graphs(tmp_path / "onnx", made["facts"]["ids"], DTYPES["q4f16"].suffix)
    prompt, _ = greedy_cases()[0]
    past = graphs.attend(graphs.start(), graphs.hear(prompt))
    logits, _ = graphs.read(past, prompt.after, keep=2)
    assert logits.shape == (2, made["facts"]["vocabulary"])


def changed(file: str, **keys: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / file).read_text())
        for key, value in keys.items():
            *sections, last = key.split("__")
            at = config
            for section in sections:
                at = at[section]
            at[last] = value
        (folder / file).write_text(json.dumps(config))

    return change


def without(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1_000])


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors", {"format": "pt"})

    return apply


BOUND = "model.audio_tower.layers.0.self_attn.q_proj.input_max"
LAST = "model.language_model.layers.5.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (without("config.json"), "config.json is missing"),
        (without("tokenizer.json"), "tokenizer.json is missing"),
        (without("model.safetensors"), "model.safetensors is missing"),
        (cut, "model.safetensors is damaged or cut short"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json can't be read"),
        (changed("config.json", model_type="gemma3"), "model_type is 'gemma3'"),
        (changed("config.json", audio_config=None), "no audio_config"),
        (changed("config.json", text_config__enable_moe_block=True), "enable_moe_block is True"),
        (changed("config.json", text_config__use_bidirectional_attention="all"), "neither E2B's nor E4B's"),
        (changed("config.json", audio_config__use_clipped_linears=False), "use_clipped_linears is False"),
        (changed("config.json", text_config__intermediate_size=96), "config.json makes it"),
        (weights(lambda state: state.pop(BOUND)), f"{BOUND} is missing; the audio tower's clip bounds"),
        (weights(lambda state: state.update({BOUND: torch.tensor(torch.inf)})), f"{BOUND} is inf"),
        (weights(lambda state: state.pop(LAST)), f"the weight {LAST} is missing"),
    ],
)
def test_a_broken_checkpoint_is_told_by_what_is_wrong(
    checkpoint: Path, tmp_path: Path, breaks: Callable[[Path], None], says: str
) -> None:
    """Before anything is traced, and nothing is left behind."""
    breaks(checkpoint)
    out = tmp_path / "out"
    with pytest.raises(UnavailableError) as told:
        export(checkpoint, out, "fp32", lambda _: None)
    assert says in str(told.value)
    assert not out.exists()


def test_a_folder_of_another_checkpoint_is_left_alone(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"checkpoint": {"name": "other"}}')
    with pytest.raises(UnavailableError, match="another checkpoint"):
        export(whole, tmp_path, "fp32", lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_graphs_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch, whole: Path, tmp_path: Path) -> None:
    """As if the reference had said something else."""
    from streamd.engines.gemma.export import graphs

    far = {"largest_error": 1.0, "largest": 2.0}
    monkeypatch.setattr(graphs, "graphs", lambda *_: [])
    monkeypatch.setattr(parity, "_audio", lambda *_: (None, far))
    monkeypatch.setattr(parity, "_fits", lambda _: False)
    with pytest.raises(StreamdError, match="audio_encoder_stream differs from transformers by 1"):
        export(whole, tmp_path, "fp32", lambda _: None)
    assert not (tmp_path / "manifest.json").exists()


def test_an_unknown_dtype_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["models", "export", str(tmp_path), str(tmp_path), "--dtype", "q2"])
    assert answer.exit_code == 2
    assert "q4f16" in answer.output
