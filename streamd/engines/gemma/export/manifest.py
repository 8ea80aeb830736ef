"""manifest.json beside the graphs: what they were made of and with, their digests, how near the reference they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from streamd.engines.gemma.export.architecture import Architecture
from streamd.engines.gemma.export.dtypes import Dtype
from streamd.engines.gemma.export.store import Written
from streamd.engines.repair import MANIFEST
from streamd.errors import UnavailableError

FORMAT = 1
PACKAGES = ("torch", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime")


def facts(architecture: Architecture) -> dict[str, Any]:
    """What an engine has to know of the model beside the graphs' own inputs and outputs."""
    text, audio, ids = architecture.text, architecture.audio, architecture.ids
    return {
        "hidden": text.hidden,
        "vocabulary": text.vocabulary,
        "layers": text.layers,
        "per_layer": text.per_layer,
        "kv": [
            {
                "heads": text.kv_heads[layer],
                "width": text.heads_width[layer],
                "window": text.window if text.layer_types[layer] == "sliding_attention" else None,
            }
            for layer in range(text.owners)
        ],
        "audio": {"layers": audio.layers, "hidden": audio.hidden, "context_frames": audio.context},
        "ids": {
            "pad": ids.pad,
            "bos": ids.bos,
            "eos": list(ids.eos),
            "begin_audio": ids.begin_audio,
            "audio": ids.audio,
            "end_audio": ids.end_audio,
        },
    }


def update(
    folder: Path,
    source: Mapping[str, str],
    architecture: Architecture,
    dtype: Dtype,
    entry: Mapping[str, Any],
    copied: Iterable[Path],
) -> Path:
    """Add a dtype to `folder`/manifest.json, note the digests of what was copied beside it, and return its path."""
    path = folder / MANIFEST
    manifest = read(path) if path.is_file() else {}
    manifest |= {"format": FORMAT, "model": "gemma4", "checkpoint": dict(source), "facts": facts(architecture)}
    manifest["files"] = _digests(copied)
    manifest["dtypes"] = manifest.get("dtypes", {}) | {dtype.name: {"suffix": dtype.suffix, **entry}}
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    return path


def check(folder: Path, source: Mapping[str, str]) -> None:
    """Raises UnavailableError if `folder` has graphs of another checkpoint than `source`."""
    path = folder / MANIFEST
    found = read(path).get("checkpoint") if path.is_file() else source
    if found != source:
        raise UnavailableError(f"{folder} has graphs of another checkpoint ({found}); export into a folder of its own")


def read(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{path} can't be read: {error}") from error
    return manifest


def versions() -> dict[str, str]:
    return {"streamd": metadata.version("streamd-captions")} | {name: metadata.version(name) for name in PACKAGES}


def described(written: Written) -> dict[str, Any]:
    """A graph's entry."""
    kinds = ("MatMulNBits", "GatherBlockQuantized")
    return {
        "parameters": written.parameters,
        "quantised_parameters": written.quantised,
        "operators": {kind: written.operators[kind] for kind in kinds if written.operators[kind]},
        "files": _digests(written.files),
    }


def _digests(files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    return {file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in files}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
