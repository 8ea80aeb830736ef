"""The ONNX graphs of Gemma 4: recognised by what goes in and what comes out, opened, run.

Two layouts are read: that of onnx-community's gemma-4-*-it-ONNX (graphs in `onnx/`, the offline audio encoder), and
streamd's own, which adds a streaming encoder and a decoder for audio tokens alone. The first one's names are used
throughout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as states

from streamd.engines.gemma import providers
from streamd.engines.repair import remedy
from streamd.errors import UnavailableError

Array = NDArray[Any]

Role = Literal["embed_tokens", "audio_encoder", "audio_encoder_stream", "decoder_model_merged", "decoder_audio_prefill"]

PAST, PRESENT = "past_key_values.", "present."

_CODES = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")

_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}

_LOAD_ERRORS = (
    states.EPFail,
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NoSuchFile,
    states.NotImplemented,
    states.RuntimeException,
    MemoryError,
    RuntimeError,
)
"""All that ONNX Runtime raises at a file that it can't use. They have no base class in common."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of a graph."""

    shape: tuple[int | str | None, ...]  # a name or None: any size
    dtype: type[np.generic]


class Graph:
    """One graph in a session of its own. May be run from several threads at a time."""

    def __init__(self, file: Path, session: ort.InferenceSession) -> None:
        self.file = file
        self._session = session
        self.inputs = {node.name: _port(file, node) for node in session.get_inputs()}
        self.outputs = {node.name: _port(file, node) for node in session.get_outputs()}
        self.role = recognise(file.name, self.inputs, self.outputs)

    @property
    def provider(self) -> str:
        """What it runs on: `CPUExecutionProvider`, …"""
        return str(self._session.get_providers()[0])

    @property
    def past(self) -> list[str]:
        """Its inputs for keys and values, in the graph's order."""
        return [name for name in self.inputs if name.startswith(PAST)]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name. Inputs that the graph doesn't have are left out, the others cast to its types."""
        given = {name: feeds[name].astype(port.dtype, copy=False) for name, port in self.inputs.items()}
        try:
            return dict(zip(self.outputs, self._session.run(None, given), strict=True))
        except _LOAD_ERRORS as error:
            raise UnavailableError(f"{self.file.name} can't be computed: {_first_line(error, self.file)}") from error


def recognise(name: str, inputs: Mapping[str, Port], outputs: Mapping[str, Port]) -> Role:
    """What a graph is for. Raises UnavailableError, naming its inputs, if it is none of Gemma's."""
    if "input_ids" in inputs and {"inputs_embeds", "per_layer_inputs"} <= outputs.keys():
        return "embed_tokens"
    if {"input_features", "input_features_mask"} <= inputs.keys() and "audio_features" in outputs:
        return "audio_encoder" if len(inputs) == 2 else "audio_encoder_stream"
    if {"inputs_embeds", "per_layer_inputs"} <= inputs.keys() and any(it.startswith(PAST) for it in inputs):
        return "decoder_model_merged" if "logits" in outputs else "decoder_audio_prefill"
    raise UnavailableError(
        f"{name} is no graph of Gemma 4: it takes {_listed(inputs)} and gives {_listed(outputs)}; "
        "set engines.gemma.model to a folder with onnx-community's layout, or one made by `streamd models export`"
    )


@dataclass(frozen=True, slots=True)
class Options:
    """How graphs are opened. See streamd.settings.Gemma."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 0  # of all graphs together; 0: one a core
    dtype: str = "auto"

    @property
    def is_cpu(self) -> bool:
        return self.providers[0] == "CPUExecutionProvider"


def open_graph(file: Path, options: Options) -> Graph:
    """One graph. Raises UnavailableError that names the file."""
    providers.share_threads(options.threads)
    settings = ort.SessionOptions()
    settings.use_per_session_threads = False
    settings.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(file), settings, providers=list(options.providers))
    except _LOAD_ERRORS as error:
        reason = _first_line(error, file)
        way_out = f"it may be damaged: `streamd models verify` tells; {remedy(file)}"
        if isinstance(error, MemoryError) or "alloc" in reason.lower():
            way_out = "there is not enough memory for it: take a smaller model or engines.gemma.dtype = q4"
        raise UnavailableError(f"{file} does not load: {reason}; {way_out}") from error
    return Graph(file, session)


def _port(file: Path, node: Any) -> Port:
    if node.type not in _TYPES:
        raise UnavailableError(f"{file}: {node.name} is a {node.type}, which no graph of Gemma 4 has")
    return Port(tuple(node.shape), _TYPES[node.type])


def _listed(ports: Mapping[str, Port]) -> str:
    names = [name for name in ports if not name.startswith((PAST, PRESENT))]
    return ", ".join(names) or "nothing"


def _first_line(error: BaseException, file: Path) -> str:
    """What ONNX Runtime complains of, without its codes and the path that is told already."""
    line = _CODES.sub("", (str(error).strip() or type(error).__name__).partition("\n")[0])
    return line.replace(f" from {file} ", " ").replace(str(file), file.name)[:300]
