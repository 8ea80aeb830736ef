"""A folder with the ONNX graphs of a Gemma 4 model: which of them are opened, and whether they fit each other.

A graph that is there in several precisions carries the precision's suffix. Of a folder all graphs are opened in one.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamd.engines.gemma import providers
from streamd.engines.gemma.graphs import PAST, PRESENT, Graph, Options, Port, open_graph
from streamd.engines.repair import remedy
from streamd.errors import UnavailableError

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "fp32": ("",),
    "fp16": ("_fp16",),
    "int8": ("_quantized", "_int8"),
    "q4": ("_q4",),
    "q4f16": ("_q4f16",),
}
"""Precision → endings of the files' names."""

PREFERRED = {"cpu": ("q4", "int8", "q4f16", "fp32", "fp16"), "other": ("q4f16", "fp16", "q4", "fp32", "int8")}
"""What `auto` takes, the first that is there: processors compute in 32 bits, graphics cards are quicker in 16."""

LOSSES: Mapping[str, str] = {
    "audio_encoder_stream": "audio_encoder reads the last seconds of sound again with every call, which is slower",
    "decoder_audio_prefill": "sound is read by all layers of the decoder, which is slower",
}
"""A graph that can be done without → what happens then. `streamd models export` makes both, others do not."""

OVERFLOW_BOUNDS = 8  # in a layer of the audio encoder
MATRICES = 10
_BOUNDS = re.compile(rb"\x22(?:\x04Clip|\x03Min)")
"""`NodeProto.op_type` as protobuf writes it (onnx.proto): each Clip is a bound, and each Min half of one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Graphs:
    """The graphs of one folder, which fit each other."""

    dtype: str
    embed: Graph
    decoder: Graph
    prefill: Graph | None  # audio tokens only, without the layers and the head that leave no keys and values
    encoder: Graph  # streaming, where there is such a graph

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return _width(self.decoder.inputs["inputs_embeds"])


def load(folder: Path, options: Options) -> Graphs:
    """Open what is in `folder`. Raises UnavailableError that names the graph, what is wrong with it and the way out."""
    dtype, files = choose(folder, options)
    for loss in losses(files):
        _log.warning("%s: %s", folder, loss)
    files = _within_memory(files, options)
    graphs = {role: open_graph(file, options) for role, file in files.items()}
    for role, graph in graphs.items():
        if not graph.role.startswith(role):
            raise UnavailableError(f"{graph.file} is a graph {graph.role} under the name of {role}: {remedy(folder)}")
    loaded = Graphs(
        dtype,
        graphs["embed_tokens"],
        graphs["decoder_model_merged"],
        graphs.get("decoder_audio_prefill"),
        graphs.get("audio_encoder_stream") or graphs["audio_encoder"],
    )
    if loaded.decoder.provider != options.providers[0]:
        _log.warning("%s can't be used here: %s computes instead", options.providers[0], loaded.decoder.provider)
    check_fit(loaded)
    config = _config(folder)
    check_config(loaded, config, folder)
    check_clips(loaded.encoder.file, config)
    return loaded


def choose(folder: Path, options: Options) -> tuple[str, dict[str, Path]]:
    """The precision, and the file of each role that is there. Raises UnavailableError if a needed one is missing."""
    places = [place for place in (folder / "onnx", folder) if place.is_dir()]
    wanted = (options.dtype,) if options.dtype != "auto" else PREFERRED["cpu" if options.is_cpu else "other"]
    best: dict[str, Path] = {}
    for dtype in wanted:
        found = _files(places, dtype)
        if not (missing := _missing(found)):
            if "audio_encoder_stream" in found:
                found.pop("audio_encoder", None)  # both hold the same weights
            return dtype, found
        best = max(best, found, key=len)
    missing = _missing(best) or ["graphs"]
    other = "" if options.dtype == "auto" else 'set engines.gemma.dtype = "auto", or '
    raise UnavailableError(
        f"{folder} has no {' and no '.join(missing)} in the precision {' or '.join(wanted)} "
        f"(found: {', '.join(sorted(path.name for place in places for path in place.glob('*.onnx'))) or 'no graph'}); "
        f"{other}{remedy(folder)}"
    )


def losses(files: Collection[str]) -> list[str]:
    """What the graphs that are not among `files` would have saved."""
    return [f"no {role}: {loss}" for role, loss in LOSSES.items() if role not in files]


def check_fit(graphs: Graphs) -> None:
    """Raises UnavailableError, naming both graphs and the mismatch, if they are not of one model."""
    embed, decoder = graphs.embed, graphs.decoder
    _same(embed, "inputs_embeds", decoder, "inputs_embeds")
    _same(embed, "per_layer_inputs", decoder, "per_layer_inputs")
    _same(graphs.encoder, "audio_features", decoder, "inputs_embeds")
    for graph in (decoder, graphs.prefill):
        if graph and (lost := [name for name in graph.past if name.replace(PAST, PRESENT) not in graph.outputs]):
            raise UnavailableError(f"{graph.file.name} takes {', '.join(lost)}, but does not give them back grown")
    if graphs.prefill is None:
        return
    if set(graphs.prefill.past) != set(decoder.past):
        raise UnavailableError(
            f"{graphs.prefill.file.name} keeps {len(graphs.prefill.past) // 2} layers, "
            f"{decoder.file.name} {len(decoder.past) // 2}: they are not of one model"
        )
    for name in decoder.past:
        _same(graphs.prefill, name, decoder, name)


def check_config(graphs: Graphs, config: Mapping[str, Any], folder: Path) -> None:
    """Raises UnavailableError, naming the difference, if config.json is another model's. It need not say everything."""
    text = config.get("text_config")
    sizes = {"hidden_size": graphs.width, "num_hidden_layers": graphs.decoder.inputs["per_layer_inputs"].shape[2]}
    for key, size in sizes.items():
        told = text.get(key) if isinstance(text, dict) else None
        if isinstance(told, int) and isinstance(size, int) and told != size:
            raise UnavailableError(
                f"{folder / 'config.json'} has {key} = {told}, {graphs.decoder.file.name} {size}: "
                f"they are not of one model; {remedy(folder)}"
            )


def check_clips(encoder: Path, config: Mapping[str, Any]) -> None:
    """Raises UnavailableError if the encoder was exported without the bounds that its checkpoint keeps for each matrix.

    Without them it loads and runs, and hears nothing but noise. A layer has ten matrices, bounded before and behind,
    beside the eight bounds against overflow that any export has.
    """
    audio = config.get("audio_config")
    layers = audio.get("num_hidden_layers") if isinstance(audio, dict) else None
    if not isinstance(layers, int):
        return  # nothing to compare with
    bounds = len(_BOUNDS.findall(encoder.read_bytes()))
    if bounds < layers * (OVERFLOW_BOUNDS + MATRICES):
        raise UnavailableError(
            f"{encoder} has {bounds} bounds for {layers} layers: the clip bounds of the checkpoint are missing, and "
            "without them it hears nothing; export it again with `streamd models export`, or fetch another one"
        )


def _config(folder: Path) -> Mapping[str, Any]:
    """config.json; empty where there is none, or none that can be read."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _files(places: Sequence[Path], dtype: str) -> dict[str, Path]:
    roles = ("embed_tokens", "audio_encoder_stream", "audio_encoder", "decoder_model_merged", "decoder_audio_prefill")
    paths = ((role, place / f"{role}{suffix}.onnx") for role in roles for suffix in SUFFIXES[dtype] for place in places)
    return {role: path for role, path in paths if path.is_file()}


def _missing(found: Mapping[str, Path]) -> list[str]:
    lacking = [role for role in ("embed_tokens", "decoder_model_merged") if role not in found]
    has_encoder = "audio_encoder" in found or "audio_encoder_stream" in found
    return lacking if has_encoder else [*lacking, "audio_encoder"]


def _same(one: Graph, given: str, other: Graph, taken: str) -> None:
    """What `one` gives, or takes too, must fit what `other` takes: sizes that both state, from the last one on."""
    here, there = one.outputs.get(given) or one.inputs[given], other.inputs[taken]
    for size, wanted in zip(reversed(here.shape), reversed(there.shape), strict=False):
        if isinstance(size, int) and isinstance(wanted, int) and size != wanted:
            raise UnavailableError(
                f"{one.file.name} and {other.file.name} are not of one model: "
                f"{given} is {_shown(here)} in the one, {taken} {_shown(there)} in the other"
            )


def _within_memory(files: dict[str, Path], options: Options) -> dict[str, Path]:
    """What there is memory for: a model that needs more would bring the whole machine to a standstill.

    The graph for sound alone has weights that the decoder has too, and saves time only. Raises UnavailableError where
    leaving it out is not enough.
    """
    left = providers.available_bytes()
    if not options.is_cpu or left is None or _bytes(files) <= left:
        return files
    fewer = {role: file for role, file in files.items() if role != "decoder_audio_prefill"}
    if _bytes(fewer) > left:
        raise UnavailableError(
            f"the graphs in {next(iter(fewer.values())).parent} need {_bytes(fewer) / 1e9:.1f} GB of memory, "
            f"{left / 1e9:.1f} GB are left: take a smaller model, or close other programs"
        )
    _log.warning("there is no memory for decoder_audio_prefill: sound is read by the decoder, which is slower")
    return fewer


def _bytes(files: Mapping[str, Path]) -> int:
    return sum(part.stat().st_size for file in files.values() for part in file.parent.glob(f"{file.name}*"))


def _width(port: Port) -> int:
    width = port.shape[-1]
    assert isinstance(width, int)
    return width


def _shown(port: Port) -> str:
    return f"[{', '.join('?' if not isinstance(size, int) else str(size) for size in port.shape)}]"
