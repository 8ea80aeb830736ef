"""A checkpoint's weights, read one at a time, so that a model larger than memory can be exported."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from streamd.errors import UnavailableError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class Weights(Protocol):
    """Where weights come from."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises UnavailableError if there is no such weight."""
        ...

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Part of a weight along its first axis."""
        ...

    def scalar(self, name: str) -> float:
        """A bound of a clipped linear layer: raises UnavailableError if it is missing or no finite number."""
        ...


class Checkpoint:
    """A folder as Hugging Face's transformers saves it: safetensors in one file, or in several with an index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = {name: self._open(folder / file) for file, name in self._listing()}

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._slice(name).get_shape())

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        part = self._slice(name)
        tensor = part[start:stop] if part.get_shape() else part[...]
        array: NDArray[np.float32] = tensor.to(torch.float32).numpy()
        return array

    def scalar(self, name: str) -> float:
        if name not in self._files:
            raise UnavailableError(
                f"{self.folder}: {name} is missing; the audio tower's clip bounds must come with the checkpoint"
            )
        value = float(self.rows(name, 0, 1).reshape(()))
        if not math.isfinite(value):
            raise UnavailableError(f"{self.folder}: {name} is {value}; a real checkpoint has finite clip bounds")
        return value

    def _slice(self, name: str) -> Any:
        if name not in self._files:
            raise UnavailableError(f"{self.folder}: the weight {name} is missing; the checkpoint is not whole")
        return self._files[name].get_slice(name)

    def _listing(self) -> Iterator[tuple[str, str]]:
        """(file, weight), for all weights."""
        index = self.folder / INDEX
        if index.is_file():
            try:
                listed: dict[str, str] = json.loads(index.read_text())["weight_map"]
            except (OSError, ValueError, KeyError) as error:
                raise UnavailableError(f"{index} can't be read: {error!r}") from error
            yield from ((file, name) for name, file in listed.items())
        else:
            for name in self._open(self.folder / SINGLE).keys():  # noqa: SIM118 - it is not a mapping
                yield SINGLE, name

    def _open(self, path: Path) -> Any:
        handles: dict[Path, Any] = self.__dict__.setdefault("_handles", {})
        if path not in handles:
            try:
                handles[path] = safe_open(str(path), framework="pt")
            except FileNotFoundError:
                raise UnavailableError(f"{path} is missing; is this a checkpoint that transformers saved?") from None
            except (SafetensorError, OSError) as error:
                raise UnavailableError(f"{path} is damaged or cut short: {error}") from error
        return handles[path]
