"""CTranslate2's file of weights: read as it was written, or refused with the reason."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from streamd.engines.whisper.weights import Float32, read_weights
from streamd.errors import UnavailableError


def _header(version: int = 6, kind: int = 4, size: int = 4) -> bytes:
    name = b"decoder/weight\0"
    return (
        struct.pack("<IH", version, 12) + b"WhisperSpec\0" + struct.pack("<IIH", 3, 1, len(name)) + name
        + struct.pack("<BIIBI", 2, 1, 2, kind, size)
    )  # fmt: skip


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(_header() + np.array([[1.5, -2.0]], np.float16).tobytes())
    assert read_weights(file, "encoder/") == {}
    values: Float32 = read_weights(file, "decoder/")["weight"]
    assert values.dtype == np.float32
    assert values.tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"", "unpack"),
        (_header(version=7), "format 7"),
        (_header(kind=1), "type 1"),
        (_header(), "reshape"),
    ],
    ids=["missing", "empty", "other format", "quantised", "cut short"],
)
def test_what_can_t_be_read_is_refused_with_its_name_and_reason(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(UnavailableError, match=r"model\.bin") as refused:
        read_weights(tmp_path / "model.bin", "decoder/")
    assert why in str(refused.value)
