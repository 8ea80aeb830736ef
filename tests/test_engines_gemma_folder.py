"""A folder of graphs is opened if they fit each other, and otherwise it is said which one does not, and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import pytest

from streamd.engines.gemma import providers
from streamd.engines.gemma.folder import Graphs, check_clips, check_fit, choose, load, losses
from streamd.engines.gemma.graphs import Graph, Options, Port
from streamd.errors import UnavailableError
from tests.gemma_data import MODEL

OPTIONS = Options(threads=1)
NAMES = ("audio_encoder_stream", "audio_encoder", "embed_tokens", "decoder_audio_prefill", "decoder_model_merged")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(MODEL, tmp_path / "model"))


def place(folder: Path, name: str) -> Path:
    (found,) = folder.rglob(f"{name}.onnx")
    return found


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    return folder


# Which files ----------------------------------------------------------------------------------------------------------


def test_all_that_streamd_exports_is_used(folder: Path) -> None:
    dtype, files = choose(folder, OPTIONS)
    assert dtype == "fp32"
    assert set(files) == set(NAMES) - {"audio_encoder"}  # the streaming encoder does what it does


@pytest.mark.parametrize("inside", ["onnx/", ""])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), "q4"),
        (Options(dtype="q4f16"), "q4f16"),
        (Options(dtype="int8"), "int8"),
        (Options(("CUDAExecutionProvider",)), "q4f16"),
    ],
)
def test_the_public_layout_is_taken_in_the_precision_that_suits(
    tmp_path: Path, inside: str, options: Options, expected: str
) -> None:
    public = ("embed_tokens", "audio_encoder", "decoder_model_merged")
    names = (f"{inside}{name}{end}.onnx" for name in public for end in ("_q4", "_q4f16", "_quantized", "_fp16"))
    dtype, files = choose(touch(tmp_path, *names), options)
    assert dtype == expected
    assert set(files) == set(public)


def test_a_precision_that_is_not_there_need_not_be(folder: Path) -> None:
    with pytest.raises(
        UnavailableError, match=r'precision q4 .*; set engines.gemma.dtype = "auto", or export it again'
    ):
        choose(folder, Options(dtype="q4"))


@pytest.mark.parametrize("missing", ["embed_tokens", "decoder_model_merged"])
def test_a_missing_graph_is_named(folder: Path, missing: str) -> None:
    place(folder, missing).unlink()
    with pytest.raises(UnavailableError, match=rf"{folder} has no {missing} in the precision q4 or .*found: .*prefill"):
        choose(folder, OPTIONS)


def test_an_encoder_of_either_kind_is_needed(folder: Path) -> None:
    place(folder, "audio_encoder_stream").unlink()
    assert "audio_encoder" in choose(folder, OPTIONS)[1]
    place(folder, "audio_encoder").unlink()
    with pytest.raises(UnavailableError, match="has no audio_encoder in the precision"):
        choose(folder, OPTIONS)


def test_precisions_are_not_mixed_by_themselves(tmp_path: Path) -> None:
    touch(tmp_path, "onnx/embed_tokens_q4.onnx", "onnx/audio_encoder_q4.onnx", "onnx/decoder_model_merged_q4f16.onnx")
    with pytest.raises(UnavailableError, match="has no decoder_model_merged in the precision q4 or"):
        choose(tmp_path, OPTIONS)


def test_an_empty_folder_is_said_to_hold_no_graph(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"found: no graph"):
        choose(tmp_path, OPTIONS)


# Are they whole? ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("under", "really"), [("embed_tokens", "audio_encoder"), ("decoder_model_merged", "embed_tokens")]
)
def test_a_graph_under_another_ones_name_is_named(folder: Path, under: str, really: str) -> None:
    target = place(folder, under)
    shutil.copy(place(folder, really), target)
    with pytest.raises(UnavailableError, match=rf"{under}\.onnx is a graph {really} under the name of {under}"):
        load(folder, OPTIONS)


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_graph_that_is_cut_short_is_named(folder: Path, name: str) -> None:
    if name == "audio_encoder":
        place(folder, "audio_encoder_stream").unlink()
    target = place(folder, name)
    target.write_bytes(target.read_bytes()[:-1_000])
    with pytest.raises(UnavailableError, match=rf"{target} does not load: .*streamd models export"):
        load(folder, OPTIONS)


def test_weights_that_are_cut_short_are_named(folder: Path) -> None:
    target = place(folder, "decoder_model_merged")
    data = target.with_name(f"{target.name}_data")
    data.write_bytes(data.read_bytes()[:-4096])
    with pytest.raises(UnavailableError, match=rf"{target} does not load: .*streamd models verify"):
        load(folder, OPTIONS)


# Do they fit? ---------------------------------------------------------------------------------------------------------


def fake(name: str, inputs: dict[str, tuple[Any, ...]], outputs: dict[str, tuple[Any, ...]]) -> Graph:
    def ports(shapes: dict[str, tuple[Any, ...]]) -> dict[str, Port]:
        return {key: Port(shape, np.float32) for key, shape in shapes.items()}

    past = [key for key in inputs if key.startswith("past_key_values.")]
    return cast(
        Graph, SimpleNamespace(file=Path(f"{name}.onnx"), inputs=ports(inputs), outputs=ports(outputs), past=past)
    )


def model(hidden: int = 64, layers: int = 6, audio: int = 64, past: int = 2, prefill: int = 2) -> Graphs:
    """A folder of graphs with these sizes."""

    def kept(kind: str, count: int) -> dict[str, tuple[Any, ...]]:
        return {f"{kind}.{n}.{part}": (1, 2, "past", 16) for n in range(count) for part in ("key", "value")}

    def decoder(name: str, count: int) -> Graph:
        inputs = {"inputs_embeds": (1, "n", 64), "per_layer_inputs": (1, "n", 6, 16)}
        return fake(name, inputs | kept("past_key_values", count), kept("present", count))

    return Graphs(
        "q4",
        fake(
            "embed",
            {"input_ids": (1, "n")},
            {"inputs_embeds": (1, "n", hidden), "per_layer_inputs": (1, "n", layers, 16)},
        ),
        decoder("decoder", past),
        decoder("prefill", prefill) if prefill else None,
        fake("audio", {}, {"audio_features": ("n", audio)}),
    )


def test_graphs_of_one_model_fit() -> None:
    check_fit(model())
    check_fit(model(prefill=0))
    assert model().width == 64


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"hidden": 32}, r"embed\.onnx and decoder\.onnx are not of one model: inputs_embeds is \[1, \?, 32\]"),
        ({"layers": 5}, r"per_layer_inputs is \[1, \?, 5, 16\] in the one, per_layer_inputs \[1, \?, 6, 16\]"),
        ({"audio": 48}, r"audio\.onnx and decoder\.onnx are not of one model: audio_features is \[\?, 48\]"),
        ({"prefill": 3}, r"prefill\.onnx keeps 3 layers, decoder\.onnx 2: they are not of one model"),
    ],
)
def test_graphs_of_different_models_are_told_apart(sizes: dict[str, int], complaint: str) -> None:
    with pytest.raises(UnavailableError, match=complaint):
        check_fit(model(**sizes))


def test_keys_and_values_that_do_not_come_back_are_named() -> None:
    broken = model()
    del broken.decoder.outputs["present.1.value"]
    with pytest.raises(UnavailableError, match=r"decoder\.onnx takes past_key_values\.1\.value, but does not give"):
        check_fit(broken)


def test_an_encoder_without_the_bounds_of_its_matrices_is_found_out(folder: Path) -> None:
    """Those against overflow alone do not count."""
    encoder = place(folder, "audio_encoder")
    config = json.loads((folder / "config.json").read_text())
    check_clips(encoder, config)
    content = encoder.read_bytes()
    bound = b"\x22\x04Clip"
    encoder.write_bytes(content.replace(bound, b"\x22\x04Flip", content.count(bound) - 2 * 8))
    with pytest.raises(
        UnavailableError, match=r"audio_encoder\.onnx has 16 bounds for 2 layers: the clip bounds of the"
    ):
        check_clips(encoder, config)
    check_clips(encoder, {})
    check_clips(encoder, {"audio_config": None})
    check_clips(encoder, {"audio_config": {}})


@pytest.mark.parametrize(("key", "size"), [("hidden_size", 2_560), ("num_hidden_layers", 42)])
def test_the_config_of_another_model_is_found_out(folder: Path, key: str, size: int) -> None:
    """With a manifest and without: E4B's has the tokens of E2B's."""
    config = json.loads((folder / "config.json").read_text())
    ours = config["text_config"][key]
    config["text_config"][key] = size
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        UnavailableError, match=rf"config\.json has {key} = {size}, decoder_model_merged\.onnx {ours}: they are not"
    ):
        load(folder, OPTIONS)


@pytest.mark.parametrize("unsaid", ["", "[]", "{}", '{"text_config": []}', '{"text_config": {"hidden_size": null}}'])
def test_what_a_config_does_not_say_is_not_compared(folder: Path, unsaid: str) -> None:
    (folder / "config.json").write_text(unsaid)
    assert load(folder, OPTIONS).width == 64


def test_what_is_lost_without_a_graph_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(folder, OPTIONS)
    assert caplog.text == ""
    for name in ("audio_encoder_stream", "decoder_audio_prefill"):
        place(folder, name).unlink()
    load(folder, OPTIONS)
    assert f"{folder}: no audio_encoder_stream: audio_encoder reads the last seconds of sound again" in caplog.text
    assert f"{folder}: no decoder_audio_prefill: sound is read by all layers" in caplog.text
    assert losses(NAMES) == []


def test_a_card_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """ONNX Runtime for cards goes on without one, many times slower."""
    session = ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", lambda *args, providers: session(*args, providers=providers[-1:]))
    load(MODEL, Options(("CUDAExecutionProvider", "CPUExecutionProvider"), threads=1))
    assert "CUDAExecutionProvider can't be used here: CPUExecutionProvider computes instead" in caplog.text


# Is there room for them? ----------------------------------------------------------------------------------------------


def test_a_model_that_is_larger_than_the_memory_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "available_bytes", lambda: 1_000)
    with pytest.raises(UnavailableError, match=r"need 0\.0 GB of memory, 0\.0 GB are left: take a smaller model"):
        load(MODEL, OPTIONS)


def test_where_memory_is_short_sound_is_read_by_the_decoder(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = {
        graph: sum(part.stat().st_size for part in (MODEL / "onnx").glob(f"{graph}.onnx*"))
        for graph in ("embed_tokens", "audio_encoder_stream", "decoder_model_merged", "decoder_audio_prefill")
    }
    monkeypatch.setattr(providers, "available_bytes", lambda: sum(sizes.values()))
    assert load(MODEL, OPTIONS).prefill is not None
    monkeypatch.setattr(providers, "available_bytes", lambda: sum(sizes.values()) - 1)
    assert load(MODEL, OPTIONS).prefill is None
    assert "no memory for decoder_audio_prefill: sound is read by the decoder" in caplog.text


def test_where_the_system_does_not_tell_its_memory_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "available_bytes", lambda: None)
    assert load(MODEL, OPTIONS).dtype == "fp32"
