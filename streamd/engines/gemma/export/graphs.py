"""The five graphs, their inputs and their outputs.

Names are onnx-community's where they have one; the streaming encoder and the audio prefill are our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from streamd.engines.gemma.export.architecture import Architecture, Text
from streamd.engines.gemma.export.audio import MEL_BANDS, ClipEncoder, State, StreamingEncoder
from streamd.engines.gemma.export.graph import Graph
from streamd.engines.gemma.export.text import AudioPrefill, Decoder, Embedding
from streamd.engines.gemma.export.weights import Weights

AUDIO_KEYS = {"tower.": "model.audio_tower.", "embed.": "model.embed_audio."}
TEXT_KEYS = {"lm.": "model.language_model.", "head.": "model.language_model.embed_tokens."}
_FEATURES = ("input_features", "input_features_mask")
_TOKENS = ("audio_features", "audio_features_mask")
STEPS, POSITIONS = {0: "batch", 1: "steps"}, {0: "batch", 1: "past + steps"}


def graphs(architecture: Architecture, weights: Weights, dtype: torch.dtype) -> Iterator[Graph]:
    """All graphs of a checkpoint, made one after another."""
    yield from audio_graphs(architecture, weights, dtype)
    yield from text_graphs(architecture, dtype)


def audio_graphs(architecture: Architecture, weights: Weights, dtype: torch.dtype) -> Iterator[Graph]:
    encoder = StreamingEncoder(architecture.audio, architecture.text.hidden, weights, dtype)
    yield Graph(
        "audio_encoder_stream",
        encoder,
        (torch.zeros(1, 12, MEL_BANDS), torch.ones(1, 12, dtype=torch.bool), *encoder.initial()),
        (*_FEATURES, *(f"past.{name}" for name in State._fields)),
        (*_TOKENS, *(f"present.{name}" for name in State._fields)),
        _all(_FEATURES, {1: "4*frames"}) | _all(_TOKENS, {1: "frames"}),
        AUDIO_KEYS,
    )
    yield Graph(
        "audio_encoder",
        ClipEncoder(encoder),
        (torch.zeros(2, 30, MEL_BANDS), torch.ones(2, 30, dtype=torch.bool)),
        _FEATURES,
        _TOKENS,
        _all(_FEATURES, {0: "batch", 1: "rows"}) | _all(_TOKENS, {0: "batch", 1: "frames"}),
        {f"encoder.{begin}": key for begin, key in AUDIO_KEYS.items()},
    )


def text_graphs(architecture: Architecture, dtype: torch.dtype) -> Iterator[Graph]:
    shape = architecture.text
    yield Graph(
        "embed_tokens",
        Embedding(shape, architecture.ids, dtype),
        (torch.zeros(2, 3, dtype=torch.long),),
        ("input_ids",),
        ("inputs_embeds", "per_layer_inputs"),
        _all(("input_ids", "inputs_embeds", "per_layer_inputs"), STEPS),
        TEXT_KEYS,
    )
    inputs = ("inputs_embeds", "attention_mask", "per_layer_inputs", "position_ids")
    names = [f"{layer}.{part}" for layer in range(shape.owners) for part in ("key", "value")]
    pasts, presents = [f"past_key_values.{name}" for name in names], [f"present.{name}" for name in names]
    axes = _all(inputs, STEPS) | {"attention_mask": POSITIONS, "logits": {0: "batch", 1: "kept"}}
    axes |= _all(pasts, {0: "batch", 2: "past"}) | _all(presents, {0: "batch", 2: "past + steps"})
    yield Graph(
        "decoder_audio_prefill",
        AudioPrefill(shape, dtype),
        (*_example(shape), _past(shape, dtype)),
        (*inputs, *pasts),
        presents,
        axes,
        TEXT_KEYS,
    )
    yield Graph(
        "decoder_model_merged",
        Decoder(shape, dtype),
        (*_example(shape), torch.tensor(1), _past(shape, dtype)),
        (*inputs, "num_logits_to_keep", *pasts),
        ("logits", *presents),
        axes,
        TEXT_KEYS,
    )


def _all(names: Iterable[str], axes: dict[int, str]) -> dict[str, dict[int, str]]:
    return dict.fromkeys(names, axes)


def _example(shape: Text) -> tuple[torch.Tensor, ...]:
    """Two prompts of three tokens after five."""
    return (
        torch.zeros(2, 3, shape.hidden),
        torch.ones(2, 8, dtype=torch.long),
        torch.zeros(2, 3, shape.layers, shape.per_layer),
        torch.arange(5, 8).expand(2, 3),
    )


def _past(shape: Text, dtype: torch.dtype) -> list[torch.Tensor]:
    sizes = [(2, shape.kv_heads[layer], 5, shape.heads_width[layer]) for layer in range(shape.owners)]
    return [torch.zeros(size, dtype=dtype) for size in sizes for _ in ("key", "value")]
