"""A place where calls of the scripted engine stop until the test lets them through."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE_S = 60


class Gate:
    """The other side of the fault `wait`. Each call that arrives is one connection; closing it lets the call go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen()
        self._door.settimeout(PATIENCE_S)
        self._standing: list[socket.socket] = []

    def fault(self, utterance: str) -> dict[str, object]:
        """Stop the first call for this utterance in every worker."""
        return {"utterance": utterance, "kind": "wait", "path": str(self.path)}

    @property
    def loading(self) -> dict[str, object]:
        """Stop every worker while it loads."""
        return {"call": 0, "kind": "wait", "path": str(self.path)}

    def arrival(self) -> socket.socket:
        """Wait for the next call. Close what this returns to let it through."""
        call, _ = self._door.accept()
        self._standing.append(call)
        return call

    async def reached(self) -> socket.socket:
        """The same, awaited."""
        return await asyncio.to_thread(self.arrival)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in (*self._standing, self._door):
            each.close()
