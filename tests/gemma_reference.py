"""Make tests/data/gemma afresh: `python -m tests.gemma_reference` in an environment with the extra `export`.

What is written there: `model`, the checkpoint of tests/gemma_checkpoint.py as `streamd models export` turns it out;
`features.npz`, `audio.npz`, `text.npz` and `greedy.json`, what transformers' own model gives for a recording. Tests
compare the first with the second and need no PyTorch.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Gemma4AudioFeatureExtractor, Gemma4ForConditionalGeneration

from streamd.engines.gemma.export import export
from tests import gemma_checkpoint
from tests.gemma_data import FOLDER, Prompt, recording

LENGTHS = (1, 160, 161, 320, 321, 479, 480, 481, 639, 640, 641, 800, 801, 1280, 1281, 12_345, 25_600, 32_001)
FRAMES = 80  # of the clip that the encoder is compared on: more than sees each other, and than the window
KEPT_LOGITS = 16
PROMPTS = 24
NEW_TOKENS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="where to (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = gemma_checkpoint.make(Path(scratch) / "tiny-gemma", arguments.seed)
        shutil.rmtree(arguments.folder, ignore_errors=True)
        export(checkpoint, arguments.folder / "model", "fp32", lambda what: print(what, file=sys.stderr))
        record(checkpoint, arguments.folder)


def record(checkpoint: Path, folder: Path) -> None:
    """Write what the reference gives for `checkpoint` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = load(checkpoint)
    rows: dict[str, Any] = {str(length): features(length)[0] for length in LENGTHS}
    np.savez_compressed(folder / "features.npz", **rows)
    clips: dict[str, Any] = {
        str(length): soft_tokens(model, 0, length) for length in (FRAMES * 640, FRAMES * 640 + 1, 25_777)
    }
    np.savez_compressed(folder / "audio.npz", **clips)
    prompt = random_prompt(0, samples=FRAMES * 640 + 1)
    np.savez_compressed(folder / "text.npz", logits=logits(model, prompt)[-KEPT_LOGITS:])
    prompts = [random_prompt(seed) for seed in range(PROMPTS)]
    cases = [_case(model, each, seed) for seed, each in enumerate(prompts)]
    text = json.dumps({"whole": prompt._asdict(), "cases": cases})
    (folder / "greedy.json").write_text(text.replace('{"prompt"', '\n{"prompt"') + "\n")


def _case(model: Gemma4ForConditionalGeneration, prompt: Prompt, seed: int) -> dict[str, Any]:
    """What the reference says after a prompt, and what it says when its answer was begun for it."""
    random = np.random.default_rng(seed + 1_000)
    begin = random.integers(494, 1010, int(random.integers(1, 9))).tolist()
    begun = prompt._replace(after=[*prompt.after, *begin])
    return {
        "prompt": prompt._asdict(),
        "tokens": greedy(model, prompt),
        "begin": begin,
        "begun": greedy(model, begun),
    }


def load(checkpoint: Path) -> Gemma4ForConditionalGeneration:
    """The reference, in 32 bits."""
    model = Gemma4ForConditionalGeneration.from_pretrained(checkpoint, attn_implementation="eager", dtype=torch.float32)
    return model.eval()


def features(samples: int, start: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows and mask of a part of the recording."""
    sound = recording()[start : start + samples].astype(np.float32) / 32768.0
    made = Gemma4AudioFeatureExtractor()([sound], return_tensors="np")  # one array alone is a fault in it
    return made["input_features"][0], made["input_features_mask"][0]


def soft_tokens(model: Gemma4ForConditionalGeneration, start: int, samples: int) -> NDArray[np.float32]:
    with torch.no_grad():
        made = model.model.get_audio_features(**_sound(start, samples))
    return made.pooler_output[made.attention_mask].numpy()


def logits(model: Gemma4ForConditionalGeneration, prompt: Prompt) -> NDArray[np.float32]:
    with torch.no_grad():
        return model(**_inputs(model, prompt)).logits[0].numpy()


def greedy(model: Gemma4ForConditionalGeneration, prompt: Prompt) -> list[int]:
    """What the reference says next, to its end or NEW_TOKENS."""
    inputs = _inputs(model, prompt)
    with torch.no_grad():
        out = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
    return out[0, inputs["input_ids"].shape[1] :].tolist()


def random_prompt(seed: int, samples: int | None = None) -> Prompt:
    """Words before and after some sound."""
    random = np.random.default_rng(seed)
    words = random.integers(494, 1010, 16).tolist()
    parts = sorted(random.integers(1, 15, 1).tolist())[0]
    samples = samples or int(random.integers(200, 40 * 640))
    return Prompt([2, 105, *words[:parts]], int(random.integers(0, 90_000)), samples, [*words[parts:], 106, 107, 105])


def _sound(start: int, samples: int) -> dict[str, torch.Tensor]:
    rows, mask = features(samples, start)
    return {"input_features": torch.from_numpy(rows)[None], "input_features_mask": torch.from_numpy(mask)[None]}


def _inputs(model: Gemma4ForConditionalGeneration, prompt: Prompt) -> dict[str, Any]:
    sound = _sound(prompt.start, prompt.samples)
    config = model.config
    slots = [config.audio_token_id] * int(sound["input_features_mask"][0, ::4].sum())
    ids = torch.tensor([[*prompt.before, config.boa_token_id, *slots, config.eoa_token_index, *prompt.after]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **sound}


if __name__ == "__main__":
    main()
