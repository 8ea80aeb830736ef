"""What it costs to keep a tool call to its grammar: `python -m benchmarks.tools [--calls N] [--vocabulary N]`.

The vocabulary is made up but has Gemma's size and control tokens, the tools are those of a workshop, and the model is
one array of random logits that costs nothing: what is measured is everything around the model.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

import numpy as np

from streamd.core.tools.tool import Tool
from streamd.engines.gemma.calls import Calls, Guide, Logits
from tests.tool_tokens import tokenizer

SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
MACHINES = [f"{kind} {number}" for kind in ("press", "mill", "saw", "belt", "oven") for number in range(1, 41)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=50, help="decided per number of tools (default: %(default)s)")
    parser.add_argument("--vocabulary", type=int, default=262_144, help="tokens (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tokenizer.json")
        words = _words(arguments.vocabulary - tokenizer(()).get_vocab_size())
        tokenizer(words).save(str(file))
        started = time.perf_counter()
        guide = Guide(file)
        print(f"{guide.size:,} tokens, tokenizer read in {time.perf_counter() - started:.1f} s\n")
    print("| tools | grammar, ms | mask a choice, ms: median, p95 | tokens of a call | passes through the model |")
    print("|---|---|---|---|---|")
    for number in (1, 10, 40):
        print(_measured(guide, number, arguments.calls))


def _measured(guide: Guide, number: int, calls: int) -> str:
    tools = [_tool(place) for place in range(number)]
    compile_ms = []
    for _ in range(5):
        started = time.perf_counter()
        ready = Calls(guide, tools)
        compile_ms.append(1_000 * (time.perf_counter() - started))
    mask_ms, tokens, passes = [], [], []
    for seed in range(calls):
        decision = ready.decide(_Dice(guide, seed), [guide.marks.turn_end])
        assert decision.call is not None, decision.problem
        mask_ms.append(decision.timings_ms["mask"] / max(1, decision.steps - 1))
        tokens.append(decision.tokens)
        passes.append(decision.steps)
    late = sorted(mask_ms)[int(0.95 * (calls - 1))]
    return (
        f"| {number} | {median(compile_ms):.1f} | {median(mask_ms):.2f}, {late:.2f} "
        f"| {mean(tokens):.1f} | {mean(passes):.1f} |"
    )


class _Dice:
    """Random logits; a call is opened at once, and what is short is likelier, as with models that know an answer."""

    numbers = np.random.default_rng(0).normal(0, 1, 1_000_003).astype(np.float32)

    def __init__(self, guide: Guide, seed: int) -> None:
        self._guide, self._place = guide, seed * 7_919
        self._opened = False

    def __call__(self, tokens: Sequence[int], /) -> Logits:
        self._place = (self._place + 31_337 * len(tokens)) % (len(self.numbers) - self._guide.size)
        logits = self.numbers[self._place : self._place + self._guide.size].copy()
        logits[self._guide.marks.quote] += 5
        logits[self._guide.marks.call] += 0 if self._opened else 40
        self._opened = True
        return logits


def _tool(place: int) -> Tool:
    """As they are in a workshop: which machine, how much, and a remark."""
    parameters = {
        "type": "object",
        "properties": {
            "machine": {"type": "string", "enum": MACHINES},
            "rpm": {"type": "integer", "minimum": 0, "maximum": 120 + place},
            "pressure": {"type": "number", "minimum": 0, "maximum": 16, "multipleOf": 0.1},
            "remark": {"type": "string", "maxLength": 40},
        },
        "required": ["machine", "rpm"],
    }
    return Tool(f"set_{'abcdefgh'[place % 8]}_{place}", "Sets a machine.", parameters)


def _words(tokens: int) -> tuple[str, ...]:
    """Words of the tools and made-up ones, with so many different beginnings of two letters or more, or a few more."""
    dice = random.Random(0)
    words = ["call:", "▁press", "machine", "pressure", "remark", "mill", "saw", "belt", "oven", "rpm", "set_"]
    beginnings = {word[:end] for word in words for end in range(2, len(word) + 1)}
    while len(beginnings) < tokens:
        word = "▁" * dice.randrange(2) + "".join(dice.choices(SYLLABLES, k=dice.randint(1, 5)))
        words.append(word)
        beginnings.update(word[:end] for end in range(2, len(word) + 1))
    return tuple(words)


if __name__ == "__main__":
    main()
