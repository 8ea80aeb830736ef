"""Gemma's language model with explicit keys and values: reading on from any past.

A `Cache` is never changed. Reading gives a new one, so that any number of continuations may branch off from one past,
and going back is keeping the earlier one; `Cache.crop` also goes back to where no call ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamd.engines.gemma.graphs import PAST, PRESENT, Array, Graph
from streamd.engines.repair import remedy
from streamd.errors import UnavailableError

Logits = NDArray[np.float32]

PAD = 0
"""The token whose per-layer inputs stand at every audio position (`Gemma4Model.forward` in transformers)."""


@dataclass(frozen=True, slots=True)
class Cache:
    """Keys and values of every position that was read."""

    length: int  # positions
    arrays: tuple[Array, ...]  # as the graph's inputs are ordered, each (1, kv_heads, length, head_dim)

    def crop(self, length: int) -> Cache:
        """The past as it was when `length` positions had been read. Raises ValueError if there are fewer."""
        if not 0 <= length <= self.length:
            raise ValueError(f"a past of {self.length} positions has no first {length}")
        return self if length == self.length else Cache(length, tuple(array[:, :, :length] for array in self.arrays))

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


class Decoder:
    """The language model of one folder. May be used from several threads at a time."""

    def __init__(self, embed: Graph, decoder: Graph, prefill: Graph | None = None) -> None:
        self._embed, self._decoder, self._prefill = embed, decoder, prefill
        self._width = decoder.inputs["inputs_embeds"].shape[-1]
        shapes = [(decoder.inputs[name].shape, decoder.inputs[name].dtype) for name in decoder.past]
        self.empty = Cache(0, tuple(np.zeros((1, shape[1], 0, shape[3]), dtype) for shape, dtype in shapes))  # type: ignore[arg-type]
        self._audio_inputs = self.embed([PAD])[1]  # (1, 1, layers, per_layer_width)

    @property
    def vocabulary(self) -> int | None:
        """Tokens that it can write, where the graph states it."""
        size = self._decoder.outputs["logits"].shape[-1]
        return size if isinstance(size, int) else None

    def embed(self, tokens: Sequence[int]) -> tuple[Array, Array]:
        """Embeddings (1, n, width) and per-layer inputs (1, n, layers, per_layer_width) of n tokens."""
        outputs = self._embed.run({"input_ids": np.array([tokens], np.int64)})
        return outputs["inputs_embeds"], outputs["per_layer_inputs"]

    def read(self, cache: Cache, tokens: Sequence[int], keep: int = 1) -> tuple[Logits, Cache]:
        """Read n ≥ 1 tokens after `cache`, in one pass: logits after each of the last `keep` (keep, vocabulary).

        Raises UnavailableError if the graph gives no numbers.
        """
        embeds, per_layer = self.embed(tokens)
        outputs, grown = self._step(self._decoder, cache, embeds, per_layer, keep)
        logits = outputs["logits"][0, -keep:].astype(np.float32, copy=False)
        if not np.isfinite(logits.max(axis=-1)).all():
            raise UnavailableError(
                f"{self._decoder.file.name} gave no numbers (NaN or infinite logits) after {grown.length} positions; "
                f"take another engines.gemma.dtype, or {remedy(self._decoder.file)}"
            )
        return logits, grown

    def hear(self, cache: Cache, audio: Array) -> Cache:
        """Read soft tokens of sound (n, width) after `cache`. n may be 0."""
        if not len(audio):
            return cache
        per_layer = np.repeat(self._audio_inputs, len(audio), axis=1)
        _, grown = self._step(self._prefill or self._decoder, cache, audio[np.newaxis], per_layer, 1)
        return grown

    def _step(
        self, graph: Graph, cache: Cache, embeds: Array, per_layer: Array, keep: int
    ) -> tuple[dict[str, Array], Cache]:
        total = cache.length + embeds.shape[1]
        layers = graph.inputs["per_layer_inputs"].shape[2]
        feeds = {
            "inputs_embeds": embeds,
            "per_layer_inputs": per_layer[:, :, :layers] if isinstance(layers, int) else per_layer,
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(cache.length, total, dtype=np.int64)[np.newaxis],
            "num_logits_to_keep": np.array(keep, np.int64),
        }
        feeds |= dict(zip(self._decoder.past, cache.arrays, strict=True))
        outputs = graph.run(feeds)
        return outputs, Cache(total, tuple(outputs[name.replace(PAST, PRESENT)] for name in self._decoder.past))
