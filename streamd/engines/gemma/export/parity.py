"""How near exported graphs are to transformers' own model, on noise: written into the manifest, and refused if far."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from streamd.engines.gemma.export.architecture import Architecture
from streamd.engines.gemma.export.dtypes import Dtype
from streamd.engines.gemma.export.weights import Weights
from streamd.engines.gemma.providers import share_threads
from streamd.errors import StreamdError

FRAMES = 40
BOUND = 1e-3  # of what graphs in 32 bits may differ, relative to the reference's largest number
SEED = 4

Array = NDArray[np.float32]


def measure(
    checkpoint: Path, architecture: Architecture, weights: Weights, folder: Path, dtype: Dtype
) -> dict[str, Any]:
    """Streaming encoder, and embedding with decoder, each against the reference in 32 bits, on the same noise.

    Raises StreamdError if graphs in 32 bits differ by more than rounding.
    """
    features = np.random.default_rng(SEED).normal(-3, 2, (1, 4 * FRAMES, 128)).astype(np.float32)
    tokens, audio = _audio(checkpoint, weights, folder, dtype, features)
    found: dict[str, Any] = {"audio_encoder_stream": audio}
    if _fits(architecture):
        found["decoder_model_merged"] = _text(checkpoint, architecture, folder, dtype, features, tokens)
    else:
        found["decoder_model_merged"] = None  # the whole reference does not fit into memory
    if dtype.name == "fp32":
        for name, figures in found.items():
            if figures and figures["largest_error"] > BOUND * figures["largest"]:
                far = figures["largest_error"]
                raise StreamdError(f"{name} differs from transformers by {far:.2g}; nothing is kept")
    return found


def _audio(
    checkpoint: Path, weights: Weights, folder: Path, dtype: Dtype, features: Array
) -> tuple[Array, dict[str, float]]:
    from transformers import Gemma4Config
    from transformers.models.gemma4.modeling_gemma4 import Gemma4AudioModel, Gemma4MultimodalEmbedder

    config = Gemma4Config.from_pretrained(checkpoint)
    config.audio_config._attn_implementation = "eager"  # the tower has no other
    reference = torch.nn.ModuleDict(
        {
            "audio_tower": Gemma4AudioModel(config.audio_config),
            "embed_audio": Gemma4MultimodalEmbedder(config.audio_config, config.text_config),
        }
    ).float()
    state = {}
    for name, tensor in reference.state_dict().items():
        rows = tensor.shape[0] if tensor.ndim else 1
        state[name] = torch.from_numpy(weights.rows(f"model.{name}", 0, rows)).reshape(tensor.shape)
    reference.load_state_dict(state)
    mask = torch.ones(1, features.shape[1], dtype=torch.bool)
    with torch.no_grad():
        hidden = reference["audio_tower"].eval()(torch.from_numpy(features), mask).last_hidden_state
        expected = reference["embed_audio"](inputs_embeds=hidden).numpy()
    run = session(folder / f"audio_encoder_stream{dtype.suffix}.onnx")
    state = empty(run, "past.")
    got = []
    for at in range(0, features.shape[1], 4 * 5):
        inputs = {"input_features": features[:, at : at + 20], "input_features_mask": mask.numpy()[:, at : at + 20]}
        outputs = named(run, inputs | state)
        state = {name: outputs[name.replace("past", "present", 1)] for name in state}
        got.append(outputs["audio_features"])
    return np.concatenate(got, 1), compared(np.concatenate(got, 1), expected)


def _text(
    checkpoint: Path, architecture: Architecture, folder: Path, dtype: Dtype, features: Array, tokens: Array
) -> dict[str, float]:
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    config = Gemma4Config.from_pretrained(checkpoint)
    config.vision_config, config._attn_implementation = None, "eager"
    model = Gemma4ForConditionalGeneration.from_pretrained(checkpoint, config=config, dtype=torch.float32).eval()
    ids = architecture.ids
    random = np.random.default_rng(SEED).integers(3, min(architecture.text.vocabulary, 1000), 8)
    before, after = [ids.bos, *random[:4].tolist(), ids.begin_audio], [ids.end_audio, *random[4:].tolist()]
    prompt = torch.tensor([[*before, *[ids.audio] * tokens.shape[1], *after]])
    with torch.no_grad():
        mask = torch.ones(1, features.shape[1], dtype=torch.bool)
        sound = {"input_features": torch.from_numpy(features), "input_features_mask": mask}
        expected = model(input_ids=prompt, attention_mask=torch.ones_like(prompt), **sound).logits.numpy()
    del model
    embed, prefill, decode = (
        session(folder / f"{name}{dtype.suffix}.onnx")
        for name in ("embed_tokens", "decoder_audio_prefill", "decoder_model_merged")
    )
    past = empty(decode, "past_key_values.")
    got = []
    for run, part in ((decode, before), (prefill, [ids.audio] * tokens.shape[1]), (decode, after)):
        inputs = named(embed, {"input_ids": np.array([part])})
        if run is prefill:
            inputs["inputs_embeds"] = tokens
        else:
            inputs["num_logits_to_keep"] = np.array(0)
        start = next(iter(past.values())).shape[2]
        inputs["position_ids"] = np.arange(start, start + len(part))[None]
        inputs["attention_mask"] = np.ones((1, start + len(part)), np.int64)
        outputs = named(run, inputs | past)
        past = {name: outputs[name.replace("past_key_values", "present", 1)] for name in past}
        got += [outputs["logits"]] if run is decode else []
    kept = np.concatenate([expected[:, : len(before)], expected[:, -len(after) :]], 1)
    return compared(np.concatenate(got, 1), kept)


def compared(got: Array, expected: Array) -> dict[str, float]:
    """Figures for the manifest."""
    flat, reference = got.ravel().astype(np.float64), expected.ravel().astype(np.float64)
    cosine = flat @ reference / (np.linalg.norm(flat) * np.linalg.norm(reference))
    agree = float((got.argmax(-1) == expected.argmax(-1)).mean())
    return {
        "largest_error": float(np.abs(flat - reference).max()),
        "largest": float(np.abs(reference).max()),
        "cosine": float(cosine),
        "same_argmax": agree,
    }


def session(path: Path) -> ort.InferenceSession:
    share_threads(0)
    options = ort.SessionOptions()
    options.use_per_session_threads = False
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def empty(run: ort.InferenceSession, prefix: str) -> dict[str, NDArray[Any]]:
    """The start: zeros for an encoder's past, no positions for a decoder's."""
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
    sizes = {"batch": 1, "past": 0}
    return {
        it.name: np.zeros([sizes.get(size, size) for size in it.shape], kinds[it.type])
        for it in run.get_inputs()
        if it.name.startswith(prefix)
    }


def named(run: ort.InferenceSession, inputs: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return dict(zip([it.name for it in run.get_outputs()], run.run(None, inputs), strict=True))


def _fits(architecture: Architecture) -> bool:
    """Whether the language model fits into free memory as 32-bit floats."""
    text = architecture.text
    per_layer = text.hidden * (3 * text.feed_forward * (1 + text.double_wide) + 2 * text.heads * max(text.heads_width))
    tables = text.vocabulary * text.hidden + text.vocabulary_per_layer * text.layers * text.per_layer
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 4 * (text.layers * per_layer + tables) * 1.2 < free
