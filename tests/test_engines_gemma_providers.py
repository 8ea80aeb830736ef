"""What there is is used, what there is not is said."""

from __future__ import annotations

from importlib import metadata

import onnxruntime as ort
import pytest

from streamd.engines.gemma import providers
from streamd.errors import UnavailableError


@pytest.fixture(autouse=True)
def no_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's are not here, whatever a test pretends."""
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)


@pytest.mark.parametrize(
    ("present", "wanted", "chosen"),
    [
        (["CPUExecutionProvider"], "auto", ("CPUExecutionProvider",)),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "auto", ("CUDAExecutionProvider", "CPUExecutionProvider")),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "cpu", ("CPUExecutionProvider",)),
        (["DmlExecutionProvider", "CPUExecutionProvider"], "auto", ("DmlExecutionProvider", "CPUExecutionProvider")),
        (
            ["CoreMLExecutionProvider", "CPUExecutionProvider"],
            "auto",
            ("CoreMLExecutionProvider", "CPUExecutionProvider"),
        ),
        (
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            "auto",
            ("CUDAExecutionProvider", "CPUExecutionProvider"),
        ),
        (
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            "tensorrt",
            ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
        ),
    ],
)
def test_what_there_is_is_used(
    monkeypatch: pytest.MonkeyPatch, present: list[str], wanted: str, chosen: tuple[str, ...]
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: present)
    assert providers.providers(wanted) == chosen


def test_what_there_is_not_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UnavailableError, match=r"engines\.gemma\.provider = cuda: .* has CPUExecutionProvider only"):
        providers.providers("cuda")


def test_cuda_is_loaded_from_where_pip_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(ort, "preload_dlls", lambda: loaded.append("cuda"))
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    providers.providers("cpu")
    assert loaded == []
    providers.providers("auto")
    assert loaded == ["cuda"]


def test_the_installed_one_is_named() -> None:
    assert providers.installed().startswith(f"ONNX Runtime {ort.__version__} for ")
    assert "CPU" in providers.installed()


def test_one_that_asks_the_internet_is_none_of_this_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["AzureExecutionProvider", "CPUExecutionProvider"])
    assert providers.installed().endswith(" for CPU")
    with pytest.raises(UnavailableError, match="has CPUExecutionProvider only"):
        providers.providers("cuda")


def test_two_at_once_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"onnxruntime": ["onnxruntime-gpu", "onnxruntime"]}
    monkeypatch.setattr(metadata, "packages_distributions", lambda: both)
    with pytest.raises(UnavailableError, match=r"onnxruntime and onnxruntime-gpu overwrite .* packaging/gpu\.py"):
        providers.installed()


def test_memory_is_what_the_system_says() -> None:
    left = providers.available_bytes()
    assert left is None or left > 1_000_000
