"""The small protocol that every engine implements, and the values that cross the pipe to its worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from streamd.core.audio import Pcm
from streamd.core.commands.hearing import Choices, Comparison
from streamd.core.languages import Belief, Evidence
from streamd.core.tools.tool import Tool, ToolDecision
from streamd.core.words import HypothesisWord, join

__all__ = ["CallsTools", "Context", "Engine", "EngineSpec", "Hypothesis", "HypothesisWord", "Task", "UnknownUtterance"]

Task = Literal["transcribe", "translate"]
"""Words as they were spoken, or what they mean in another language."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the engine may know beside the sound. Everything here is small; it is sent with every call."""

    committed: str = ""  # text of this utterance that was shown for good: the hypothesis must begin with it
    previous: str = ""  # what was said before this utterance
    language: str | None = None  # one of core.languages.TAGS; None: detect it, and weigh that against `languages`
    vocabulary: tuple[str, ...] = ()  # names and jargon to expect
    languages: Belief = field(default_factory=dict)  # that are likely; empty: any of them, or it was set
    task: Task = "transcribe"
    target_language: str = "en"  # of a translation, as a tag
    start_s: float = 0.0  # of the utterance, on the session's timeline
    continues: bool = False  # it was split from the one before: nobody paused
    waiting: int = 0  # utterances that wait for this one's final
    thorough: bool = False  # the speaker pauses: guess as carefully as for the last call, it may be the last


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An engine's present guess for the whole utterance from its first sample on."""

    words: tuple[HypothesisWord, ...]
    engine: str
    language: str | None = None  # that is spoken
    covered_s: float = 0.0  # seconds of the utterance that this guess has heard
    timings_ms: dict[str, float] = field(default_factory=dict)  # stage → milliseconds, for metrics
    evidence: Evidence = field(default_factory=Evidence)  # of the language; empty where none was detected
    fallback: bool = False  # not of the engine that the sound asked for; never said by an engine itself
    thorough: bool = False  # as good as the last call's, if nothing is said any more

    @property
    def text(self) -> str:
        return join(self.words)


class UnknownUtterance(Exception):  # noqa: N818 - the protocol's word, see DESIGN.md: an answer rather than an error
    """The worker has no state for this utterance: send its sound from the start."""


class Engine(Protocol):
    """One model in one process. Calls for one utterance come one at a time, for different ones they may overlap."""

    name: str

    def advance(self, utterance_id: str, new_pcm: Pcm, last: bool, context: Context, *, first: bool) -> Hypothesis:
        """Hear `new_pcm` (int16, 16 kHz, shape (n,), n may be 0) and guess the whole utterance.

        `first` starts the utterance afresh, whatever was known of it; `last` closes it and frees its state.
        Raises UnknownUtterance if `first` is false and the utterance is not open here.
        """
        ...

    def forget(self, utterance_id: str) -> None:
        """Free an utterance's state; unknown ones are ignored."""
        ...

    def warm_up(self) -> None:
        """Pay one-time costs, so that the first caption is not slower than the later ones."""
        ...


@runtime_checkable
class CallsTools(Protocol):
    """What an engine also implements if its model can call tools."""

    def prepare(self, tools: Sequence[Tool]) -> None:
        """Pay what the first choice among `tools` costs more than later ones. Raises as `decide`."""
        ...

    def decide(self, utterance_id: str, pcm: Pcm, tools: Sequence[Tool], context: Context) -> ToolDecision:
        """Which of `tools` an utterance asks for, if any. Meant for when its last call was answered.

        `pcm` is all of its sound (int16, 16 kHz, shape (n,)); what is left of that call, if anything, is made use of.
        Raises ConfigError for tools whose calls can't be kept to their schemas.
        """
        ...


@runtime_checkable
class ComparesSentences(Protocol):
    """What an engine also implements if it can tell how well a sound bears out given sentences."""

    def speaks(self, language: str) -> bool:
        """Does the model know this language?"""
        ...

    def compare(self, pcm: Pcm, choices: Choices) -> Comparison:
        """Which of some sentences a whole sound is. Raises ValueError if it is too long to be a command."""
        ...


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What a worker needs to build its engine: `streamd.engines.<kind>.build(options)`."""

    kind: str
    options: dict[str, object] = field(default_factory=dict)
    threads: int = 1  # of the worker, for calls of different utterances …
    batch: int = 1  # … and calls that one of them may serve together, where its engine can
    niceness: int = 0  # how far the worker's process stands back behind others (see nice(2))
    tools: tuple[Tool, ...] = ()  # that it will be asked to choose from, where its engine can: it is prepared for them

    @property
    def calls(self) -> int:
        """That the worker is sent at a time: where there are batches, finals come beside as many as fill them."""
        return self.threads if self.batch == 1 else self.threads * (self.batch + 1)
