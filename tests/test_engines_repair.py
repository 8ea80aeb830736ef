"""Whoever made a folder of weights can make it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.engines.repair import remedy


@pytest.mark.parametrize(
    ("left", "way_out"),
    [
        ("manifest.json", "export it again with `streamd models export`"),
        ("SHA256SUMS", "fetch it again with `streamd models pull gemma-4-E4B-it-q4`"),
        ("notes.txt", "copy the whole folder again"),
    ],
)
def test_the_way_out_is_that_of_who_made_it(tmp_path: Path, left: str, way_out: str) -> None:
    folder = tmp_path / "gemma-4-E4B-it-q4"
    folder.mkdir()
    (folder / left).touch()
    for path in (folder, folder / "tokenizer.json", folder / "onnx" / "embed_tokens.onnx"):
        assert remedy(path) == way_out
