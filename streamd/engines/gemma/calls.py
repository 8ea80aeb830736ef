"""Whether Gemma calls a tool, and which: decoding that can write nothing but a call that is right, or none.

The grammar of streamd.core.tools.grammar masks the vocabulary through llguidance. Where it leaves one way on, the
tokens are forced, and read by the model in one pass together with the next choice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import llguidance.numpy
import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray
from tokenizers import Tokenizer

from streamd.core.tools.grammar import Marks, grammar
from streamd.core.tools.patterns import PLAIN
from streamd.core.tools.syntax import CALL, CALL_END, QUOTE, CallSyntaxError, read
from streamd.core.tools.tool import Tool, ToolDecision
from streamd.core.tools.valid import CallError, check
from streamd.errors import ConfigError, UnavailableError

Logits = NDArray[np.float32]

EVEN = 0.0
"""The least margin of a call: it is opened if that is likelier than everything else together."""

MOST_TOKENS = 256  # of a call

SLICES = [f"{PLAIN}{{1,10}}", f"{PLAIN}{{1,30}}", f"{PLAIN}+"]
"""Tokens of open texts, which llguidance then takes or leaves together: a mask takes 0.44 ms instead of 0.68."""


class Reads(Protocol):
    """A model that reads on from where it is."""

    def __call__(self, tokens: Sequence[int], /) -> Logits:
        """Read one or more tokens in one pass: logits of what follows the last of them (vocabulary,)."""
        ...


class Guide:
    """A tokenizer as llguidance sees it. To build it takes seconds with Gemma's vocabulary: once a model."""

    def __init__(self, file: Path) -> None:
        """`file` is a tokenizer.json. Raises UnavailableError if it has not the tokens that calls are made of."""
        tokenizer = Tokenizer.from_file(str(file))
        ids = {name: tokenizer.token_to_id(name) for name in (CALL, CALL_END, QUOTE, "<turn|>")}
        if missing := [name for name, number in ids.items() if number is None]:
            raise UnavailableError(f"{file} has no {', '.join(missing)}: it is not the tokenizer of Gemma 4")
        self.marks = Marks(*(int(number) for number in ids.values() if number is not None))
        self.tokenizer = LLTokenizer(tokenizer.to_str(), eos_token=self.marks.turn_end, slices=SLICES)
        self.size = int(self.tokenizer.vocab_size)

    def text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode_str(list(tokens)))


class Calls:
    """All calls of some tools. Holds no state of a decoding: it may be used from several threads at a time."""

    def __init__(self, guide: Guide, tools: Sequence[Tool]) -> None:
        """Raises ConfigError for tools whose calls can't be kept to their schemas."""
        self._guide, self._tools = guide, tuple(tools)
        try:
            lark = grammar(self._tools, guide.marks)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self._start = LLMatcher(guide.tokenizer, LLMatcher.grammar_from_lark(lark), log_level=0)
        if self._start.is_error():
            names = ", ".join(tool.name for tool in self._tools)
            raise ConfigError(f"tools {names}: no grammar can be made of them: {_error(self._start)}")

    def decide(
        self, reads: Reads, lead: Sequence[int], *, least_margin: float = EVEN, most_tokens: int = MOST_TOKENS
    ) -> ToolDecision:
        """What the model answers after `lead`, the tokens that open its turn.

        Greedy: at each place the likeliest token that the grammar allows. A call whose margin is below `least_margin`
        is not begun; one that isn't finished within `most_tokens` is none. Raises UnavailableError for logits that are
        no numbers, or of another vocabulary.
        """
        decoding = _Decoding(self._guide, self._start.deep_copy(), reads)
        margin = decoding.open(lead)
        if not self._tools or margin < least_margin:
            return decoding.decision(margin)
        problem = decoding.write(most_tokens)
        if problem is None:
            try:
                call = read(self._guide.text(decoding.tokens))
                check(call, self._tools)
                return replace(decoding.decision(margin), call=call)
            except (CallSyntaxError, CallError) as error:  # the grammar let through what it should not
                problem = str(error)
        return replace(decoding.decision(margin), problem=problem)


class _Decoding:
    """One answer while it is written."""

    def __init__(self, guide: Guide, matcher: LLMatcher, reads: Reads) -> None:
        self._guide, self._matcher, self._reads = guide, matcher, reads
        self._mask = llguidance.numpy.allocate_token_bitmask(1, guide.size)
        self._logits: Logits = np.zeros(0, np.float32)
        self._steps = 0
        self._narrowest: float | None = None
        self._ms = {"decoder": 0.0, "mask": 0.0}
        self.tokens: list[int] = []

    def decision(self, margin: float) -> ToolDecision:
        return ToolDecision(None, margin, self._narrowest, self._steps, len(self.tokens), timings_ms=dict(self._ms))

    def open(self, lead: Sequence[int]) -> float:
        """Read `lead`: the margin by which a call follows."""
        self._read(lead)
        return _margin(self._logits, self._guide.marks.call)

    def write(self, most_tokens: int) -> str | None:
        """Write a call to its end; otherwise, why it has none."""
        unread = self._take([self._guide.marks.call])
        while True:
            unread += self._take(self._matcher.compute_ff_tokens())
            if self._matcher.is_error():
                return f"the grammar gave up: {_error(self._matcher)}"
            if self._matcher.is_stopped():
                return None
            if len(self.tokens) >= most_tokens:
                return f"the call is longer than {most_tokens} tokens"
            self._read(unread)
            token = self._choose()
            if token is None:
                return f"nothing can follow {self._guide.text(self.tokens)}"
            unread = self._take([token])

    def _take(self, tokens: list[int]) -> list[int]:
        self._matcher.consume_tokens(tokens)
        self.tokens += tokens
        return tokens

    def _read(self, tokens: Sequence[int]) -> None:
        started = time.perf_counter()
        self._logits = self._reads(tokens)
        self._steps += 1
        self._ms["decoder"] += 1_000 * (time.perf_counter() - started)
        if self._logits.ndim != 1 or len(self._logits) < self._guide.size:
            raise UnavailableError(
                f"the model writes {self._logits.shape} logits, tokenizer.json has {self._guide.size}: "
                "they are not of one model"
            )
        if not np.isfinite(self._logits.max()):
            raise UnavailableError("the model gave no numbers (NaN or infinite logits): take another dtype")

    def _choose(self) -> int | None:
        """The likeliest token that is allowed."""
        started = time.perf_counter()
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._mask)
        bits = np.unpackbits(self._mask.view(np.uint8), count=self._guide.size, bitorder="little")
        allowed = np.flatnonzero(bits)  # (n,), ids
        logits = self._logits[allowed]
        best = int(logits.argmax()) if len(allowed) else 0
        if not len(allowed) or logits[best] == -np.inf:
            return None
        if len(allowed) > 1:
            lead = float(logits[best]) - float(np.delete(logits, best).max())
            self._narrowest = lead if self._narrowest is None else min(self._narrowest, lead)
        self._ms["mask"] += 1_000 * (time.perf_counter() - started)
        return int(allowed[best])


def _margin(logits: Logits, token: int) -> float:
    """log P(token) - log P(any other), in nats."""
    others = logits.astype(np.float64)
    others[token] = -np.inf
    return float(logits[token]) - float(np.logaddexp.reduce(others))


def _error(matcher: LLMatcher) -> str:
    return str(matcher.get_error()).partition("\n")[0]
