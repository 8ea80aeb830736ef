"""What captions cost with Gemma 4: `python -m benchmarks.gemma FOLDER [--dtype q4] [--seconds 2 5 10 20 28]`.

FOLDER is one of `streamd models export`, or noise as large as E4B of `python -m benchmarks.gemma_model`. Measured are
the graphs themselves, with pasts of the right size: the streaming encoder by frames a call, and for utterances of
several lengths one refresh of the caption, as the engine does it and in the naive way. Tables are Markdown.

A refresh reads the sound that is new (encoder, audio prefill), then what ends the prompt together with the earlier
caption in one pass, then writes the words that are new; only the last `--open` tokens of the caption are not committed
yet and give logits. Without drafts it writes all that is open, token by token. What is longer than `--piece` is heard
in pieces (streamd.engines.gemma.pieces); the one that is measured is that long, and about to end.

Naive is to encode and read everything again and to write the whole caption, every token through every layer as in the
public graphs; `naive, graphs of ours` has the exported graphs leave out layers for tokens without logits. Single tokens
are timed a few times and multiplied. Looking embeddings up is left out: it costs microseconds.

Where the decoder has fewer layers than the audio prefill says (`gemma_model --layers 12 --owners 6`), those that are
missing are counted with what a layer of the prefill takes for as many tokens; the table says so.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from streamd.engines.gemma.folder import SUFFIXES

Array = NDArray[Any]
FRAMES_PER_S = 25
PREFIX, LEAD = 60, 6  # tokens before the sound (instruction), and between it and the caption
PREVIOUS = 50  # tokens of what was said before a piece: 200 characters
TOKENS_PER_S = 3.3  # of caption, about: English at 150 words a minute
CALLS = (1, 2, 4, 8, 10, 25)  # frames
COLUMNS = (
    *(
        "sound",
        "of it in this piece",
        "caption of the piece",
        "encoder, new sound",
        "audio prefill",
        "ending + draft in one pass",
        "a token",
    ),
    *("refresh with draft", "without draft", "naive", "naive, graphs of ours", "times less", "KV"),
)
KINDS: Mapping[str, Any] = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}


class Model:
    """Graphs with inputs of any size, made up."""

    def __init__(self, folder: Path, dtype: str, threads: int) -> None:
        self._options = ort.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.log_severity_level = 3
        self._places = [folder / "onnx", folder]
        self._suffix = SUFFIXES[dtype][0]
        self._random = np.random.default_rng(0)
        self.encoder = self._open("audio_encoder_stream")
        self.prefill = self._open("decoder_audio_prefill")
        self.decoder = self._open("decoder_model_merged")

    def _open(self, name: str) -> ort.InferenceSession | None:
        files = [place / f"{name}{self._suffix}.onnx" for place in self._places]
        file = next((file for file in files if file.is_file()), None)
        return ort.InferenceSession(str(file), self._options, ["CPUExecutionProvider"]) if file else None

    def encode(self, frames: int) -> Callable[[], object]:
        """A call of the streaming encoder."""
        assert self.encoder
        given = self._inputs(self.encoder, {"4*frames": 4 * frames, "batch": 1})
        return lambda: self.encoder.run(None, given)  # type: ignore[union-attr]

    def read(self, session: ort.InferenceSession, past: int, steps: int, keep: int = 1) -> Callable[[], object]:
        """A call of the decoder or of the audio prefill."""
        sizes = {"batch": 1, "steps": steps, "past": past, "past + steps": past + steps}
        given = self._inputs(session, sizes)
        if "num_logits_to_keep" in given:
            given["num_logits_to_keep"] = np.array(keep)
        given["position_ids"] = np.arange(past, past + steps)[np.newaxis]
        given["attention_mask"] = np.ones((1, past + steps), np.int64)
        return lambda: session.run(None, given)

    def decode_ms(self, past: int, steps: int, keep: int, times: int) -> float:
        """A call of the whole decoder, its missing layers added."""
        assert self.decoder
        ms = took_ms(self.read(self.decoder, past, steps, keep), times)
        missing = self.missing_layers(steps, keep)
        return ms + sum(self.layers_ms(layers, past, tokens, times) for layers, tokens in missing)

    def layers_ms(self, layers: int, past: int, steps: int, times: int) -> float:
        """So many layers, as the audio prefill has them."""
        assert self.prefill
        whole = took_ms(self.read(self.prefill, past, steps), times)
        return layers * whole / (_owners(self.prefill) - 1)  # of the last one only keys and values are computed

    @property
    def without_keys(self) -> int:
        """Layers that tokens without logits leave out."""
        return _layers(self.prefill) - _owners(self.prefill) if self.prefill else 0

    def missing_layers(self, steps: int, keep: int) -> list[tuple[int, int]]:
        """(layers, tokens that each of them reads), for those that own keys and for those that don't."""
        if not self.prefill or not self.decoder or _layers(self.prefill) == _layers(self.decoder):
            return []
        owners = _owners(self.prefill) - _owners(self.decoder)
        return [(owners, steps), (_layers(self.prefill) - _layers(self.decoder) - owners, keep)]

    def cache_bytes(self) -> int:
        """Of one position."""
        session = self.prefill or self.decoder
        assert session
        sizes = {"batch": 1, "past": 1}
        ports = [it for it in session.get_inputs() if it.name.startswith("past_key_values.")]
        return sum(
            int(np.prod([sizes.get(size, size) for size in it.shape])) * np.dtype(KINDS[it.type]).itemsize
            for it in ports
        )

    def _inputs(self, session: ort.InferenceSession, sizes: Mapping[str, int]) -> dict[str, Array]:
        return {
            it.name: self._made_up(it.type, [sizes.get(size, size) for size in it.shape]) for it in session.get_inputs()
        }

    def _made_up(self, kind: str, shape: list[int]) -> Array:
        if kind == "tensor(bool)":
            return np.ones(shape, np.bool_)
        if kind == "tensor(int64)":
            return np.full(shape, 1_000)  # of an encoder: frames that it has heard
        return self._random.standard_normal(shape, np.float32).astype(KINDS[kind])


def _layers(session: ort.InferenceSession) -> int:
    shape = next(it.shape for it in session.get_inputs() if it.name == "per_layer_inputs")
    return int(shape[2])


def _owners(session: ort.InferenceSession) -> int:
    return len([it for it in session.get_inputs() if it.name.startswith("past_key_values.")]) // 2


def took_ms(call: Callable[[], object], times: int) -> float:
    """The quickest of several."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(1_000 * (time.perf_counter() - began))
    return min(took)


def encoder_table(model: Model, times: int) -> None:
    print("| frames a call | ms a call | ms a frame of 40 ms | real-time factor |\n|---|---|---|---|", flush=True)
    for frames in CALLS:
        ms = took_ms(model.encode(frames), times + 1)
        print(f"| {frames} | {ms:.0f} | {ms / frames:.1f} | {ms / frames / 40:.2f} |", flush=True)


def refresh_table(model: Model, arguments: argparse.Namespace) -> None:
    """One refresh at the end of each length: `every` new frames, `new` new tokens."""
    assert model.decoder
    prefill = model.prefill or model.decoder
    every, new, times = arguments.every, arguments.new, arguments.times
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for length in arguments.seconds:
        piece_s = min(length, arguments.piece)
        sound, caption = round(piece_s * FRAMES_PER_S), round(piece_s * TOKENS_PER_S)
        heard, unsettled = PREFIX + sound, min(caption, arguments.open)
        encode = took_ms(model.encode(every), times)
        attend = took_ms(model.read(prefill, heard - every, every), times)
        checked = model.decode_ms(heard, LEAD + caption - new, unsettled - new + 1, times)
        lead = model.decode_ms(heard, LEAD + caption - unsettled, 1, times)
        token = model.decode_ms(heard + LEAD + caption // 2, 1, 1, times + 1)
        drafted = encode + attend + checked + (new - 1) * token
        undrafted = encode + attend + lead + (unsettled - 1) * token
        naive, ours = naive_ms(model, length, token)
        cells = [encode, attend, checked, token, drafted, undrafted, naive, ours]
        kv = model.cache_bytes() * (heard + LEAD + caption) / 1e6
        print(
            f"| {length:g} s | {piece_s:g} s | {caption} | {' | '.join(f'{ms:,.0f}' for ms in cells)} | "
            f"{naive / drafted:.1f}, {ours / drafted:.1f} | {kv:.0f} MB |",
            flush=True,
        )
    begun_ms = model.decode_ms(PREFIX, PREVIOUS, 1, times) + model.decode_ms(PREFIX + PREVIOUS, LEAD, 1, times)
    print(f"\nWhere a new piece begins it takes {begun_ms:.0f} ms more: what was said before, and an empty caption.")


def naive_ms(model: Model, length: float, token_ms: float) -> tuple[float, float]:
    """All sound and the whole caption again: through all layers, and with those left out that can be."""
    sound, caption = round(length * FRAMES_PER_S), round(length * TOKENS_PER_S)
    tokens = PREFIX + sound + LEAD
    ours = took_ms(model.encode(sound), 1) + model.decode_ms(0, tokens, 1, 1) + (caption - 1) * token_ms
    return ours + model.layers_ms(model.without_keys, 0, tokens, 1), ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=list(SUFFIXES), default="q4")
    parser.add_argument("--seconds", type=float, nargs="+", default=[2, 5, 10, 20, 28])
    parser.add_argument("--every", type=int, default=10, help="new frames a refresh (default: %(default)s)")
    parser.add_argument("--new", type=int, default=2, help="new tokens a refresh (default: %(default)s)")
    parser.add_argument("--open", type=int, default=10, help="tokens that are not committed (default: %(default)s)")
    parser.add_argument("--piece", type=float, default=11, help="seconds that pieces have in the end (%(default)s)")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--times", type=int, default=2, help="how often each is run; the quickest counts")
    arguments = parser.parse_args()
    began = time.perf_counter()
    model = Model(arguments.folder, arguments.dtype, arguments.threads)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, ONNX Runtime {ort.__version__}, {arguments.dtype};", end=" ")
    print(f"loaded in {time.perf_counter() - began:.0f} s, {peak_gb():.1f} GB resident at most\n", flush=True)
    if model.encoder:
        encoder_table(model, arguments.times)
    if model.encoder and model.decoder:
        print(f"\nMilliseconds a refresh: {arguments.every} new frames, {arguments.new} new tokens.\n")
        refresh_table(model, arguments)
        if missing := sum(layers for layers, _ in model.missing_layers(1, 1)):
            print(f"\nThe decoder lacks {missing} layers; they are counted with what those of the audio prefill take.")
    print(f"\nPeak memory: {peak_gb():.1f} GB")


def machine() -> str:
    """The processor, as far as the system tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} of {names[0]}" if names else platform.processor()


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
