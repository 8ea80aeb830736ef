"""The language model with its keys and values as inputs and outputs, cut into three graphs.

`Embedding` looks tokens up, `Decoder` runs all layers, `AudioPrefill` only those that own keys and values: what audio
tokens leave behind for later tokens is in these, and nobody reads their logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from streamd.engines.gemma.export.architecture import Ids, LayerType, Text
from streamd.engines.gemma.export.layers import Linear, RmsNorm, weight

MASKED = -1e9  # beside logits of at most some hundreds it is minus infinity, and no row of only these becomes NaN

Pair = tuple[Tensor, Tensor]  # keys and values (B, kv heads, positions, width); or cosines and sines (B, 1, S, width)


class Attention(nn.Module):
    """Grouped queries: heads that share keys are rows of one product, so keys are never repeated in memory."""

    def __init__(self, shape: Text, layer: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = shape.heads, shape.kv_heads[layer], shape.heads_width[layer]
        self.owner = layer < shape.owners
        self.q_proj = Linear(shape.hidden, self.heads * self.width, dtype)
        self.q_norm = RmsNorm(self.width, shape.epsilon, dtype)
        if self.owner:
            self.k_proj = Linear(shape.hidden, self.kv_heads * self.width, dtype)
            self.v_proj = Linear(shape.hidden, self.kv_heads * self.width, dtype)
            self.k_norm = RmsNorm(self.width, shape.epsilon, dtype)
            self.v_norm = RmsNorm(self.width, shape.epsilon, dtype, scaled=False)
        self.o_proj = Linear(self.heads * self.width, shape.hidden, dtype)

    def remember(self, x: Tensor, turn: Pair, past: Pair) -> Pair:
        """Keys and values of `past`, then of x (B, S, hidden)."""
        keys = turned(self.k_norm(self._split(self.k_proj(x), self.kv_heads)), turn)
        values = self.v_norm(self._split(self.v_proj(x), self.kv_heads))
        return torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)

    def forward(self, x: Tensor, turn: Pair, known: Pair, mask: Tensor) -> Tensor:
        """x (B, S, hidden), mask (B, 1, 1, S, positions) → (B, S, hidden)."""
        batch, steps, _ = x.shape
        keys, values = known
        q = turned(self.q_norm(self._split(self.q_proj(x), self.heads)), turn)  # (B, heads, S, width)
        groups = (batch, self.kv_heads, self.heads // self.kv_heads, steps)
        logits = q.reshape(batch, self.kv_heads, -1, self.width) @ keys.transpose(2, 3)
        logits = logits.reshape(*groups, -1).float() + mask
        shares = torch.softmax(logits, -1).to(x.dtype).reshape(batch, self.kv_heads, groups[2] * steps, -1)
        out = (shares @ values).reshape(batch, self.heads, steps, self.width)
        return self.o_proj(out.transpose(1, 2).reshape(batch, steps, -1))

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.view(*x.shape[:2], heads, self.width).transpose(1, 2)


class FeedForward(nn.Module):
    def __init__(self, shape: Text, layer: int, dtype: torch.dtype) -> None:
        super().__init__()
        wide = shape.feed_forward * (2 if shape.double_wide and layer >= shape.owners else 1)
        self.gate_proj = Linear(shape.hidden, wide, dtype)
        self.up_proj = Linear(shape.hidden, wide, dtype)
        self.down_proj = Linear(wide, shape.hidden, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, shape: Text, layer: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(shape.hidden, shape.epsilon, dtype)
        self.self_attn = Attention(shape, layer, dtype)
        self.post_attention_layernorm = RmsNorm(shape.hidden, shape.epsilon, dtype)
        self.pre_feedforward_layernorm = RmsNorm(shape.hidden, shape.epsilon, dtype)
        self.mlp = FeedForward(shape, layer, dtype)
        self.post_feedforward_layernorm = RmsNorm(shape.hidden, shape.epsilon, dtype)
        self.per_layer_input_gate = Linear(shape.hidden, shape.per_layer, dtype)
        self.per_layer_projection = Linear(shape.per_layer, shape.hidden, dtype)
        self.post_per_layer_input_norm = RmsNorm(shape.hidden, shape.epsilon, dtype)
        self.layer_scalar = weight(1, dtype=dtype)

    def forward(self, x: Tensor, normed: Tensor, own: Tensor, turn: Pair, known: Pair, mask: Tensor) -> Tensor:
        """x, `normed` by the first norm, and the token's part for this layer, `own` (B, S, per_layer) → the next x."""
        x = x + self.post_attention_layernorm(self.self_attn(normed, turn, known, mask))
        x = x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        gate = F.gelu(self.per_layer_input_gate(x), approximate="tanh")
        return (x + self.post_per_layer_input_norm(self.per_layer_projection(gate * own))) * self.layer_scalar


class Model(nn.Module):
    """Named as the checkpoint's `model.language_model`; `depth` layers of it."""

    def __init__(self, shape: Text, depth: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = shape
        self.per_layer_model_projection = Linear(shape.hidden, shape.layers * shape.per_layer, dtype)
        self.per_layer_projection_norm = RmsNorm(shape.per_layer, shape.epsilon, dtype)
        self.layers = nn.ModuleList(Layer(shape, layer, dtype) for layer in range(depth))
        for kind, rotary in shape.rotary.items():
            width = shape.heads_width[shape.layer_types.index(kind)]
            count = int(rotary.share * width // 2)
            turning = 1.0 / rotary.base ** (torch.arange(0, 2 * count, 2).float() / width)
            self.register_buffer(kind, F.pad(turning, (0, width // 2 - count)), persistent=False)

    def per_layer(self, inputs_embeds: Tensor, identity: Tensor) -> Tensor:
        """What the layers get of each token, (B, S, layers, per_layer): half its identity, half its embedding."""
        projected = self.per_layer_model_projection(inputs_embeds) * self.shape.hidden**-0.5
        return (self.per_layer_projection_norm(projected.reshape(identity.shape)) + identity) * 2.0**-0.5

    def turn(self, kind: LayerType, positions: Tensor, dtype: torch.dtype) -> Pair:
        """Cosines and sines (B, 1, S, width) of the rotary embedding (arXiv 2104.09864)."""
        angles = positions[:, None, :, None].float() * getattr(self, kind)
        angles = torch.cat([angles, angles], -1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


class AudioPrefill(nn.Module):
    """Keys and values that soft tokens leave: the layers that own them, the last one no further than its keys."""

    def __init__(self, shape: Text, dtype: torch.dtype, depth: int | None = None) -> None:
        super().__init__()
        self.shape, self.dtype = shape, dtype
        self.lm = Model(shape, depth or shape.owners, dtype)

    def forward(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor,
        per_layer_inputs: Tensor,
        position_ids: Tensor,
        past: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Inputs as `Decoder.forward` has them → keys and values of all positions so far, layer by layer."""
        x, own, turns, masks = self._begin(inputs_embeds, attention_mask, per_layer_inputs, position_ids)
        known: list[Pair] = []
        for index, layer in enumerate(self.lm.layers):
            kind = self.shape.layer_types[index]
            normed = layer.input_layernorm(x)
            known.append(layer.self_attn.remember(normed, turns[kind], (past[2 * index], past[2 * index + 1])))
            if index + 1 < self.shape.owners:
                x = layer(x, normed, own[:, :, index], turns[kind], known[index], masks[kind])
        return tuple(part for pair in known for part in pair)

    def _begin(
        self, inputs_embeds: Tensor, attention_mask: Tensor, per_layer_inputs: Tensor, position_ids: Tensor
    ) -> tuple[Tensor, Tensor, dict[LayerType, Pair], dict[LayerType, Tensor]]:
        x = inputs_embeds.to(self.dtype)
        own = self.lm.per_layer(x, per_layer_inputs.to(self.dtype))
        turns = {kind: self.lm.turn(kind, position_ids, self.dtype) for kind in self.shape.rotary}
        return x, own, turns, masks(attention_mask, x.shape[1], self.shape.window)


class Decoder(AudioPrefill):
    """All layers and the head, for several tokens after any past; logits of the last `num_logits_to_keep` ones."""

    def __init__(self, shape: Text, dtype: torch.dtype) -> None:
        super().__init__(shape, dtype, shape.layers)
        self.lm.norm = RmsNorm(shape.hidden, shape.epsilon, dtype)
        self.head = Linear(shape.hidden, shape.vocabulary, dtype)

    def forward(  # type: ignore[override]
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor,
        per_layer_inputs: Tensor,
        position_ids: Tensor,
        num_logits_to_keep: Tensor,
        past: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Embeddings (B, S, hidden), mask (B, past+S), identities (B, S, layers, per_layer), positions (B, S) → logits.

        Tokens that nobody wants logits of leave before the layers without keys of their own. 0 keeps all.
        """
        shape = self.shape
        x, own, turns, masks = self._begin(inputs_embeds, attention_mask, per_layer_inputs, position_ids)
        kept = at_least_one(num_logits_to_keep, x.shape[1])
        known: list[Pair] = []
        for index, layer in enumerate(self.lm.layers):
            kind = shape.layer_types[index]
            if index == shape.owners:
                x, own = last(x, kept, 1), last(own, kept, 1)
                turns = {of: (last(cosines, kept, 2), last(sines, kept, 2)) for of, (cosines, sines) in turns.items()}
                masks = {of: last(mask, kept, 3) for of, mask in masks.items()}
            normed = layer.input_layernorm(x)
            if index < shape.owners:
                known.append(layer.self_attn.remember(normed, turns[kind], (past[2 * index], past[2 * index + 1])))
            x = layer(x, normed, own[:, :, index], turns[kind], known[shape.lender(index)], masks[kind])
        if shape.owners == shape.layers:
            x = last(x, kept, 1)
        logits = self.head(self.lm.norm(x)).float()
        if shape.softcap is not None:
            logits = torch.tanh(logits / shape.softcap) * shape.softcap
        return logits, *(part for pair in known for part in pair)


class Embedding(nn.Module):
    """Token ids → their embeddings, and their identities for each layer. Where sound or pictures go, those of <pad>."""

    def __init__(self, shape: Text, ids: Ids, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape, self.ids = shape, ids
        self.lm = nn.Module()
        self.lm.embed_tokens, self.lm.embed_tokens_per_layer = nn.Module(), nn.Module()
        self.lm.embed_tokens.weight = weight(shape.vocabulary, shape.hidden, dtype=dtype)
        self.lm.embed_tokens_per_layer.weight = weight(
            shape.vocabulary_per_layer, shape.layers * shape.per_layer, dtype=dtype
        )

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S) → (B, S, hidden) and (B, S, layers, per_layer), both in 32 bits."""
        soft = (input_ids == self.ids.audio) | (input_ids == self.ids.image) | (input_ids == self.ids.video)
        ids = torch.where(soft, self.ids.pad, input_ids)
        whole = F.embedding(ids, self.lm.embed_tokens.weight).float() * self.shape.hidden**0.5
        parts = F.embedding(ids, self.lm.embed_tokens_per_layer.weight).float() * self.shape.per_layer**0.5
        return whole, parts.reshape(*ids.shape, self.shape.layers, self.shape.per_layer)


def masks(attention_mask: Tensor, steps: int, window: int) -> dict[LayerType, Tensor]:
    """What is added to logits, (B, 1, 1, S, positions): what comes later, is hidden, or is too far back."""
    total = attention_mask.shape[1]
    at = torch.arange(total)
    distance = (torch.arange(steps) + (total - steps))[:, None] - at[None]  # (S, positions)
    seen = (distance >= 0)[None] & (attention_mask != 0)[:, None]
    near = seen & (distance < window)[None]
    return {"sliding_attention": _added(near), "full_attention": _added(seen)}


def _added(allowed: Tensor) -> Tensor:
    """(B, S, positions) → (B, 1, 1, S, positions)."""
    return torch.where(allowed, 0.0, MASKED)[:, None, None]


def turned(x: Tensor, turn: Pair) -> Tensor:
    """x (B, heads, S, width) turned by its position."""
    cosines, sines = turn
    half = x.shape[-1] // 2
    return x * cosines + torch.cat([-x[..., half:], x[..., :half]], -1) * sines


def at_least_one(count: Tensor, steps: int) -> int:
    """How many steps to keep: `count`, all if it is 0. An integer that torch.export knows by its bounds only."""
    kept = torch.where(count == 0, steps, count).clamp(max=steps).item()
    torch._check(kept >= 1)
    torch._check(kept <= steps)
    return int(kept) if isinstance(kept, int | float) else kept


def last(x: Tensor, count: int, axis: int) -> Tensor:
    """The last `count` entries along an axis."""
    return x.narrow(axis, x.shape[axis] - count, count)
