"""Writes a traced graph with its weights, one weight in memory at a time.

Linear layers become com.microsoft::MatMulNBits with blocks quantised by ONNX Runtime's own kernels, tables become
GatherBlockQuantized; everything else is kept as it is. Weights go into a file beside the graph, since a protobuf ends
at 2 GB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

from streamd.engines.gemma.export.dtypes import Dtype
from streamd.engines.gemma.export.weights import Weights
from streamd.errors import StreamdError, UnavailableError

PAGE = 4096  # bytes: what ONNX Runtime maps from a file begins at a page
STAYS = PAGE  # bytes: smaller tensors stay in the graph
PART = 64 * 2**20  # numbers that are read of a weight at a time, about
MICROSOFT = "com.microsoft"

Array = NDArray[Any]


@dataclass
class Written:
    """What came of it."""

    path: Path
    parameters: int = 0
    quantised: int = 0  # parameters of these in blocks
    operators: Counter[str] = field(default_factory=Counter)  # operator → how often
    files: tuple[Path, ...] = ()


def write(model: ir.Model, names: Mapping[str, str], weights: Weights, dtype: Dtype, path: Path) -> Written:
    """Put the weights `names` (initializer → weight) into `model` and write it to `path`, its weights beside it.

    Raises UnavailableError if a weight is missing or does not fit, StreamdError if `dtype` quantises and nothing was.
    """
    written = Written(path)
    out = _Data(path.with_name(f"{path.name}_data"))
    try:
        for name, key in names.items():
            value = model.graph.initializers[name]
            size = int(np.prod(weights.shape(key)))
            written.parameters += size
            written.quantised += size * _place(model.graph, value, key, weights, dtype, out)
    finally:
        out.close()
    _tidy(model)
    written.operators = Counter(node.op_type for node in model.graph)
    if dtype.bits and not written.quantised:
        raise StreamdError(f"{path.name}: nothing was quantised; no linear layer or table was recognised")
    ir.save(model, path)
    written.files = (path, out.path) if out.path.exists() else (path,)
    return written


def _place(graph: ir.Graph, value: ir.Value, key: str, weights: Weights, dtype: Dtype, out: _Data) -> bool:
    """Give the graph this weight in the form that suits its use; whether it was quantised."""
    users = [use.node for use in value.uses()]
    if len(users) == 1 and users[0].op_type == "Transpose":
        product = _product(users[0])
        constant = product.inputs[0]
        if constant is not None and constant.is_initializer():
            _fold(graph, product, value, key, weights)
        elif dtype.bits:
            _quantise_linear(graph, product, value, key, weights, dtype, out)
            return True
        else:
            _transpose(graph, users[0], value, key, weights, out)
    elif dtype.bits and all(node.op_type == "Gather" for node in users):
        (gather,) = users
        _quantise_table(graph, gather, value, key, weights, dtype, out)
        return True
    else:
        shape = weights.shape(key)
        value.const_value = out.append(value.name, value.dtype, shape, _parts(weights, key))
    return False


def _product(transpose: ir.Node) -> ir.Node:
    """The MatMul of a linear layer, whose weights torch keeps the other way round."""
    users = [use.node for use in transpose.outputs[0].uses()]
    if len(users) != 1 or users[0].op_type != "MatMul":
        raise StreamdError(f"{transpose.inputs[0]}: a linear layer looks other than expected; is torch a newer one?")
    return users[0]


def _fold(graph: ir.Graph, product: ir.Node, value: ir.Value, key: str, weights: Weights) -> None:
    """constant @ weight.T, here and now."""
    constant = product.inputs[0]
    assert constant is not None
    assert constant.const_value is not None
    assert value.dtype is not None
    whole = np.concatenate(list(_parts(weights, key)))
    folded = constant.const_value.numpy().astype(np.float32) @ whole.T
    _replace(graph, product, _constant(graph, f"{value.name}_folded", ir.tensor(folded.astype(value.dtype.numpy()))))


def _transpose(graph: ir.Graph, node: ir.Node, value: ir.Value, key: str, weights: Weights, out: _Data) -> None:
    """The weight as MatMul takes it: ONNX Runtime would hold it twice while it turns it over itself."""
    outputs, inputs = weights.shape(key)
    turned = np.concatenate(list(_parts(weights, key))).T
    steps = _steps(inputs, outputs)
    name = f"{value.name}_transposed"
    parts = (turned[start:stop] for start, stop in steps)
    _replace(graph, node, _constant(graph, name, out.append(name, value.dtype, (inputs, outputs), parts)))


def _quantise_linear(
    graph: ir.Graph, product: ir.Node, value: ir.Value, key: str, weights: Weights, dtype: Dtype, out: _Data
) -> None:
    outputs, inputs = weights.shape(key)
    blocks = -(-inputs // dtype.block)
    parts = _quantised(graph, value, key, weights, dtype, out, (outputs, blocks, dtype.block * (dtype.bits or 0) // 8))
    attributes: dict[str, int] = {"K": inputs, "N": outputs, "bits": dtype.bits or 0, "block_size": dtype.block}
    if dtype.accuracy_level:
        attributes["accuracy_level"] = dtype.accuracy_level
    node = ir.node("MatMulNBits", [product.inputs[0], *parts], attributes=attributes, domain=MICROSOFT)
    _swap(graph, product, node)


def _quantise_table(
    graph: ir.Graph, gather: ir.Node, value: ir.Value, key: str, weights: Weights, dtype: Dtype, out: _Data
) -> None:
    entries, width = weights.shape(key)
    if width % dtype.block:
        raise UnavailableError(f"{key}: rows of {width} can't be parted into blocks of {dtype.block}; use fp32 or fp16")
    parts = _quantised(graph, value, key, weights, dtype, out, (entries, width * (dtype.bits or 0) // 8))
    attributes = {"bits": dtype.bits or 0, "block_size": dtype.block, "gather_axis": 0, "quantize_axis": 1}
    inputs = [parts[0], gather.inputs[1], *parts[1:]]
    _swap(graph, gather, ir.node("GatherBlockQuantized", inputs, attributes=attributes, domain=MICROSOFT))


def _quantised(
    graph: ir.Graph, value: ir.Value, key: str, weights: Weights, dtype: Dtype, out: _Data, shape: tuple[int, ...]
) -> list[ir.Value]:
    """Blocks, scales and zero points of a weight as graph values. Blocks lie along the last axis."""
    assert value.dtype is not None
    config = DefaultWeightOnlyQuantConfig(block_size=dtype.block, is_symmetric=False, bits=dtype.bits)
    quantizer = DefaultWeightOnlyQuantizer(config)
    scales: list[Array] = []
    zeros: list[Array] = []

    def packed() -> Iterator[Array]:
        for part in _parts(weights, key):
            blocks, scale, zero = quantizer.qbits_block_quant(np.ascontiguousarray(part.T))
            scales.append(scale)
            zeros.append(zero)
            yield blocks

    name = value.name
    values = [_constant(graph, f"{name}_Q{dtype.bits}", out.append(name, ir.DataType.UINT8, shape, packed()))]
    for what, parts, kind in (("scales", scales, value.dtype), ("zero_points", zeros, ir.DataType.UINT8)):
        whole = np.concatenate(parts)
        tensor = out.append(f"{name}_{what}", kind, whole.shape, [whole])
        values.append(_constant(graph, f"{name}_{what}", tensor))
    return values


def _parts(weights: Weights, key: str) -> Iterator[NDArray[np.float32]]:
    """A weight in parts along its first axis."""
    shape = weights.shape(key)
    for start, stop in _steps(shape[0], int(np.prod(shape[1:]))):
        yield weights.rows(key, start, stop)


def _steps(rows: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, PART // width)
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


def _constant(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    value = ir.Value(name=name, shape=ir.Shape(tensor.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _swap(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Put a node in another's place."""
    ir.convenience.replace_nodes_and_values(graph, old, [old], [new], old.outputs, new.outputs)


def _replace(graph: ir.Graph, node: ir.Node, by: ir.Value) -> None:
    ir.convenience.replace_all_uses_with(node.outputs[0], by)
    graph.remove(node, safe=True)


def _tidy(model: ir.Model) -> None:
    """Without what nobody uses, what is said twice, numbers that are cast at each run, and torch's notes."""
    model.opset_imports[MICROSOFT] = 1
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    for node in [node for node in model.graph if node.op_type == "CastLike"]:
        number, like = node.inputs
        if number is not None and number.const_value is not None and like is not None and like.dtype is not None:
            cast = number.const_value.numpy().astype(like.dtype.numpy())
            _replace(model.graph, node, _constant(model.graph, f"{node.outputs[0].name}_cast", ir.tensor(cast)))
    ir.passes.Sequential(
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.CommonSubexpressionEliminationPass(),
    )(model)
    for noted in (model, model.graph, *model.graph, *(value for node in model.graph for value in node.outputs)):
        noted.metadata_props.clear()


class _Data:
    """The file beside the graph. It appears with the first tensor that doesn't stay in the graph."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._file: Any = None

    def append(
        self, name: str | None, dtype: ir.DataType | None, shape: tuple[int, ...], parts: Iterable[Array]
    ) -> ir.TensorProtocol:
        """A tensor of `parts` one after another."""
        assert dtype is not None
        kind = dtype.numpy()
        length = int(np.prod(shape)) * kind.itemsize
        if length < STAYS:
            whole = np.concatenate([np.atleast_1d(part) for part in parts]).reshape(shape)
            return ir.Tensor(_cast(whole, kind, name), dtype=dtype, name=name)
        self._file = self._file or self.path.open("wb")
        offset = self._file.seek(-self._file.tell() % PAGE, 1)
        for part in parts:
            _cast(part, kind, name).tofile(self._file)
        if self._file.tell() != offset + length:
            raise StreamdError(f"{self.path}: {name} takes {self._file.tell() - offset} bytes instead of {length}")
        return ir.ExternalTensor(
            self.path.name, offset, length, dtype, shape=ir.Shape(shape), name=name or "", base_dir=self.path.parent
        )

    def close(self) -> None:
        if self._file:
            self._file.close()


def _cast(part: Array, kind: np.dtype[Any], name: str | None) -> Array:
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(part, kind)
    if kind == np.float16 and not np.isfinite(cast).all():
        raise UnavailableError(f"{name} has values beyond what 16 bits hold; export it with fp32, int8 or q4")
    return cast
