"""Which tool an utterance asks for, if any: its sound again, behind a prompt that declares the tools.

    <bos><|turn>system
    INSTRUCTION<|tool>declaration:…<tool|>…<turn|>
    <|turn>user
    <|audio> soft tokens … <audio|><turn|>
    <|turn>model
    <|tool_call>call:…<tool_call|>          or none<turn|>

The prompt up to the sound is read once for a set of tools, at best before anybody speaks; the encoder's soft tokens are
those of the caption. So a choice costs the language model's pass over the sound, one over the six tokens behind it, and
one for each token of the call that the grammar does not force. Captions are not made behind this prompt: tools in it
would change them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from streamd.core.audio import Pcm
from streamd.core.tools.syntax import declaration
from streamd.core.tools.tool import Tool, ToolDecision
from streamd.engines.gemma.calls import EVEN, Calls, Guide, Logits
from streamd.engines.gemma.decoder import Cache, Decoder
from streamd.engines.gemma.encoder import Encoder
from streamd.engines.gemma.graphs import Array
from streamd.engines.gemma.hearing import Hearing
from streamd.engines.gemma.prompt import Prompt
from streamd.engines.gemma.text import Tokens

INSTRUCTION = (
    "You hear one utterance. If the speaker asks, now and for certain, for what one of the tools does, "
    "call it with the values that were said. In every other case, and when in doubt, answer: none"
)
SETS = 2  # of tools whose prompt is kept; with forty tools one is some hundred megabytes
UTTERANCES = 4  # whose soft tokens are kept after their last call


@dataclass(frozen=True, slots=True)
class _Heard:
    samples: int
    soft: Array  # (n, width)
    loudest: float  # mean log-mel of the loudest frame


class Choice:
    """Chooses tools with one model. May be used from several threads at a time."""

    def __init__(self, file: Path, encoder: Encoder, decoder: Decoder, tokens: Tokens, prompt: Prompt) -> None:
        """`file` is the tokenizer's; it is read again for the grammar, once a choice is asked for."""
        self._file, self._encoder, self._decoder, self._tokens = file, encoder, decoder, tokens
        self._lead = prompt.behind
        self._guide: Guide | None = None
        self._sets: dict[str, tuple[Calls, Cache]] = {}
        self._heard: dict[str, _Heard] = {}
        self._keeping, self._preparing = threading.Lock(), threading.Lock()

    def remember(self, utterance_id: str, hearing: Hearing) -> None:
        """Keep what the encoder made of an utterance that has ended."""
        with self._keeping:
            self._heard.pop(utterance_id, None)
            while len(self._heard) >= UTTERANCES:
                del self._heard[next(iter(self._heard))]
            self._heard[utterance_id] = _heard(hearing)

    def decide(
        self, utterance_id: str, pcm: Pcm, tools: Sequence[Tool], *, least_margin: float = EVEN, quiet: float = -np.inf
    ) -> ToolDecision:
        """See CallsTools.decide. Where no frame is louder than `quiet` (mean log-mel) the model is not asked."""
        started = time.perf_counter()
        calls, prompt = self.prepare(tools)
        prepared = time.perf_counter()
        with self._keeping:
            heard = self._heard.get(utterance_id)
        if heard is not None and heard.samples == len(pcm):
            past = self._decoder.hear(prompt, heard.soft)
        else:
            hearing = Hearing(self._encoder, self._decoder, prompt)
            hearing.feed(pcm)
            hearing.finish(lambda _: None)
            heard, past = _heard(hearing), hearing.cache
        if heard.loudest < quiet:
            return ToolDecision(None, -np.inf)
        read = time.perf_counter()
        decision = calls.decide(_Reading(self._decoder, past), self._lead, least_margin=least_margin)
        before = {"prompt": 1_000 * (prepared - started), "prefill": 1_000 * (read - prepared)}
        return replace(decision, timings_ms=before | decision.timings_ms)

    def before(self, tools: Sequence[Tool]) -> list[int]:
        """Tokens up to the sound."""
        declared = "".join(map(declaration, tools))  # their schemas hold no control tokens: see core.tools.schema
        return self._tokens.encode(f"<bos><|turn>system\n{INSTRUCTION}{declared}<turn|>\n<|turn>user\n<|audio>")

    def prepare(self, tools: Sequence[Tool]) -> tuple[Calls, Cache]:
        """The grammar of these tools, and the past that declares them: made once, which takes seconds."""
        key = json.dumps([[tool.name, tool.description, tool.parameters] for tool in tools])
        with self._preparing:
            if key not in self._sets:
                self._guide = self._guide or Guide(self._file)
                calls = Calls(self._guide, tools)
                while len(self._sets) >= SETS:
                    del self._sets[next(iter(self._sets))]
                self._sets[key] = calls, self._decoder.read(self._decoder.empty, self.before(tools))[1]
            return self._sets[key]


class _Reading:
    """The model from a past on: see calls.Reads."""

    def __init__(self, decoder: Decoder, past: Cache) -> None:
        self._decoder, self._past = decoder, past

    def __call__(self, tokens: Sequence[int], /) -> Logits:
        (logits,), self._past = self._decoder.read(self._past, tokens)
        row: Logits = logits
        return row


def _heard(hearing: Hearing) -> _Heard:
    return _Heard(hearing.samples, hearing.soft, float(hearing.loudness.max(initial=-np.inf)))
