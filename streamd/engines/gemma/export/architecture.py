"""What a Gemma 4 checkpoint's config.json says, as far as the graphs depend on it. No torch here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streamd.errors import UnavailableError

LayerType = Literal["sliding_attention", "full_attention"]


@dataclass(frozen=True, slots=True)
class Audio:
    """The audio tower, a causal conformer (arXiv 2005.08100) over log-mel rows."""

    hidden: int
    layers: int
    heads: int
    channels: tuple[int, int]  # of the two convolutions, each of which halves time and frequency
    kernel: int  # taps of the depthwise convolution, all in the past
    context: int  # frames that a frame attends to: itself and those before it
    residual_weight: float  # of the two feed-forward halves
    logit_cap: float
    masked_logit: float
    clip: float  # bound on activations before norms
    epsilon: float
    output: int  # width of a soft token before it is projected to the language model's

    @property
    def head(self) -> int:
        return self.hidden // self.heads


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary embedding of one kind of layer; only the first `share` of the angles turns."""

    base: float
    share: float


@dataclass(frozen=True, slots=True)
class Text:
    """The language model: sliding and full attention, the last layers reading the keys and values of earlier ones."""

    hidden: int
    feed_forward: int
    vocabulary: int
    vocabulary_per_layer: int
    per_layer: int  # width of what each layer gets of a token's identity
    heads: int
    layer_types: tuple[LayerType, ...]
    kv_heads: tuple[int, ...]  # per layer
    heads_width: tuple[int, ...]  # per layer
    owners: int  # layers 0 … owners-1 have keys and values of their own
    double_wide: bool  # the others' feed-forward is twice as wide
    window: int  # positions that sliding attention sees, the own one included
    rotary: dict[LayerType, Rotary]
    epsilon: float
    softcap: float | None

    @property
    def layers(self) -> int:
        return len(self.layer_types)

    def lender(self, layer: int) -> int:
        """The layer whose keys and values this one reads: the last owner of its kind, or itself."""
        if layer < self.owners:
            return layer
        return max(i for i in range(self.owners) if self.layer_types[i] == self.layer_types[layer])


@dataclass(frozen=True, slots=True)
class Ids:
    """Tokens that the graphs or the engine treat specially."""

    pad: int
    bos: int
    eos: tuple[int, ...]  # any of them ends a turn
    audio: int  # stands where a soft token goes
    begin_audio: int
    end_audio: int
    image: int
    video: int


@dataclass(frozen=True, slots=True)
class Architecture:
    audio: Audio
    text: Text
    ids: Ids


def read(folder: Path) -> Architecture:
    """Read and check `folder`/config.json. Raises UnavailableError naming the file, the key and the value."""
    path = folder / "config.json"
    raw = _json(path)
    if raw.get("model_type") != "gemma4":
        raise UnavailableError(f"{path}: model_type is {raw.get('model_type')!r}; only 'gemma4' is exported")
    if not raw.get("audio_config"):
        raise UnavailableError(f"{path}: no audio_config: take E2B or E4B, others can't hear")
    from transformers import Gemma4Config  # fills in what a config.json leaves to its defaults

    config = Gemma4Config(**{key: raw[key] for key in raw if key not in ("architectures", "transformers_version")})
    return Architecture(_audio(path, config.audio_config), _text(path, config.text_config), _ids(folder, config))


def _audio(path: Path, config: Any) -> Audio:
    """`attention_context_left` counts one more frame than the reference's mask lets through."""
    _expect(path, "audio_config", config, attention_context_right=0, use_clipped_linears=True, hidden_act="silu")
    return Audio(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        channels=(config.subsampling_conv_channels[0], config.subsampling_conv_channels[1]),
        kernel=config.conv_kernel_size,
        context=config.attention_context_left - 1,
        residual_weight=config.residual_weight,
        logit_cap=config.attention_logit_cap,
        masked_logit=config.attention_invalid_logits_value,
        clip=config.gradient_clipping,
        epsilon=config.rms_norm_eps,
        output=config.output_proj_dims,
    )


def _text(path: Path, config: Any) -> Text:
    _expect(
        path,
        "text_config",
        config,
        attention_k_eq_v=False,
        enable_moe_block=False,
        attention_bias=False,
        hidden_activation="gelu_pytorch_tanh",
    )
    if config.use_bidirectional_attention == "all" or not config.hidden_size_per_layer_input:
        raise UnavailableError(f"{path}: text_config is neither E2B's nor E4B's (bidirectional, or without PLE)")
    layers = range(config.num_hidden_layers)
    each = [config.per_layer_config[layer] for layer in layers]
    return Text(
        hidden=config.hidden_size,
        feed_forward=config.intermediate_size,
        vocabulary=config.vocab_size,
        vocabulary_per_layer=config.vocab_size_per_layer_input,
        per_layer=config.hidden_size_per_layer_input,
        heads=config.num_attention_heads,
        layer_types=tuple(config.layer_types),
        kv_heads=tuple(layer.num_key_value_heads for layer in each),
        heads_width=tuple(layer.head_dim for layer in each),
        owners=config.num_hidden_layers - config.num_kv_shared_layers,
        double_wide=config.use_double_wide_mlp,
        window=config.sliding_window,
        rotary={kind: _rotary(path, kind, rope) for kind, rope in config.rope_parameters.items()},
        epsilon=config.rms_norm_eps,
        softcap=config.final_logit_softcapping,
    )


def _rotary(path: Path, kind: str, rope: dict[str, Any]) -> Rotary:
    if rope["rope_type"] not in ("default", "proportional") or rope.get("factor", 1.0) != 1.0:
        raise UnavailableError(f"{path}: rope_parameters.{kind} is {rope}; only unscaled ones are exported")
    return Rotary(rope["rope_theta"], rope.get("partial_rotary_factor", 1.0))


def _ids(folder: Path, config: Any) -> Ids:
    generation = folder / "generation_config.json"
    eos = _json(generation).get("eos_token_id") if generation.is_file() else None
    eos = config.text_config.eos_token_id if eos is None else eos
    return Ids(
        pad=config.text_config.pad_token_id,
        bos=config.text_config.bos_token_id,
        eos=tuple(eos) if isinstance(eos, list) else (eos,),
        audio=config.audio_token_id,
        begin_audio=config.boa_token_id,
        end_audio=config.eoa_token_index,
        image=config.image_token_id,
        video=config.video_token_id,
    )


def _expect(path: Path, section: str, config: Any, **wanted: object) -> None:
    for key, value in wanted.items():
        if (found := getattr(config, key)) != value:
            raise UnavailableError(f"{path}: {section}.{key} is {found!r}; only {value!r} is exported (E2B, E4B)")


def _json(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise UnavailableError(f"{path} is missing; is this a Hugging Face checkpoint of Gemma 4?") from None
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{path} can't be read: {error}") from error
    return read
