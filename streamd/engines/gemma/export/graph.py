"""From a module without weights to an ONNX file with them: trace, store every weight as its dtype wants, check."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from streamd.engines.gemma.export import store
from streamd.engines.gemma.export.dtypes import Dtype
from streamd.engines.gemma.export.weights import Weights
from streamd.errors import StreamdError, UnavailableError

OPSET = 20  # Gelu came with it
MOST = 4096  # of what comes in multiples: frames in one call of the encoder


@dataclass(frozen=True, slots=True)
class Graph:
    """One file to be: its name, the module, an example of its inputs, and what may vary in them."""

    name: str
    module: nn.Module
    example: tuple[Any, ...]
    inputs: Sequence[str]
    outputs: Sequence[str]
    axes: Mapping[str, Mapping[int, str]]  # input or output → its axes that vary, by name
    keys: Mapping[str, str]  # beginning of a parameter's name in the module → that in the checkpoint


def check(graph: Graph, weights: Weights) -> None:
    """Raises UnavailableError if a weight is missing or misshapen, StreamdError if nothing says which one it is."""
    for name, parameter in graph.module.named_parameters():
        key = checkpoint_name(graph, name)
        if (shape := weights.shape(key)) != tuple(parameter.shape):
            raise UnavailableError(f"{key} has the shape {shape}, but config.json makes it {tuple(parameter.shape)}")


def write(graph: Graph, weights: Weights, dtype: Dtype, folder: Path) -> store.Written:
    """`folder`/NAME{suffix}.onnx and its weights in NAME{suffix}.onnx_data. Raises what trace and store.write raise."""
    model = trace(graph)
    parameters = dict(graph.module.named_parameters())  # other initializers are constants of the code, complete already
    names = {name: checkpoint_name(graph, name) for name in model.graph.initializers if name in parameters}
    return store.write(model, names, weights, dtype, folder / f"{graph.name}{dtype.suffix}.onnx")


def trace(graph: Graph) -> ir.Model:
    """The graph as torch sees it. Nothing is optimised: that would compute with weights that aren't there."""
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph.module.eval(),
            graph.example,
            None,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=_dynamic(graph),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            optimize=False,
        )
    assert program is not None
    model: ir.Model = program.model
    for value in (*model.graph.inputs, *model.graph.outputs):
        assert value.name
        assert value.shape is not None
        for axis, name in graph.axes.get(value.name, {}).items():
            value.shape[axis] = name
    return model


def _dynamic(graph: Graph) -> tuple[Any, ...]:
    """What may vary, in torch's words. A multiple that is asked for is a derived dimension there."""
    left = iter(graph.inputs)

    def axes(example: Any) -> Any:
        if isinstance(example, list):
            return [axes(part) for part in example]
        return {axis: _dimension(name) for axis, name in graph.axes.get(next(left), {}).items()}

    return tuple(axes(example) for example in graph.example)


def _dimension(name: str) -> Any:
    factor, _, unit = name.partition("*")
    return int(factor) * torch.export.Dim(unit, max=MOST) if unit else torch.export.Dim.DYNAMIC


def checkpoint_name(graph: Graph, parameter: str) -> str:
    """The checkpoint's name of a parameter."""
    begins = [begin for begin in graph.keys if parameter.startswith(begin)]
    if len(begins) != 1:
        raise StreamdError(f"graph {graph.name}: nothing says where the weight {parameter} comes from")
    return graph.keys[begins[0]] + parameter.removeprefix(begins[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks about its own parts, which nobody here can act on."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
