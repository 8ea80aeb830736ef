"""`streamd models export`: a Hugging Face checkpoint of Gemma 4 → the ONNX graphs that the engine runs.

The graphs are traced without weights; these are then read, turned into what the dtype wants and written, one by one.
Memory is needed for the largest matrix as 32-bit floats (E4B: the head, 2.7 GB; twice that for fp32 and fp16), disk for
what is written. The folder is laid out as onnx-community's, and has a streaming encoder and an audio
prefill more.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streamd.engines.gemma.export.dtypes import DTYPES
from streamd.errors import UnavailableError

__all__ = ["DTYPES", "export"]

COPIED = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    *("preprocessor_config.json", "processor_config.json"),
)
NEEDED = ("config.json", "tokenizer.json")
EXTRA = "pip install 'streamd-captions[export]' (torch alone: --index-url https://download.pytorch.org/whl/cpu)"


def export(checkpoint: Path, out: Path, dtype_name: str, report: Callable[[str], None]) -> Path:
    """Write `checkpoint`'s graphs to `out`/onnx as `dtype_name` and what else an engine needs to `out`.

    `report` is told what is being done. Returns the manifest. Raises UnavailableError if PyTorch is missing, or if the
    checkpoint is not a whole one of Gemma 4 with an audio tower; StreamdError if the graphs differ from the reference.
    """
    try:
        import torch

        from streamd.engines.gemma.export import architecture, graph, graphs, manifest, parity, weights
    except ImportError as error:
        raise UnavailableError(f"exporting needs {error.name}, which is not installed: {EXTRA}") from error
    dtype = DTYPES[dtype_name]
    shape = architecture.read(checkpoint)
    for name in NEEDED:
        if not (checkpoint / name).is_file():
            raise UnavailableError(f"{checkpoint / name} is missing; copy the whole checkpoint")
    source = weights.Checkpoint(checkpoint)
    identity = {"name": checkpoint.resolve().name, "config_sha256": manifest.sha256(checkpoint / "config.json")}
    manifest.check(out, identity)
    made = list(graphs.graphs(shape, source, torch.float16 if dtype.half else torch.float32))
    for each in made:
        graph.check(each, source)  # tracing takes minutes: what is wrong is told before
    stage = out / ".export"
    try:
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        written: dict[str, Any] = {}
        for each in made:
            report(f"{each.name}{dtype.suffix}")
            written[each.name] = manifest.described(graph.write(each, source, dtype, stage))
        report("comparing with transformers")
        measured = parity.measure(checkpoint, shape, source, stage, dtype)
        (out / "onnx").mkdir(exist_ok=True)
        for file in stage.iterdir():
            file.replace(out / "onnx" / file.name)
    except OSError as error:
        raise UnavailableError(f"{error.filename or out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    present = [name for name in COPIED if (checkpoint / name).is_file()]
    copied = [shutil.copyfile(checkpoint / name, out / name) for name in present]
    entry = {
        "exported": datetime.now(UTC).date().isoformat(),
        "versions": manifest.versions(),
        "graphs": written,
        "parity": measured,
    }
    return manifest.update(out, identity, shape, dtype, entry, copied)
