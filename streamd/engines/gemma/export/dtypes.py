"""The forms that weights are stored in, named as onnx-community names its files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dtype:
    """How weights are kept and what the graph computes with."""

    name: str
    suffix: str  # of file names
    half: bool = False  # computes in 16 bits
    bits: int | None = None  # of matrices and tables, in blocks with a scale and a zero point each
    block: int = 32  # weights in a block
    accuracy_level: int = 0  # of MatMulNBits; 4: inputs in 8 bits, too, which is what processors are quick at


DTYPES = {
    dtype.name: dtype
    for dtype in (
        Dtype("fp32", ""),
        Dtype("fp16", "_fp16", half=True),
        Dtype("int8", "_quantized", bits=8, accuracy_level=4),
        Dtype("q4", "_q4", bits=4, accuracy_level=4),
        Dtype("q4f16", "_q4f16", half=True, bits=4),
    )
}
