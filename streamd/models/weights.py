"""What a folder of weights must hold, and whether it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from streamd.engines.repair import SUMS
from streamd.models import onnx

BINARY = "model.bin"
NEEDED = ("config.json", BINARY, "tokenizer.json")
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")  # one of them
OPTIONAL = ("preprocessor_config.json",)  # the newer models' number of mel bands
FILES = (*NEEDED, *VOCABULARIES, *OPTIONAL)

_FORMAT = 6  # of model.bin since CTranslate2 2.0; src/models/model.cc
_NEWEST_FORMAT = 255  # beyond this it is not a version number, so not such a file


@dataclass(frozen=True, slots=True)
class FileCheck:
    """How one file compares with the digest it should have."""

    file: str  # its path in the folder
    state: Literal["ok", "missing", "differs", "unpinned"]  # unpinned: nothing to compare with
    sha256: str = ""  # as found, hexadecimal


def faults(folder: Path) -> Iterator[str]:
    """Each reason why these weights can't be loaded, beginning with the file; found without reading the numbers."""
    if onnx.is_onnx(folder):
        yield from onnx.faults(folder)
        return
    for name in NEEDED:
        if not (folder / name).is_file():
            yield f"{folder / name} is missing"
    if not any((folder / name).is_file() for name in VOCABULARIES):
        yield f"{folder / VOCABULARIES[0]} (or {VOCABULARIES[1]}) is missing"
    for path in (folder / name for name in FILES if (folder / name).is_file()):
        if not (_is_whole_binary(path) if path.suffix == ".bin" else _is_whole_text(path)):
            yield f"{path} is cut short or not what its name says ({path.stat().st_size:,} bytes)"


def compare(folder: Path, pins: Mapping[str, str]) -> list[FileCheck]:
    """Every file's digest against the ones noted when it was fetched, else against `pins`."""
    pins = read_sums(folder) or pins or onnx.digests(folder)
    names = {*onnx.NEEDED, *onnx.files(folder)} if onnx.is_onnx(folder) else {*NEEDED, *_present(folder)}
    return [_check(folder, name, pins.get(name)) for name in sorted({*names, *pins})]


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(folder: Path) -> dict[str, str]:
    """File → digest as noted by `write_sums`; empty if nothing was."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {name: value for value, _, name in (line.partition("  ") for line in lines)}


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    (folder / SUMS).write_text("".join(f"{value}  {name}\n" for name, value in sorted(sums.items())))


def _present(folder: Path) -> list[str]:
    return [name for name in FILES if (folder / name).is_file()]


def _check(folder: Path, name: str, pin: str | None) -> FileCheck:
    if not (folder / name).is_file():
        return FileCheck(name, "missing")
    found = digest(folder / name)
    if pin is None:
        return FileCheck(name, "unpinned", found)
    return FileCheck(name, "ok" if found == pin else "differs", found)


def _is_whole_text(path: Path) -> bool:
    """JSON can be read; of a list of words only its absence shows."""
    content = path.read_bytes()
    if path.suffix != ".json":
        return bool(content.strip())
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _is_whole_binary(path: Path) -> bool:
    """Walk the variables from header to header: the last alias must end with the file."""
    with path.open("rb") as file:
        try:
            (version,) = _read(file, "I")
            if version != _FORMAT:
                return 0 < version <= _NEWEST_FORMAT
            _skip_string(file)  # the specification's name
            _, variables = _read(file, "II")
            for _ in range(variables):
                _skip_variable(file)
            (aliases,) = _read(file, "I")
            for _ in range(2 * aliases):
                _skip_string(file)
        except struct.error:
            return False
        return file.tell() == os.fstat(file.fileno()).st_size


def _skip_variable(file: BinaryIO) -> None:
    _skip_string(file)
    (rank,) = _read(file, "B")
    *_, size = _read(file, f"{rank}IBI")  # shape, type, bytes of data
    file.seek(size, os.SEEK_CUR)


def _skip_string(file: BinaryIO) -> None:
    (length,) = _read(file, "H")
    file.seek(length, os.SEEK_CUR)


def _read(file: BinaryIO, layout: str) -> tuple[int, ...]:
    layout = f"<{layout}"
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
