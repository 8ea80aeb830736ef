"""Graphs are known by what goes in and comes out; what goes wrong with one is said with its name."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from streamd.engines.gemma.graphs import Options, Port, open_graph, recognise
from streamd.errors import UnavailableError
from tests.gemma_data import MODEL

OPTIONS = Options(threads=1)
NAMES = ("audio_encoder_stream", "audio_encoder", "embed_tokens", "decoder_audio_prefill", "decoder_model_merged")


def place(name: str) -> Path:
    (found,) = MODEL.rglob(f"{name}.onnx")
    return found


# What they are --------------------------------------------------------------------------------------------------------


def test_graphs_are_recognised_by_what_goes_in_and_comes_out() -> None:
    assert {open_graph(place(name), OPTIONS).role for name in NAMES} == set(NAMES)


def test_a_graph_of_something_else_is_refused() -> None:
    port = Port((1,), np.float32)
    with pytest.raises(UnavailableError, match=r"x\.onnx is no graph of Gemma 4: it takes pixels and gives nothing"):
        recognise("x.onnx", {"pixels": port}, {})


# What they run on -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_graphs_share_their_threads() -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    first = open_graph(place("embed_tokens"), Options(threads=3))
    before = threads()
    second = open_graph(place("embed_tokens"), Options(threads=3))
    assert threads() == before
    assert first.inputs == second.inputs


def test_a_graph_says_what_it_runs_on() -> None:
    assert open_graph(place("embed_tokens"), OPTIONS).provider == "CPUExecutionProvider"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("bad allocation"), ort.capi.onnxruntime_pybind11_state.Fail("x")]
)
def test_what_goes_wrong_at_load_is_explained(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ort, "InferenceSession", fail)
    way_out = "models export" if str(error) == "x" else "not enough memory"
    with pytest.raises(UnavailableError, match=rf"embed_tokens\.onnx does not load: .*{way_out}"):
        open_graph(place("embed_tokens"), OPTIONS)


def test_a_path_is_told_once(tmp_path: Path) -> None:
    """ONNX Runtime tells it again."""
    for content in (b"", b"no graph"):
        file = tmp_path / "embed_tokens.onnx"
        file.write_bytes(content)
        with pytest.raises(UnavailableError, match="does not load") as error:
            open_graph(file, OPTIONS)
        assert str(error.value).count(str(file)) == 1
        assert "ONNXRuntimeError" not in str(error.value)
    with pytest.raises(UnavailableError, match="does not load") as error:
        open_graph(tmp_path / "gone.onnx", OPTIONS)
    assert str(error.value).count(str(tmp_path)) == 1


def test_what_goes_wrong_in_a_call_names_the_graph() -> None:
    graph = open_graph(place("decoder_model_merged"), OPTIONS)
    feeds = {name: np.zeros([1 for _ in port.shape], port.dtype) for name, port in graph.inputs.items()}
    with pytest.raises(UnavailableError, match=r"decoder_model_merged\.onnx can't be computed"):
        graph.run(feeds)
