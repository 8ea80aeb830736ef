"""A tool, a call of it, and whether to call: the values that are passed around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model is told of a function. See streamd.core.tools.schema for the JSON Schemas that are taken."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that was written. JSON's values: str, int, float, bool, list, dict."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolDecision:
    """Whether a model calls a tool after an utterance, and how sure it was.

    Both margins are in nats, of the model's own distribution, at temperature 1.
    """

    call: ToolCall | None  # None: no call is the answer
    margin: float
    """log P(a call is opened) - log P(anything else is said) at the first token of the answer, over the whole
    vocabulary and before the grammar has any say: 0 is even, 2.2 is nine to one for a call. It says nothing of which
    call."""
    narrowest: float | None = None
    """The least, over the tokens of the call that the grammar left open, of log P(token) - log P(the likeliest other
    token that was allowed there). Two tokens may spell the same text, so it can be smaller than the distance to the
    next best call, not larger at that token. None: there was no choice."""
    steps: int = 0  # passes through the model
    tokens: int = 0  # of the call, forced ones included
    problem: str | None = None  # why a call that was begun is none
    timings_ms: dict[str, float] = field(default_factory=dict)  # stage → milliseconds, for metrics
