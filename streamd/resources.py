"""Files that are shipped beside the code: pages, pipelines, the default configuration, the demonstration."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource(relative: str) -> Path:
    """Path of a shipped file, in an installed package (streamd/share/…) or a checkout (the top level)."""
    installed = _PACKAGE / "share" / relative
    return installed if installed.exists() else _PACKAGE.parent / relative
