"""streamd under watch: `python watched.py run …`. Blocking calls on its event loop raise, and callbacks are timed.

What is timed is the processor time of the loop's thread, which does not depend on what else the machine does. That
needs asyncio's own loop instead of uvloop.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop
from blockbuster import blockbuster_ctx

from streamd.cli import main

_run = asyncio.Handle._run
longest_s, longest = 0.0, ""


def timed(handle: asyncio.Handle) -> None:
    """What asyncio.Handle._run does."""
    global longest_s, longest
    began_s = time.thread_time()
    _run(handle)
    took_s = time.thread_time() - began_s
    if took_s > longest_s:
        longest_s, longest = took_s, repr(handle)


if __name__ == "__main__":
    asyncio.Handle._run = timed  # type: ignore[assignment,method-assign]
    uvloop.run = asyncio.run  # type: ignore[assignment]
    try:
        with blockbuster_ctx("streamd"):
            main()
    finally:
        print(f"longest callback: {1_000 * longest_s:.1f} ms: {longest}", file=sys.stderr)
