"""One ONNX Runtime in an environment, whichever was there before: real pip, a real environment, small wheels."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PLAIN, CUDA = "onnxruntime", "onnxruntime-gpu"
PROVIDERS = {PLAIN: ["CPUExecutionProvider"], CUDA: ["CUDAExecutionProvider", "CPUExecutionProvider"]}


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "packaging" / "gpu.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, name: str, version: str, files: Mapping[str, str], extra: str = "") -> Path:
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extra}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    sums = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for path, text in files.items()}
    record = "".join(
        f"{path},sha256={value.rstrip(b'=').decode()},{len(files[path])}\n" for path, value in sums.items()
    )
    target = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return target


def runtime(folder: Path, name: str, version: str, extra: str = "") -> Path:
    """A package that occupies the module `onnxruntime`, with a file of its own in it."""
    module = f"__version__ = {version!r}\ndef get_available_providers(): return {PROVIDERS[name]!r}\n"
    own = f"onnxruntime/{name.replace('-', '_')}_only.py"
    return wheel(folder, name, version, {"onnxruntime/__init__.py": module, own: ""}, extra)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    runtime(folder, PLAIN, "1.32.0")
    runtime(folder, CUDA, "1.31.1", "Provides-Extra: cuda\nProvides-Extra: cudnn\n")
    wheel(folder, "hears", "1.0", {"hears.py": ""}, "Requires-Dist: onnxruntime>=1.31\n")
    return folder


@pytest.fixture
def python(tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which something asks for onnxruntime, and has it."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    import pip

    (Path(site) / "pip").symlink_to(Path(pip.__file__).parent)  # making one anew takes seconds
    install(python, "hears")
    return python


def install(python: Path, *requirements: str) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)


def test_the_one_for_cards_takes_the_others_place_until_it_is_put_back(gpu: ModuleType, python: Path) -> None:
    gpu.replace(python, CUDA)
    found = gpu.facts(python)
    assert found["owners"] == [CUDA]
    assert found["providers"] == PROVIDERS[CUDA]
    assert gpu.verdict(found).startswith("ONNX Runtime 1.31.1 of onnxruntime-gpu: CUDAExecutionProvider")
    install(python, "hears")  # it is content with what is there
    assert gpu.facts(python) == found
    subprocess.run([python, "-m", "pip", "check"], check=True)
    gpu.replace(python, PLAIN)
    assert gpu.facts(python)["owners"] == [PLAIN]
    assert gpu.facts(python)["versions"] == {PLAIN: "1.32.0"}


def test_two_at_once_are_named_and_set_right(gpu: ModuleType, python: Path) -> None:
    install(python, CUDA)
    found = gpu.facts(python)
    assert found["owners"] == [PLAIN, CUDA]
    assert "overwrite each other: run packaging/gpu.py" in gpu.verdict(found)
    gpu.replace(python, CUDA)
    assert gpu.facts(python)["owners"] == [CUDA]


@pytest.fixture
def broken_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on pip finds nothing."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


@pytest.mark.parametrize("there", [PLAIN, CUDA, "both"])
def test_where_the_other_one_does_not_come_the_one_that_was_there_stays(
    gpu: ModuleType, python: Path, there: str, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    if there == CUDA:
        gpu.replace(python, CUDA)
    elif there == "both":
        install(python, CUDA)
    before, files = gpu.facts(python), contents(python)
    request.getfixturevalue("broken_index")
    with pytest.raises(subprocess.CalledProcessError):
        gpu.replace(python, PLAIN if there == CUDA else CUDA)
    assert gpu.facts(python) == before
    assert contents(python) == files
    assert f"as it was before: {gpu.verdict(before)}" in capfd.readouterr().err
    subprocess.run([python, "-m", "pip", "check"], check=True)


@pytest.mark.parametrize("fault", [OSError("no space"), KeyboardInterrupt()])
def test_half_way_is_no_place_to_stay(
    gpu: ModuleType, python: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """The one for cards is there already when it happens."""

    def fail(*_: object) -> Path:
        assert gpu.facts(python)["owners"] == [CUDA]
        raise fault

    monkeypatch.setattr(gpu, "placeholder", fail)
    before = gpu.facts(python)
    with pytest.raises(type(fault)):
        gpu.replace(python, CUDA)
    assert gpu.facts(python) == before


def test_where_pip_fails_altogether_all_is_as_it_was(
    gpu: ModuleType, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there is removed already when pip fails, and it fails from then on."""
    before, files, real = gpu.facts(python), contents(python), gpu.pip

    def fail(python: Path, *arguments: str) -> None:
        if gpu.facts(python)["owners"] and arguments[0] == "uninstall":
            real(python, *arguments)
        else:
            raise subprocess.CalledProcessError(1, ["pip", *arguments])

    monkeypatch.setattr(gpu, "pip", fail)
    with pytest.raises(subprocess.CalledProcessError, match="install"):
        gpu.replace(python, CUDA)
    assert (gpu.facts(python), contents(python)) == (before, files)


def contents(python: Path) -> dict[str, bytes]:
    """Files of whatever is called onnxruntime, byte by byte."""
    paths = python.parent.parent.rglob("onnxruntime*/**/*")
    return {str(path): path.read_bytes() for path in paths if path.is_file() and path.suffix != ".pyc"}


def test_one_without_its_provider_is_an_error_and_a_broken_one_says_how_to_repair_it(
    gpu: ModuleType, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu.NEEDED, CUDA, "TensorrtExecutionProvider")
    with pytest.raises(ValueError, match="onnxruntime-gpu was asked for: is this its platform"):
        gpu.replace(python, CUDA)
    assert gpu.facts(python)["owners"] == [PLAIN]
    next(python.parent.parent.rglob("onnxruntime/__init__.py")).write_text("raise ImportError('libcudart.so.13')")
    broken = gpu.verdict(gpu.facts(python))
    assert "does not load (ImportError: libcudart.so.13); `python packaging/gpu.py --cpu`" in broken
