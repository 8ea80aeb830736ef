"""streamd under watch: `python watched.py run …`. Blocking calls on its event loop raise."""

from __future__ import annotations

from blockbuster import blockbuster_ctx

from streamd.cli import main

if __name__ == "__main__":
    with blockbuster_ctx("streamd"):
        main()
