"""Sound into soft tokens, one for each frame of 40 ms, as it comes in.

Gemma's audio encoder looks back only: convolutions by a few rows, attention by eleven frames a layer. A graph with its
caches made explicit goes on from where it stopped. The public graphs read whole clips only; of these the last frames
are read again with each new one, so many that everything that reaches the new ones is among them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamd.engines.gemma.graphs import Array, Graph
from streamd.engines.repair import remedy
from streamd.errors import UnavailableError

ROWS = 4  # of log-mel in a frame
BANDS = 128
FRAME_MS = 40.0

REACH_FRAMES = 182
"""How far back the encoder of E2B and E4B sees: 12 layers of (11 frames of attention + 4 of convolution), and 2."""

LONGEST_FRAMES = 64  # in one call: bounds what the graph needs of memory

PAST, PRESENT = "past.", "present."


@dataclass(frozen=True, slots=True)
class State:
    """What an encoder remembers of the sound so far. It is never changed."""

    arrays: tuple[Array, ...]


class Encoder(Protocol):
    """Called with `rows` (4 n, 128) of log-mel and `mask` (4 n,), false for rows behind the sound's end."""

    def start(self) -> State:
        """Before the first sound."""
        ...

    def step(self, state: State, rows: Array, mask: Array) -> tuple[Array, State]:
        """n soft tokens (n, width), and the state behind them."""
        ...


class StreamingEncoder:
    """A graph that takes and gives its caches: `past.NAME` → `present.NAME`."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names = [name.removeprefix(PAST) for name in graph.inputs if name.startswith(PAST)]

    def start(self) -> State:
        return State(tuple(_zeros(self._graph, PAST + name) for name in self._names))

    def step(self, state: State, rows: Array, mask: Array) -> tuple[Array, State]:
        past = {PAST + name: array for name, array in zip(self._names, state.arrays, strict=True)}
        outputs = self._graph.run({"input_features": rows[np.newaxis], "input_features_mask": mask[np.newaxis]} | past)
        tokens = _checked(self._graph, outputs["audio_features"], len(rows) // ROWS)
        return tokens, State(tuple(outputs[PRESENT + name] for name in self._names))


class ClipEncoder:
    """A graph for whole clips, given the new rows with those before them that they can see."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def start(self) -> State:
        return State((np.zeros((0, BANDS), np.float32),))

    def step(self, state: State, rows: Array, mask: Array) -> tuple[Array, State]:
        (before,) = state.arrays
        window = np.concatenate([before, rows])
        seen = np.concatenate([np.ones(len(before), np.bool_), mask])
        outputs = self._graph.run({"input_features": window[np.newaxis], "input_features_mask": seen[np.newaxis]})
        tokens = _checked(self._graph, outputs["audio_features"], len(window) // ROWS)
        return tokens[len(before) // ROWS :], State((window[-REACH_FRAMES * ROWS :],))


def encoder(graph: Graph) -> Encoder:
    """The encoder for this graph."""
    return StreamingEncoder(graph) if graph.role == "audio_encoder_stream" else ClipEncoder(graph)


def frames_per_call(
    encoder: Encoder, busy: float = 0.5, clock: Callable[[], float] = time.perf_counter, most: int = 8
) -> int:
    """How many frames to encode at a time: the fewest with which the encoder is busy for `busy` of the time at most.

    A call costs about the same for one frame as for a few, as it reads all the weights. Where even `most` frames
    a call are too slow, it is the number that is quickest.
    """
    cost_ms: dict[int, float] = {}
    for frames in (1, 2, 3, 4, 6, 8):
        if frames <= most:
            cost_ms[frames] = _quickest_ms(encoder, frames, clock) / frames
            if cost_ms[frames] <= busy * FRAME_MS:
                return frames
    return min(cost_ms, key=lambda frames: cost_ms[frames])


def _quickest_ms(encoder: Encoder, frames: int, clock: Callable[[], float]) -> float:
    rows, mask = np.zeros((frames * ROWS, BANDS), np.float32), np.ones(frames * ROWS, np.bool_)
    state = encoder.start()
    took = []
    for _ in range(3):  # the first one allocates
        begun = clock()
        encoder.step(state, rows, mask)
        took.append(1_000 * (clock() - begun))
    return min(took)


def _zeros(graph: Graph, name: str) -> Array:
    port = graph.inputs[name]
    sizes = tuple(size if isinstance(size, int) else 1 for size in port.shape)  # a batch of one
    return np.zeros(sizes, port.dtype)


def _checked(graph: Graph, features: Array, frames: int) -> Array:
    """Soft tokens (frames, width). Some graphs give a batch of one, others leave the batch out."""
    tokens = features.reshape(-1, features.shape[-1])
    if len(tokens) != frames:
        raise UnavailableError(f"{graph.file.name} gave {len(tokens)} tokens for {frames} frames: it is not Gemma 4's")
    if not np.isfinite(tokens).all():
        raise UnavailableError(
            f"{graph.file.name} gave no numbers (NaN or infinite): take another engines.gemma.dtype, "
            f"or {remedy(graph.file)}"
        )
    return tokens
