"""The audio tower with its past made explicit: 640 samples in, one soft token out, equal to the whole-clip reference.

The reference (transformers, models/gemma4/modeling_gemma4.py) is causal: convolutions reach back, attention sees a
frame and the eleven before it. So all it needs of the past is the last mel row, the last row between the two
convolutions, and per layer eleven keys and values and four rows before the depthwise convolution. With these at zero
and `frames` at 0 the same module reads a clip from its start.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from streamd.engines.gemma.export.architecture import Audio
from streamd.engines.gemma.export.layers import Linear, RmsNorm, weight
from streamd.engines.gemma.export.weights import Weights

MEL_BANDS = 128
NORM_EPSILON = 1e-6  # where the reference does not take the configured one
ROWS_PER_TOKEN = 4  # two convolutions of stride 2
TOWER = "model.audio_tower."


class State(NamedTuple):
    """What a stream remembers. Shapes for batch size B:

    mel (B, 1, 128), subsampling (B, C0, 1, 64), key and value (L, B, 11, heads, head), convolution (L, B, hidden, 4),
    frames (B,) int64: soft tokens so far.
    """

    mel: Tensor
    subsampling: Tensor
    key: Tensor
    value: Tensor
    convolution: Tensor
    frames: Tensor


class ClippedLinear(nn.Module):
    """A linear layer between clamps whose bounds belong to the checkpoint; without them the tower collapses."""

    def __init__(self, name: str, inputs: int, outputs: int, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.linear = Linear(inputs, outputs, dtype)
        self.before = weights.scalar(f"{name}.input_min"), weights.scalar(f"{name}.input_max")
        self.after = weights.scalar(f"{name}.output_min"), weights.scalar(f"{name}.output_max")

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(self.linear(torch.clamp(x, *self.before)), *self.after)


class FeedForward(nn.Module):
    """Half a feed-forward step, as conformers have one before and one after."""

    def __init__(self, name: str, shape: Audio, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale, self.clip = shape.residual_weight, bound(shape, dtype)
        self.pre_layer_norm = RmsNorm(shape.hidden, NORM_EPSILON, dtype)
        self.ffw_layer_1 = ClippedLinear(f"{name}.ffw_layer_1", shape.hidden, 4 * shape.hidden, weights, dtype)
        self.ffw_layer_2 = ClippedLinear(f"{name}.ffw_layer_2", 4 * shape.hidden, shape.hidden, weights, dtype)
        self.post_layer_norm = RmsNorm(shape.hidden, NORM_EPSILON, dtype)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pre_layer_norm(torch.clamp(x, -self.clip, self.clip))
        y = self.ffw_layer_2(F.silu(self.ffw_layer_1(y)))
        return x + self.post_layer_norm(torch.clamp(y, -self.clip, self.clip)) * self.scale


class Attention(nn.Module):
    """Attention to the last `context` frames, with relative positions (arXiv 1901.02860) and capped logits."""

    def __init__(self, name: str, shape: Audio, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = shape
        for part in ("q_proj", "k_proj", "v_proj", "post"):
            self.add_module(part, ClippedLinear(f"{name}.{part}", shape.hidden, shape.hidden, weights, dtype))
        self.relative_k_proj = Linear(shape.hidden, shape.hidden, dtype)
        self.per_dim_scale = weight(shape.head, dtype=dtype)
        self.register_buffer("distances", sinusoids(shape).to(dtype), persistent=False)

    def forward(self, x: Tensor, valid: Tensor, past_k: Tensor, past_v: Tensor, frames: Tensor) -> tuple[Tensor, ...]:
        """x (B, T, hidden), valid (B, T) → the same shape, and the last keys and values (B, 11, heads, head)."""
        batch, time, _ = x.shape
        heads, width, context = self.shape.heads, self.shape.head, self.shape.context
        scale = width**-0.5 / math.log(2) * F.softplus(self.per_dim_scale.float())
        q = self.q_proj(x).float().view(batch, time, heads, width) * scale
        k = self.k_proj(x).float().view(batch, time, heads, width) * (math.log(1 + math.e) / math.log(2))
        v = self.v_proj(x).float().view(batch, time, heads, width)
        k, v = torch.cat([past_k.float(), k], 1), torch.cat([past_v.float(), v], 1)  # (B, 11+T, heads, head)
        slots = torch.arange(time)[:, None] + torch.arange(context)[None]  # (T, 12): oldest first, last one is itself
        relative = self.relative_k_proj(self.distances).float().view(context, heads, width)
        logits = torch.einsum("bthd,btjhd->bthj", q, k[:, slots]) + torch.einsum("bthd,jhd->bthj", q, relative)
        logits = torch.tanh(logits / self.shape.logit_cap) * self.shape.logit_cap
        started = torch.arange(time)[None, :, None] + frames[:, None, None] >= context - 1 - torch.arange(context)
        real = F.pad(valid, (context - 1, 0), value=True)[:, slots]
        logits = logits.masked_fill(~(started & real)[:, :, None], self.shape.masked_logit)
        out = torch.einsum("bthj,btjhd->bthd", torch.softmax(logits, -1), v[:, slots])
        out = self.post(out.reshape(batch, time, -1).to(x.dtype))
        return out, k[:, 1 - context :].to(x.dtype), v[:, 1 - context :].to(x.dtype)


class LightConvolution(nn.Module):
    """A gated pointwise step, a depthwise convolution over the past, another pointwise step."""

    def __init__(self, name: str, shape: Audio, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.clip, self.hidden = bound(shape, dtype), shape.hidden
        self.pre_layer_norm = RmsNorm(shape.hidden, shape.epsilon, dtype)
        self.linear_start = ClippedLinear(f"{name}.linear_start", shape.hidden, 2 * shape.hidden, weights, dtype)
        self.depthwise_conv1d = nn.Module()
        self.depthwise_conv1d.weight = weight(shape.hidden, 1, shape.kernel, dtype=dtype)
        self.conv_norm = RmsNorm(shape.hidden, shape.epsilon, dtype)
        self.linear_end = ClippedLinear(f"{name}.linear_end", shape.hidden, shape.hidden, weights, dtype)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        y = F.glu(self.linear_start(self.pre_layer_norm(x)), dim=-1).transpose(1, 2)
        y = torch.cat([past, y], 2)  # (B, hidden, 4+T)
        kernel = self.depthwise_conv1d.weight
        present = y[:, :, 1 - kernel.shape[2] :]
        y = F.conv1d(y, kernel, groups=self.hidden).transpose(1, 2)
        y = self.linear_end(F.silu(self.conv_norm(torch.clamp(y, -self.clip, self.clip))))
        return x + y, present


class Layer(nn.Module):
    def __init__(self, name: str, shape: Audio, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.clip = bound(shape, dtype)
        self.feed_forward1 = FeedForward(f"{name}.feed_forward1", shape, weights, dtype)
        self.norm_pre_attn = RmsNorm(shape.hidden, NORM_EPSILON, dtype)
        self.self_attn = Attention(f"{name}.self_attn", shape, weights, dtype)
        self.norm_post_attn = RmsNorm(shape.hidden, NORM_EPSILON, dtype)
        self.lconv1d = LightConvolution(f"{name}.lconv1d", shape, weights, dtype)
        self.feed_forward2 = FeedForward(f"{name}.feed_forward2", shape, weights, dtype)
        self.norm_out = RmsNorm(shape.hidden, NORM_EPSILON, dtype)

    def forward(
        self, x: Tensor, valid: Tensor, past_k: Tensor, past_v: Tensor, past_conv: Tensor, frames: Tensor
    ) -> tuple[Tensor, ...]:
        x = self.feed_forward1(x)
        y, k, v = self.self_attn(self.norm_pre_attn(self._clamp(x)), valid, past_k, past_v, frames)
        x = x + self.norm_post_attn(self._clamp(y))
        x, convolution = self.lconv1d(x, past_conv)
        return self.norm_out(self._clamp(self.feed_forward2(x))), k, v, convolution

    def _clamp(self, x: Tensor) -> Tensor:
        return torch.clamp(x, -self.clip, self.clip)


class Subsampling(nn.Module):
    """A 3×3 convolution of stride 2 over rows and bands, normalised over channels; its past is one row."""

    def __init__(self, inputs: int, outputs: int, epsilon: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.conv, self.norm = nn.Module(), nn.Module()
        self.conv.weight = weight(outputs, inputs, 3, 3, dtype=dtype)
        self.norm.weight = weight(outputs, dtype=dtype)

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        """x (B, C, 2n, bands), past (B, C, 1, bands) → (B, C', n, bands / 2)."""
        x = F.conv2d(F.pad(torch.cat([past, x], 2), (1, 1, 0, 0)), self.conv.weight, stride=2)
        x = x.permute(0, 2, 3, 1)
        return F.relu(F.layer_norm(x, self.norm.weight.shape, self.norm.weight, None, self.epsilon)).permute(0, 3, 1, 2)


class Tower(nn.Module):
    def __init__(self, shape: Audio, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.subsample_conv_projection = nn.Module()
        front = self.subsample_conv_projection
        front.layer0 = Subsampling(1, shape.channels[0], shape.epsilon, dtype)
        front.layer1 = Subsampling(shape.channels[0], shape.channels[1], shape.epsilon, dtype)
        front.input_proj_linear = Linear(MEL_BANDS // 4 * shape.channels[1], shape.hidden, dtype)
        self.layers = nn.ModuleList(
            Layer(f"{TOWER}layers.{index}", shape, weights, dtype) for index in range(shape.layers)
        )
        self.output_proj = Linear(shape.hidden, shape.output, dtype, bias=True)


class StreamingEncoder(nn.Module):
    """log-mel rows of n frames of 40 ms → n soft tokens as wide as the language model, and the new state."""

    def __init__(self, shape: Audio, text_hidden: int, weights: Weights, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape, self.dtype = shape, dtype
        self.tower = Tower(shape, weights, dtype)
        self.embed = nn.Module()
        self.embed.embedding_pre_projection_norm = RmsNorm(shape.output, shape.epsilon, dtype, scaled=False)
        self.embed.embedding_projection = Linear(shape.output, text_hidden, dtype)

    def initial(self, batch: int = 1) -> State:
        """A stream's start."""
        shape = self.shape
        keys = (shape.layers, batch, shape.context - 1, shape.heads, shape.head)
        return State(
            mel=torch.zeros(batch, 1, MEL_BANDS, dtype=self.dtype),
            subsampling=torch.zeros(batch, shape.channels[0], 1, MEL_BANDS // 2, dtype=self.dtype),
            key=torch.zeros(keys, dtype=self.dtype),
            value=torch.zeros(keys, dtype=self.dtype),
            convolution=torch.zeros(shape.layers, batch, shape.hidden, shape.kernel - 1, dtype=self.dtype),
            frames=torch.zeros(batch, dtype=torch.long),
        )

    def forward(
        self,
        input_features: Tensor,
        input_features_mask: Tensor,
        mel: Tensor,
        subsampling: Tensor,
        key: Tensor,
        value: Tensor,
        convolution: Tensor,
        frames: Tensor,
    ) -> tuple[Tensor, ...]:
        """Features (B, 4n, 128), mask (B, 4n): False where a clip's last window is cut short, only at its end."""
        front = self.tower.subsample_conv_projection
        rows = (input_features.to(self.dtype) * input_features_mask[..., None]).unsqueeze(1)  # (B, 1, 4n, 128)
        half = front.layer0(rows, mel.unsqueeze(1)) * input_features_mask[:, None, ::2, None]  # (B, C0, 2n, 64)
        x = front.layer1(half, subsampling).permute(0, 2, 3, 1)  # (B, n, 32, C1)
        valid = input_features_mask[:, ::ROWS_PER_TOKEN]
        x = front.input_proj_linear(x.reshape(*x.shape[:2], -1))
        kept: list[tuple[Tensor, ...]] = []
        for index, layer in enumerate(self.tower.layers):
            x, *past = layer(x, valid, key[index], value[index], convolution[index], frames)
            kept.append(tuple(past))
        embed = self.embed
        tokens = embed.embedding_projection(embed.embedding_pre_projection_norm(self.tower.output_proj(x)))
        past = [torch.stack(part) for part in zip(*kept, strict=True)]
        return tokens.float(), valid, rows[:, 0, -1:], half[:, :, -1:], *past, frames + x.shape[1]


class ClipEncoder(nn.Module):
    """The same weights for whole clips: any number of rows, no state."""

    def __init__(self, encoder: StreamingEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_features: Tensor, input_features_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, T, 128), mask (B, T) → soft tokens (B, ⌈T/4⌉, hidden) and which of them are real."""
        batch, rows, _ = input_features.shape
        whole = rows + -rows % ROWS_PER_TOKEN
        features = F.pad(input_features, (0, 0, 0, ROWS_PER_TOKEN - 1))[:, :whole]
        mask = F.pad(input_features_mask, (0, ROWS_PER_TOKEN - 1))[:, :whole]
        first = self.encoder.initial()
        spread = [
            part.expand(*(batch if axis == at else -1 for axis in range(part.ndim)))
            for part, at in zip(first, (0, 0, 1, 1, 1, 0), strict=True)
        ]
        tokens, valid, *_ = self.encoder(features, mask, *spread)
        return tokens, valid


def sinusoids(shape: Audio) -> Tensor:
    """Position vectors of distances context-1 … 0, (context, hidden)."""
    count = shape.hidden // 2
    steps = torch.exp(torch.arange(count) * -(math.log(10_000.0) / max(count - 1, 1)))
    angles = torch.arange(shape.context - 1, -1, -1)[:, None] * steps
    return torch.cat([torch.sin(angles), torch.cos(angles)], -1)


def bound(shape: Audio, dtype: torch.dtype) -> float:
    """How far activations go before they are clamped."""
    return min(shape.clip, float(torch.finfo(dtype).max))
