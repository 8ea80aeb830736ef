"""Put ONNX Runtime for NVIDIA cards into .venv in the place of the one for processors, or take it back out.

Both are installed as the module `onnxruntime` and overwrite each other's files, and faster-whisper asks for the one by
name. So the one is removed whole before the other comes in, and an empty distribution of its name takes its place:
whatever asks for it is content, and pip does not bring it back. What was there is copied first, and put back if
anything fails.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLAIN = "onnxruntime"
CUDA = "onnxruntime-gpu"
REMOTE = "AzureExecutionProvider"  # computes on a server elsewhere; every one from PyPI claims to have it
OLDEST = "1.31"  # older ones fail on Gemma's graphs
NEEDED = {CUDA: "CUDAExecutionProvider", PLAIN: "CPUExecutionProvider"}

_FACTS = """
import json
from importlib import metadata
owners = metadata.packages_distributions().get("onnxruntime", [])
versions = {dist.name: dist.version for dist in metadata.distributions() if dist.name.startswith("onnxruntime")}
try:
    import onnxruntime
    providers, version, error = onnxruntime.get_available_providers(), onnxruntime.__version__, None
except Exception as broken:
    providers, version, error = [], None, f"{type(broken).__name__}: {broken}"
files = [str(file.locate()) for dist in metadata.distributions() if dist.name in versions for file in dist.files or ()]
print(json.dumps({"files": files, "owners": sorted(set(owners)), "versions": versions, "providers": providers,
                  "version": version, "error": error}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="back to the one for processors")
    parser.add_argument("--check", action="store_true", help="only say what is there")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where (default: %(default)s)")
    arguments = parser.parse_args()
    python = arguments.venv / "bin" / "python"
    try:
        if not arguments.check:
            replace(python, PLAIN if arguments.cpu else CUDA)
        print(verdict(facts(python)))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))} failed, see above")


def replace(python: Path, wanted: str) -> None:
    """Leave exactly one ONNX Runtime, or everything as it was. Raises ValueError if the one that came does not work."""
    with kept(python):
        _replace(python, wanted)


@contextlib.contextmanager
def kept(python: Path) -> Iterator[None]:
    """Put back what there is now if what follows fails, or is interrupted."""
    with tempfile.TemporaryDirectory(dir=python.parent.parent) as folder:
        paths = [Path(file) for file in facts(python)["files"]]
        copies = {path: Path(folder) / str(number) for number, path in enumerate(paths) if path.is_file()}
        for path, copy in copies.items():
            shutil.copy2(path, copy)
        try:
            yield
        except BaseException:
            with contextlib.suppress(subprocess.CalledProcessError):  # what is in the way is overwritten
                pip(python, "uninstall", "--yes", "--quiet", PLAIN, CUDA)
            for path, copy in copies.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(copy, path)
            print(f"as it was before: {verdict(facts(python))}", file=sys.stderr)
            raise


def _replace(python: Path, wanted: str) -> None:
    pip(python, "uninstall", "--yes", "--quiet", PLAIN, CUDA)
    pip(python, "install", "--quiet", f"{wanted}[cuda,cudnn]>={OLDEST}" if wanted == CUDA else f"{PLAIN}>={OLDEST}")
    if wanted == CUDA:
        version = facts(python)["versions"][CUDA]
        with tempfile.TemporaryDirectory() as folder:
            wheel = placeholder(Path(folder), version)
            pip(python, "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", str(wheel))
    found = facts(python)
    if found["owners"] != [wanted] or NEEDED[wanted] not in found["providers"]:
        raise ValueError(f"{verdict(found)}; {wanted} was asked for: is this its platform?")


def placeholder(folder: Path, version: str) -> Path:
    """A wheel called onnxruntime that holds nothing but its name."""
    info = f"{PLAIN}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PLAIN}\nVersion: {version}\n"
        f"Summary: Stands in for {CUDA}, which provides the module (streamd, packaging/gpu.py)\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: streamd\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest(text)},{len(text.encode())}\n" for name, text in files.items())
    wheel = folder / f"{PLAIN}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return wheel


def facts(python: Path) -> dict[str, Any]:
    """Which distributions own the module onnxruntime in an environment, and which providers it has."""
    output = subprocess.run([python, "-I", "-c", _FACTS], capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def verdict(found: dict[str, Any]) -> str:
    """In one line, for people."""
    if found["error"]:
        return f"ONNX Runtime does not load ({found['error']}); `python packaging/gpu.py --cpu` repairs it"
    owners = " and ".join(found["owners"]) or "nobody"
    local = ", ".join(name for name in found["providers"] if name != REMOTE)
    line = f"ONNX Runtime {found['version']} of {owners}: {local}"
    if len(found["owners"]) > 1:
        line += "; two of them overwrite each other: run packaging/gpu.py, with --cpu or without"
    return line


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", arguments[0], "--disable-pip-version-check", *arguments[1:]]
    subprocess.run(command, check=True)  # noqa: S603 - our own commands


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
