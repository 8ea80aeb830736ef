"""Layers that know their shapes but hold no weights: graphs are traced first, weights are written into them later."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it


def weight(*shape: int, dtype: torch.dtype) -> nn.Parameter:
    """A parameter of this shape that takes the memory of one number."""
    return nn.Parameter(torch.zeros(1, dtype=dtype).expand(*shape), requires_grad=False)


class Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int, dtype: torch.dtype, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = weight(outputs, inputs, dtype=dtype)
        self.bias = weight(outputs, dtype=dtype) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class RmsNorm(nn.Module):
    """Root-mean-square norm (arXiv 1910.07467) in 32 bits, written so that ONNX Runtime fuses it into one operator."""

    def __init__(self, width: int, epsilon: float, dtype: torch.dtype, *, scaled: bool = True) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = weight(width, dtype=dtype) if scaled else None

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide / torch.sqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return (wide if self.weight is None else wide * self.weight.float()).type_as(x)
