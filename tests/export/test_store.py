"""How weights are stored: every dtype's graph computes what the weights say, within what its bits allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamd.engines.gemma.export import DTYPES, store
from streamd.engines.gemma.export.graph import Graph, check, trace, write
from streamd.engines.gemma.export.layers import Linear, weight
from streamd.engines.gemma.export.parity import session
from streamd.errors import StreamdError, UnavailableError

ENTRIES, WIDTH, OUT = 50, 96, 40
FAR = {"fp32": 1e-5, "fp16": 5e-3, "int8": 2e-2, "q4": 0.2, "q4f16": 0.2}  # relative to the largest number


class Random:
    """Weights by name."""

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        random = np.random.default_rng(5)
        self.arrays = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self.arrays:
            raise UnavailableError(f"{name} is missing")
        return self.arrays[name].shape

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        return self.arrays[name][start:stop]

    def scalar(self, name: str) -> float:
        raise NotImplementedError


class Small(nn.Module):
    """A table, a linear layer with a bias, one applied to a constant."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.table = weight(ENTRIES, WIDTH, dtype=dtype)
        self.linear = Linear(WIDTH, OUT, dtype, bias=True)
        self.fixed = Linear(WIDTH, OUT, dtype)
        self.register_buffer("constant", torch.ones(3, WIDTH, dtype=dtype), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        return (self.linear(nn.functional.embedding(ids, self.table)) + self.fixed(self.constant).sum(0)).float()


WEIGHTS = {"at.table": (ENTRIES, WIDTH), "at.linear.weight": (OUT, WIDTH), "at.linear.bias": (OUT,)}
FIXED = {"at.fixed.weight": (OUT, WIDTH)}
IDS = np.array([[0, 7, 49]])


def small(dtype: torch.dtype = torch.float32) -> Graph:
    axes = {"ids": {1: "steps"}, "sums": {1: "steps"}}
    return Graph("small", Small(dtype), (torch.zeros(1, 3, dtype=torch.long),), ("ids",), ("sums",), axes, {"": "at."})


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("stays", [2**20, 0], ids=["in the graph", "beside the graph"])
def test_the_graph_computes_with_the_weights(
    name: str, stays: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART", 7 * WIDTH)  # in several parts
    monkeypatch.setattr(store, "STAYS", stays)
    dtype, source = DTYPES[name], Random(**WEIGHTS, **FIXED)
    written = write(small(torch.float16 if dtype.half else torch.float32), source, dtype, tmp_path)
    weights = source.arrays
    expected = weights["at.table"][IDS] @ weights["at.linear.weight"].T + weights["at.linear.bias"]
    expected += 3 * weights["at.fixed.weight"].sum(1)
    (got,) = session(written.path).run(None, {"ids": IDS})
    assert np.abs(got - expected).max() <= FAR[name] * np.abs(expected).max()
    assert len(written.files) == (1 if stays else 2)
    assert written.parameters == sum(array.size for array in weights.values())
    assert written.operators["MatMulNBits"] == (1 if dtype.bits else 0)
    assert written.operators["GatherBlockQuantized"] == (1 if dtype.bits else 0)


def test_nothing_quantised_is_an_error(tmp_path: Path) -> None:
    """A graph whose layers are not recognised must not pass for a quantised one."""

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = weight(WIDTH, dtype=torch.float32)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    graph = Graph("bare", Bare(), (torch.zeros(1, WIDTH),), ("x",), ("y",), {}, {"": ""})
    with pytest.raises(StreamdError, match=r"bare_q4.onnx: nothing was quantised"):
        write(graph, Random(scale=(WIDTH,)), DTYPES["q4"], tmp_path)


def test_a_weight_of_another_shape_is_named() -> None:
    source = Random(**(WEIGHTS | {"at.linear.weight": (OUT, WIDTH + 1)}), **FIXED)
    with pytest.raises(UnavailableError, match=r"at.linear.weight has the shape \(40, 97\).* \(40, 96\)"):
        check(small(), source)


def test_numbers_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    source = Random(**WEIGHTS, **FIXED)
    source.arrays["at.linear.bias"][3] = 1e6
    with pytest.raises(UnavailableError, match="16 bits"):
        write(small(torch.float16), source, DTYPES["fp16"], tmp_path)


def test_a_weight_without_a_place_in_the_checkpoint_is_named() -> None:
    with pytest.raises(StreamdError, match="nothing says where the weight"):
        check(replace(small(), keys={"table": "at.table"}), Random(**WEIGHTS, **FIXED))


def test_axes_have_names() -> None:
    model = trace(small())
    assert [str(size) for size in model.graph.outputs[0].shape] == ["1", "steps", str(OUT)]
