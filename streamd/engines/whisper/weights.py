"""The weights of a model as CTranslate2 keeps them: named arrays in one file, model.bin, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from streamd.errors import UnavailableError

Float32 = NDArray[np.float32]

_VERSION = 6  # of CTranslate2's file format
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_weights(file: Path, prefix: str) -> dict[str, Float32]:
    """The variables of a CTranslate2 model whose names begin with `prefix`, without it, as float32.

    Raises UnavailableError if the file is missing or of another format than CTranslate2 4 writes, or quantised.
    """
    try:
        with file.open("rb") as stream:
            return dict(_variables(stream, prefix))
    except (OSError, ValueError, struct.error) as error:
        raise UnavailableError(
            f"the weights in {file} can't be read for commands: {error}; try `streamd models verify`"
        ) from error


def _variables(stream: BinaryIO, prefix: str) -> Iterator[tuple[str, Float32]]:
    (version,) = _unpack(stream, "<I")
    if version != _VERSION:
        raise ValueError(f"format {version} instead of {_VERSION}")
    _string(stream)  # what kind of model it is
    _, count = _unpack(stream, "<II")
    for _ in range(count):
        name = _string(stream)
        (rank,) = _unpack(stream, "<B")
        shape = _unpack(stream, f"<{rank}I")
        kind, size = _unpack(stream, "<BI")
        if not name.startswith(prefix):
            stream.seek(size, 1)
            continue
        if kind not in _TYPES or (rank > 1 and not np.issubdtype(_TYPES[kind], np.floating)):
            raise ValueError(f"{name} has the type {kind}, and only float16 and float32 are understood")
        values = np.frombuffer(stream.read(size), _TYPES[kind])
        yield name.removeprefix(prefix), values.reshape(shape).astype(np.float32)


def _string(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "<H")
    return stream.read(length).rstrip(b"\0").decode()


def _unpack(stream: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))
