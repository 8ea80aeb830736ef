"""How a folder of weights that is not whole can be set right: by whoever made it."""

from __future__ import annotations

from pathlib import Path

MANIFEST = "manifest.json"  # what `streamd models export` leaves beside the graphs
SUMS = "SHA256SUMS"  # what a pull leaves; `sha256sum -c` reads it too


def remedy(path: Path) -> str:
    """The way out for a folder of weights, or for a file in it or in its `onnx`."""
    for folder in (path, path.parent, path.parent.parent):
        if (folder / MANIFEST).is_file():
            return "export it again with `streamd models export`"
        if (folder / SUMS).is_file():
            return f"fetch it again with `streamd models pull {folder.name}`"
    return "copy the whole folder again"
