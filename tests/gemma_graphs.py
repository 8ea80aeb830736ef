"""Exported graphs as a test calls them: nothing but ONNX Runtime and the contract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from streamd.core.audio import Pcm
from streamd.engines.gemma.features import BANDS, LogMel, real_rows
from streamd.engines.gemma.providers import share_threads
from tests.gemma_data import Prompt, recording

Array = NDArray[Any]
Past = dict[str, Array]
KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
NAMES = ("audio_encoder_stream", "audio_encoder", "embed_tokens", "decoder_audio_prefill", "decoder_model_merged")


class Graphs:
    """The five graphs of an exported folder."""

    def __init__(self, folder: Path, ids: dict[str, Any], suffix: str = "") -> None:
        share_threads(1)
        options = ort.SessionOptions()
        options.use_per_session_threads = False  # a process has threads of one kind, and the engine shares them
        options.log_severity_level = 3
        self.ids = ids
        self.runs = {
            name: ort.InferenceSession(str(folder / f"{name}{suffix}.onnx"), options, ["CPUExecutionProvider"])
            for name in NAMES
        }

    def run(self, name: str, inputs: dict[str, Array]) -> dict[str, Array]:
        run = self.runs[name]
        return dict(zip([it.name for it in run.get_outputs()], run.run(None, inputs), strict=True))

    def empty(self, name: str, prefix: str) -> Past:
        """A start: zeros for the encoder, no positions for the decoder."""
        return {
            it.name: np.zeros([1 if it == "batch" else 0 if it == "past" else it for it in it.shape], KINDS[it.type])
            for it in self.runs[name].get_inputs()
            if it.name.startswith(prefix)
        }

    def stream(self, rows: Array, mask: Array, calls: Sequence[int]) -> Array:
        """Soft tokens of rows (4 n, 128) that come in calls of so many frames."""
        past = self.empty("audio_encoder_stream", "past.")
        tokens, at = [], 0
        for frames in calls:
            part = slice(4 * at, 4 * (at + frames))
            given = {"input_features": rows[None, part], "input_features_mask": mask[None, part]}
            out = self.run("audio_encoder_stream", given | past)
            past = {name: out[name.replace("past", "present")] for name in past}
            tokens.append(out["audio_features"][out["audio_features_mask"]])
            at += frames
        return np.concatenate(tokens)

    def hear(self, prompt: Prompt) -> Array:
        """Soft tokens of the prompt's part of the recording."""
        rows, mask = padded_rows(recording()[prompt.start : prompt.start + prompt.samples])
        return self.stream(rows, mask, [len(rows) // 4])

    def read(self, past: Past, tokens: Sequence[int], keep: int = 0) -> tuple[Array, Past]:
        """Logits (keep, vocabulary) and the past with these tokens in it; keep 0: of all."""
        inputs = self.run("embed_tokens", {"input_ids": np.array([tokens])}) | {"num_logits_to_keep": np.array(keep)}
        out, past = self._step("decoder_model_merged", past, inputs)
        return out["logits"][0], past

    def attend(self, past: Past, soft: Array, graph: str = "decoder_audio_prefill") -> Past:
        """The past with soft tokens (n, hidden) in it."""
        inputs = self.run("embed_tokens", {"input_ids": np.full((1, len(soft)), self.ids["audio"])})
        inputs["inputs_embeds"] = soft[None]
        if graph == "decoder_model_merged":
            inputs["num_logits_to_keep"] = np.array(1)
        return self._step(graph, past, inputs)[1]

    def start(self) -> Past:
        return self.empty("decoder_model_merged", "past_key_values.")

    def _step(self, graph: str, past: Past, inputs: dict[str, Array]) -> tuple[dict[str, Array], Past]:
        before, steps = length(past), inputs["inputs_embeds"].shape[1]
        inputs["attention_mask"] = np.ones((1, before + steps), np.int64)
        inputs["position_ids"] = np.arange(before, before + steps)[None]
        out = self.run(graph, inputs | past)
        return out, {name: out[name.replace("past_key_values", "present")] for name in past}


def length(past: Past) -> int:
    return int(next(iter(past.values())).shape[2])


def crop(past: Past, positions: int) -> Past:
    return {name: array[:, :, :positions] for name, array in past.items()}


def padded_rows(pcm: Pcm) -> tuple[Array, Array]:
    """Rows and mask (4 n) of a whole clip, as the reference masks them."""
    mel = LogMel()
    rows = np.concatenate([mel.feed(pcm), mel.finish()])
    real = real_rows(len(pcm))
    whole = np.zeros((-(-real // 4) * 4, BANDS), np.float32)
    whole[:real] = rows[:real]
    return whole, np.arange(len(whole)) < real
