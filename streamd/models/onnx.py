"""What a folder with Gemma's ONNX graphs must hold, and whether it is whole; found without loading anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from streamd.engines.repair import MANIFEST

TEXTS = ("config.json", "generation_config.json", "tokenizer.json")
NEEDED = ("config.json", "tokenizer.json")
GRAPHS = ("embed_tokens", "decoder_model_merged")
ENCODERS = ("audio_encoder_stream", "audio_encoder")  # one of them
SUFFIXES = {"fp32": "", "fp16": "_fp16", "int8": "_quantized", "q4": "_q4", "q4f16": "_q4f16"}
"""Precision → what the names of its files end with."""

_KEYS = re.compile(rb"\x0a[\x06\x08](location|offset|length)\x12", re.DOTALL)
"""Keys of `TensorProto.external_data` as protobuf writes them (onnx.proto): in which file a weight is, from where, how
long. Each is followed by a byte with the value's length, and the value."""


def is_onnx(folder: Path) -> bool:
    """Does this folder hold graphs rather than weights for CTranslate2?"""
    return any(_graphs(folder))


def wanted(file: str, dtype: str) -> bool:
    """Is this file of a repository one that captions need in this precision?"""
    names = "|".join((*GRAPHS, "audio_encoder"))
    pattern = rf"onnx/(?:{names}){SUFFIXES[dtype]}\.onnx(?:_data(?:_\d+)?)?"
    return file in TEXTS or re.fullmatch(pattern, file) is not None


def files(folder: Path) -> list[str]:
    """Every file of the model, by its path in the folder."""
    found = [*folder.glob("*.json"), *folder.glob("*.onnx*"), *folder.glob("onnx/*.onnx*")]
    return sorted(path.relative_to(folder).as_posix() for path in found if path.name != MANIFEST)


def faults(folder: Path) -> Iterator[str]:
    """Each reason why these graphs can't be loaded, beginning with the file."""
    for name in NEEDED:
        if not (folder / name).is_file():
            yield f"{folder / name} is missing"
        elif not _is_json(folder / name):
            yield f"{folder / name} is cut short or not what its name says"
    graphs = list(_graphs(folder))
    for stem in GRAPHS:
        if not any(path.name.startswith(stem) for path in graphs):
            yield f"{folder}: a graph {stem} is missing"
    if not any(path.name.startswith(ENCODERS) for path in graphs):
        yield f"{folder}: a graph {ENCODERS[1]} is missing"
    for path in graphs:
        yield from _data_faults(path)
    for name, (size, _) in _exported(folder).items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else size
        if found != size and (name in NEEDED or name.startswith("onnx/")):
            yield f"{folder / name} is of another export: {found:,} bytes, {MANIFEST} has {size:,}"


def digests(folder: Path) -> dict[str, str]:
    """File → SHA-256 as noted by the export that made these graphs; empty if there was none."""
    return {name: digest for name, (_, digest) in _exported(folder).items()}


def _exported(folder: Path) -> dict[str, tuple[int, str]]:
    """File → its bytes and SHA-256, from the manifest that `streamd models export` leaves."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        graphs = [graph for dtype in manifest["dtypes"].values() for graph in dtype["graphs"].values()]
        entries = {f"onnx/{name}": entry for graph in graphs for name, entry in graph["files"].items()}
        entries |= manifest.get("files", {})
        return {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in entries.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}  # another exporter's


def _data_faults(graph: Path) -> Iterator[str]:
    """Weights that the graph expects in files beside it, and that are not there."""
    for name, size in _ends(graph.read_bytes()).items():
        path = graph.with_name(name)
        if not path.is_file():
            yield f"{path} is missing, which {graph.name} keeps its weights in"
        elif path.stat().st_size < size:
            yield f"{path} is cut short: {path.stat().st_size:,} bytes, {graph.name} needs {size:,}"


def _ends(graph: bytes) -> Mapping[str, int]:
    """File → where the last of the graph's weights in it ends."""
    ends: dict[str, int] = {}
    name, offset = "", 0
    for key in _KEYS.finditer(graph):
        length = int.from_bytes(graph[key.end() : key.end() + 1])
        value = graph[key.end() + 1 : key.end() + 1 + length]
        match key[1]:
            case b"location":
                name, offset = value.decode(errors="replace"), 0
                ends.setdefault(name, 0)
            case b"offset" if value.isdigit():
                offset = int(value)
            case b"length" if value.isdigit():
                ends[name] = max(ends.get(name, 0), offset + int(value))
    return ends


def _graphs(folder: Path) -> Iterator[Path]:
    yield from sorted(path for place in (folder, folder / "onnx") for path in place.glob("*.onnx"))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True
