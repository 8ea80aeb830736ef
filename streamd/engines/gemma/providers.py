"""What ONNX Runtime can compute on here, and how much memory there is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from streamd.errors import UnavailableError

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
    "directml": ("DmlExecutionProvider", "CPUExecutionProvider"),
    "coreml": ("CoreMLExecutionProvider", "CPUExecutionProvider"),
}
"""Setting → ONNX Runtime's names, in order of preference. TensorRT builds for minutes at load: only if asked for."""

REMOTE = "AzureExecutionProvider"
"""It asks a server on the internet to compute; every ONNX Runtime from PyPI claims to have it."""

AUTO = ("cuda", "directml", "coreml", "cpu")


def providers(wanted: str) -> tuple[str, ...]:
    """ONNX Runtime's providers for `auto` or one name, each followed by what it falls back on.

    Raises UnavailableError if the installed ONNX Runtime was built without the one that is wanted.
    """
    present = local()
    if wanted == "auto":
        wanted = next(name for name in AUTO if PROVIDERS[name][0] in present)
    if PROVIDERS[wanted][0] not in present:
        raise UnavailableError(
            f"engines.gemma.provider = {wanted}: the installed ONNX Runtime has {', '.join(present)} only; "
            "packaging/README.md says how to install another one"
        )
    if "CUDAExecutionProvider" in PROVIDERS[wanted]:
        ort.preload_dlls()  # CUDA and cuDNN, where they were installed from PyPI
    return tuple(name for name in PROVIDERS[wanted] if name in present)


def local() -> list[str]:
    """ONNX Runtime's providers that compute on this machine."""
    return [name for name in ort.get_available_providers() if name != REMOTE]


def installed() -> str:
    """Which ONNX Runtime there is and what it was built for. Raises UnavailableError if two overwrite each other."""
    owners = sorted(set(metadata.packages_distributions().get("onnxruntime", [])))
    if len(owners) > 1:
        raise UnavailableError(
            f"{' and '.join(owners)} overwrite each other's files: run packaging/gpu.py, with --cpu or without"
        )
    names = (name.removesuffix("ExecutionProvider") for name in local())
    return f"ONNX Runtime {ort.__version__} for {', '.join(names)}"


def share_threads(threads: int) -> None:
    """Have all graphs of this process compute on the same `threads` (0: one a core); the first call decides.

    Each with threads of its own, those of one graph would wait busily for their next work while another one computes.
    """
    with suppress(Fail):  # there are some already
        ort.set_global_thread_pool_sizes(threads, 1)


def available_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
