"""Whisper's text decoder in NumPy, a step at a time: what any continuation of any text is worth, given the sound.

CTranslate2 answers with texts and with the probabilities of one text. A grammar asks for more: what each word that may
come next is worth, for many beginnings at once. Radford et al. 2022, arXiv:2212.04356; Vaswani et al. 2017,
arXiv:1706.03762, normalised before each block. The weights come from CTranslate2's model.bin, computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamd.engines.whisper.weights import Float32, read_weights
from streamd.errors import UnavailableError

_EPSILON = 1e-5
_SILENT_FRAMES = 50


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Float32  # (out, in)
    bias: Float32  # (out,)

    def __call__(self, x: Float32) -> Float32:
        return x @ self.weight.T + self.bias


@dataclass(frozen=True, slots=True)
class _Norm:
    gain: Float32
    bias: Float32

    def __call__(self, x: Float32) -> Float32:
        centred = x - x.mean(-1, keepdims=True)
        spread = np.sqrt(np.square(centred).mean(-1, keepdims=True) + _EPSILON)
        return np.asarray(centred / spread * self.gain + self.bias, np.float32)


@dataclass(frozen=True, slots=True)
class _Layer:
    self_norm: _Norm
    self_in: _Linear  # queries, keys and values in one
    self_out: _Linear
    cross_norm: _Norm
    cross_query: _Linear
    cross_in: _Linear  # keys and values in one
    cross_out: _Linear
    norm: _Norm
    wide: _Linear
    narrow: _Linear


@dataclass(frozen=True, slots=True)
class Sound:
    """One encoded sound, as each layer attends to it: keys (heads, d, frames) and values (heads, frames, d)."""

    keys: tuple[Float32, ...]
    values: tuple[Float32, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """What has been read of n texts, all equally long: for each layer keys and values (n, heads, tokens, d)."""

    keys: tuple[Float32, ...]
    values: tuple[Float32, ...]

    @property
    def length(self) -> int:
        """Tokens of each."""
        return int(self.keys[0].shape[2]) if self.keys else 0

    def pick(self, rows: Sequence[int]) -> Texts:
        """The texts with these numbers, in this order; one may be taken several times."""
        chosen = np.asarray(rows, np.intp)
        return Texts(tuple(k[chosen] for k in self.keys), tuple(v[chosen] for v in self.values))


NOTHING = Texts((), ())


@dataclass(frozen=True, slots=True)
class Part:
    """t more tokens of each of n texts: see Decoder.read."""

    sound: Sound
    tokens: Sequence[Sequence[int]]  # (n, t)
    common: Texts = NOTHING
    own: Texts = NOTHING

    @property
    def offset(self) -> int:
        """How many tokens stand before these."""
        return self.common.length + self.own.length


class Decoder:
    """The decoder of one model. Stateless: it may be used from several threads."""

    def __init__(self, folder: Path) -> None:
        weights = read_weights(folder / "model.bin", "decoder/")
        try:
            self._heads = int(weights["num_heads"])
            self._embeddings = weights["embeddings/weight"]  # (vocabulary, width)
            self._positions = weights["position_encodings/encodings"]  # (448, width)
            self._norm = _norm(weights, "layer_norm")
            count = sum(name.endswith("/ffn/linear_0/weight") for name in weights)
            self._layers = [_layer(weights, f"layer_{n}/") for n in range(count)]
        except KeyError as missing:
            raise UnavailableError(f"{folder / 'model.bin'} is no decoder of Whisper's: it lacks {missing}") from None

    @cached_property
    def silence(self) -> Sound:
        """No sound at all: what is read then is what the model would write anyway."""
        return self.hear(np.zeros((_SILENT_FRAMES, self._embeddings.shape[1]), np.float32))

    @property
    def longest(self) -> int:
        """Tokens that a text may have."""
        return len(self._positions)

    def hear(self, encoded: Float32) -> Sound:
        """What the encoder made of a sound, (frames, width), ready to be attended to."""
        pairs = [np.split(layer.cross_in(encoded), 2, axis=-1) for layer in self._layers]
        split = (len(encoded), self._heads, -1)
        return Sound(
            tuple(np.ascontiguousarray(key.reshape(split).transpose(1, 2, 0)) for key, _ in pairs),
            tuple(np.ascontiguousarray(value.reshape(split).transpose(1, 0, 2)) for _, value in pairs),
        )

    def read(
        self, sound: Sound, tokens: Sequence[Sequence[int]], common: Texts = NOTHING, own: Texts = NOTHING
    ) -> tuple[Float32, Texts]:
        """Reads t more tokens of each of n texts: what comes out behind each token, (n, t, width), and their own parts.

        `common` is what all of them begin with, one text; `own` what each goes on with, n texts.
        """
        ((states, texts),) = self.read_together([Part(sound, tokens, common, own)])
        return states, texts

    def read_together(self, parts: Sequence[Part]) -> list[tuple[Float32, Texts]]:
        """The same for several sounds or beginnings: the weights, which are most of what is moved, are moved once."""
        ids = [np.asarray(part.tokens, np.intp) for part in parts]  # (n, t) each
        ends = np.cumsum([each.size for each in ids])[:-1]
        x = np.concatenate([self._embedded(each, part.offset) for each, part in zip(ids, parts, strict=True)])
        kept: list[list[tuple[Float32, Float32]]] = [[] for _ in parts]
        for number, layer in enumerate(self._layers):
            projected = np.split(layer.self_in(layer.self_norm(x)), ends)
            attended = []
            for part, each, rows, texts in zip(parts, ids, projected, kept, strict=True):
                query, key, value = (self._split(rows, each, third) for third in range(3))
                if part.own.length:
                    key = np.concatenate([part.own.keys[number], key], axis=2)
                    value = np.concatenate([part.own.values[number], value], axis=2)
                texts.append((key, value))
                shared = (part.common.keys[number][0], part.common.values[number][0]) if part.common.length else None
                attended.append(_attend_to_text(query, key, value, shared))
            x = x + layer.self_out(np.concatenate(attended))
            projected = np.split(layer.cross_query(layer.cross_norm(x)), ends)
            attended = [
                _attend_to_sound(self._split(rows, each), part.sound.keys[number], part.sound.values[number])
                for part, each, rows in zip(parts, ids, projected, strict=True)
            ]
            x = x + layer.cross_out(np.concatenate(attended))
            x = x + layer.narrow(_gelu(layer.wide(layer.norm(x))))
        states = np.split(self._norm(x), ends)
        return [
            (rows.reshape(*each.shape, -1), Texts(tuple(key for key, _ in texts), tuple(value for _, value in texts)))
            for rows, each, texts in zip(states, ids, kept, strict=True)
        ]

    def log_probabilities(self, states: Float32) -> Float32:
        """Of every token of the vocabulary, behind what `read` returned: (…, width) → (…, vocabulary)."""
        logits: Float32 = states.reshape(-1, states.shape[-1]) @ self._embeddings.T  # at once: it is the largest matrix
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        return logits.reshape(*states.shape[:-1], len(self._embeddings))

    def _embedded(self, ids: NDArray[np.intp], offset: int) -> Float32:
        """(n, t) → (n · t, width)."""
        x: Float32 = self._embeddings[ids] + self._positions[offset : offset + ids.shape[1]]
        return x.reshape(ids.size, -1)

    def _split(self, rows: Float32, ids: NDArray[np.intp], part: int = 0) -> Float32:
        """(n · t, parts · width) → one part of it, (n, heads, t, d)."""
        width = self._embeddings.shape[1]
        chosen = rows[:, part * width : (part + 1) * width]
        return chosen.reshape(*ids.shape, self._heads, -1).transpose(0, 2, 1, 3)


def _attend_to_sound(query: Float32, key: Float32, value: Float32) -> Float32:
    """Scaled dot-product attention of query (n, heads, t, d) to key (heads, d, s) and value (heads, s, d)."""
    count, heads, length, size = query.shape
    rows = query.transpose(1, 0, 2, 3).reshape(heads, count * length, size)
    attended = _softmax(rows @ key / np.float32(math.sqrt(size))) @ value  # (heads, n · t, d)
    return attended.transpose(1, 0, 2).reshape(count * length, -1)


def _attend_to_text(query: Float32, key: Float32, value: Float32, shared: tuple[Float32, Float32] | None) -> Float32:
    """The same to key and value (n, heads, s, d) up to each token itself, and to those that all texts share."""
    count, heads, length, size = query.shape
    scores: Float32 = query @ key.swapaxes(2, 3)  # (n, heads, t, s)
    if length > 1:
        scores += np.triu(np.full(scores.shape[2:], -np.inf, np.float32), 1 + scores.shape[3] - length)
    if shared is None:
        return _joined(_softmax(scores / np.float32(math.sqrt(size))) @ value)
    before, behind = shared  # (heads, p, d)
    rows = query.transpose(1, 0, 2, 3).reshape(heads, count * length, size)
    early = (rows @ before.swapaxes(1, 2)).reshape(heads, count, length, -1).transpose(1, 0, 2, 3)
    scores = np.concatenate([early, scores], axis=3)
    weights = _softmax(scores / np.float32(math.sqrt(size)))
    first = weights[..., : before.shape[1]].transpose(1, 0, 2, 3).reshape(heads, count * length, -1) @ behind
    attended = first.reshape(heads, count, length, size).transpose(1, 0, 2, 3) + weights[..., before.shape[1] :] @ value
    return _joined(attended)


def _softmax(scores: Float32) -> Float32:
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(scores / scores.sum(-1, keepdims=True), np.float32)


def _joined(x: Float32) -> Float32:
    """(n, heads, t, d) → (n · t, width)."""
    return x.transpose(0, 2, 1, 3).reshape(len(x) * x.shape[2], -1)


def _gelu(x: Float32) -> Float32:
    """x · Φ(x), with erf after Abramowitz and Stegun 7.1.26 (error below 2e-7)."""
    z = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * np.float32(1.061405429))))
    )
    return np.asarray(0.5 * x * (1 + np.sign(x) * (1 - series * np.exp(-z * z))), np.float32)


def _layer(weights: dict[str, Float32], prefix: str) -> _Layer:
    return _Layer(
        _norm(weights, prefix + "self_attention/layer_norm"),
        _linear(weights, prefix + "self_attention/linear_0"),
        _linear(weights, prefix + "self_attention/linear_1"),
        _norm(weights, prefix + "attention/layer_norm"),
        _linear(weights, prefix + "attention/linear_0"),
        _linear(weights, prefix + "attention/linear_1"),
        _linear(weights, prefix + "attention/linear_2"),
        _norm(weights, prefix + "ffn/layer_norm"),
        _linear(weights, prefix + "ffn/linear_0"),
        _linear(weights, prefix + "ffn/linear_1"),
    )


def _linear(weights: dict[str, Float32], name: str) -> _Linear:
    return _Linear(weights[name + "/weight"], weights[name + "/bias"])


def _norm(weights: dict[str, Float32], name: str) -> _Norm:
    return _Norm(weights[name + "/gamma"], weights[name + "/beta"])
