"""What all sessions of a daemon share about commands: how they are understood, the plant's states, what was sent."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from typing import Protocol

from rapidfuzz import fuzz

from streamd.bridge import EngineFailed, EngineHost, in_thread
from streamd.commands.documents import shown
from streamd.commands.files import load
from streamd.core.audio import SAMPLE_RATE
from streamd.core.commands.answers import CODEWORDS
from streamd.core.commands.decide import ONLY_TEXT, Decision, Verdict, decide, read, unsure
from streamd.core.commands.definition import Command, Risk
from streamd.core.commands.grammar import Grammar
from streamd.core.commands.hearing import LONGEST_S, Choices, Comparisons
from streamd.core.commands.lattice import choices, too_large
from streamd.core.commands.lint import unusable
from streamd.core.commands.prompts import ELSE
from streamd.core.commands.reasons import Reason, in_language
from streamd.core.commands.second import declared, needs_second, seconded
from streamd.core.commands.spoken import words
from streamd.core.commands.states import States
from streamd.core.commands.unknown import unknown
from streamd.core.commands.weigh import likeliest, weigh
from streamd.core.events import Command as Told
from streamd.core.events import Final
from streamd.core.tools.tool import Tool, ToolDecision
from streamd.dispatch import Call, Outcome, ready, send
from streamd.engines.base import Context
from streamd.errors import ConfigError
from streamd.feed import now_ms
from streamd.metrics import Metrics
from streamd.server.access import owner
from streamd.settings import Settings
from streamd.specs import ear_spec
from streamd.transcriber import Reading

LIKE_PERCENT = 75
"""So like a command's sentence must a text be for readers to be told that it is none."""

LONGEST_BYTES = 2 * round(LONGEST_S * SAMPLE_RATE)

TWO = 2  # persons

_log = logging.getLogger(__name__)
_began = now_ms() - time.monotonic_ns() // 1_000_000


def steady_ms() -> int:
    """Milliseconds since 1970 as the wall's clock had it when this process began; goes on at an even pace."""
    return _began + time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Understood:
    """What a final was understood as, and by what. `heard` are the texts that came into question."""

    decision: Decision
    heard: tuple[str, ...]
    nearest: str | None = None  # the sentence that is so like it that readers are told …
    unknown: str | None = None  # … and which value there is not, if that is all that keeps the text from being one
    scores: Mapping[str, float] = field(default_factory=dict)

    def rejected(self, command_id: str, utterance: int, language: str, *, shadow: bool) -> Told:
        """The event that tells why nothing happens, in the language of the sentence, or else in `language`."""
        match, reason = self.decision.match, self.decision.reason
        if self.nearest is not None and match is None:
            why = Reason("{}: {}", reason, self.unknown) if self.unknown else reason
            reason = Reason("{}; nearest: “{}”", why, self.nearest)
        return Told(
            command_id=command_id,
            state="rejected",
            name=match.command.name if match else None,
            params=dict(match.params) if match else {},
            utterance=utterance,
            reason=in_language(reason, match.language if match else language),
            shadow=shadow,
        )


class Understand(Protocol):
    """Text and sound of an utterance → what it says."""

    async def __call__(self, reading: Reading) -> Understood: ...


class Send(Protocol):
    """Carries a command out. It is not tried again once another one followed: then `is_newest` is False."""

    async def __call__(self, command: Command, call: Call, is_newest: Callable[[], bool]) -> Outcome: ...


class Ear(Protocol):
    """What this needs of bridge.EngineHost."""

    async def compare(self, utterance_id: str, pcm: bytes, choices: Sequence[Choices]) -> Comparisons: ...


class ByText:
    """Nothing but the grammar, on the text that readers see."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar

    async def __call__(self, reading: Reading) -> Understood:
        return await self.read(reading.final)

    async def read(self, final: Final) -> Understood:
        """What the text says, also where there is no sound any more."""
        return await in_thread(self._judge, final.text, final.language)

    def _judge(self, text: str, spoken: str | None) -> Understood:
        language = spoken if spoken in self._grammar.languages else None
        decision = read(self._grammar, text, language)
        return _beside(Understood(decision, (text,)), self._grammar, text, language)


class BySound:
    """Sentences are compared with the sound itself. Without an answer the text counts, and is asked about."""

    def __init__(self, grammar: Grammar, ear: Ear) -> None:
        self._grammar = grammar
        self._ear = ear
        self._text = ByText(grammar)
        self._numbers = count(1)
        if why := too_large(grammar):
            _log.warning("%s, or set pipeline.commands.by to text", why)
        self._choices = choices(grammar, grammar.languages)
        self._warned: set[str] = set()  # of languages that the engine did not know

    async def __call__(self, reading: Reading) -> Understood:
        if len(reading.pcm) > LONGEST_BYTES:
            return Understood(Decision(Verdict.REJECT, Reason("too long for a command")), (reading.final.text,))
        if not self._choices:
            return await self._by_text(reading)
        try:
            heard = await self._ear.compare(f"command {next(self._numbers)}", reading.pcm, self._choices)
        except EngineFailed as error:
            _log.warning("a command is judged by its text alone: %s", error)
            return await self._by_text(reading)
        self._warn(heard)
        if not heard.by_language:
            return await self._by_text(reading)
        return await in_thread(self._judge, heard, reading.final.text)

    async def _by_text(self, reading: Reading) -> Understood:
        understood = await self._text(reading)
        return replace(understood, decision=unsure(understood.decision, ONLY_TEXT))

    def _warn(self, heard: Comparisons) -> None:
        """Say once in which languages nothing is compared."""
        known = {tag for tag, _ in heard.by_language}
        unheard = [tag for tag in self._grammar.languages if tag not in known and tag not in self._warned]
        if unheard:
            self._warned.update(unheard)
            _log.warning(
                "commands in %s are not compared with the sound: the model does not know the language; "
                "set engines.whisper.model to another one, such as base",
                ", ".join(unheard),
            )

    def _judge(self, heard: Comparisons, text: str) -> Understood:
        tag, best = likeliest({tag: weigh(each, self._grammar, tag) for tag, each in heard.by_language})
        decision = decide(best.found, best.texts, tag, sure=best.sure)
        scores = asdict(best.scores) if best.scores else {}
        return _beside(Understood(decision, best.texts or (text,), scores=scores), self._grammar, text, tag)


class Chooses(Protocol):
    """What a second reading needs of bridge.EngineHost."""

    @property
    def state(self) -> str: ...

    async def decide(self, utterance_id: str, pcm: bytes, tools: Sequence[Tool], context: Context) -> ToolDecision: ...


class Seconded:
    """Another understanding, with which an engine that calls tools has to agree before anything risky is done."""

    def __init__(self, understand: Understand, engine: Chooses, tools: Sequence[Tool]) -> None:
        self._understand, self._engine, self._tools = understand, engine, tools

    async def __call__(self, reading: Reading) -> Understood:
        understood = await self._understand(reading)
        if not needs_second(understood.decision, self._tools):
            return understood
        second = await self._ask(reading)
        scores = dict(understood.scores)
        if second is not None and math.isfinite(second.margin):
            scores["second_margin"] = second.margin
        return replace(understood, decision=seconded(understood.decision, second), scores=scores)

    async def _ask(self, reading: Reading) -> ToolDecision | None:
        if self._engine.state != "ready":
            return None
        try:
            return await self._engine.decide(reading.key, reading.pcm, self._tools, reading.context)
        except EngineFailed as error:
            _log.warning("a command gets no second reading: %s", error)
            return None


def _beside(understood: Understood, grammar: Grammar, text: str, language: str | None) -> Understood:
    """The same; where it is rejected, with what is told beside."""
    decision = understood.decision
    nearest = grammar.nearest(text, language) if decision.verdict is Verdict.REJECT else None
    said_in = decision.match.language if decision.match else language or grammar.languages[0]
    if nearest is None or not _like(text, nearest, said_in):
        return understood
    value = None if decision.no_order else unknown(grammar, text, language)
    return replace(understood, nearest=nearest, unknown=value)


def _like(text: str, sentence: str, language: str) -> bool:
    """Whether the sentence is in it, or it is nearly the sentence."""
    heard = " ".join(words(text, language))
    likeness = fuzz.partial_ratio if len(heard) > len(sentence) else fuzz.ratio
    return likeness(heard, sentence) >= LIKE_PERCENT


@dataclass(slots=True)
class Orders:
    """What all sessions of a daemon share about commands."""

    understand: Understand
    text: ByText
    grammar: str  # its version
    states: States
    tools: tuple[Tool, ...] = ()  # the commands as an engine is told of them that reads a second time
    languages: tuple[str, ...] = (ELSE,)  # of the grammar
    shadow: bool = False
    role: str = "speaker"  # of who speaks into the daemon's own microphone
    sent: dict[str, int] = field(default_factory=dict)
    now_ms: Callable[[], int] = steady_ms
    ear: EngineHost | None = None  # to be started and closed with the daemon
    send: Send = send
    codeword: Callable[[], str] = lambda: secrets.choice(CODEWORDS)

    def told_in(self, spoken: str | None = None) -> str:
        """The language in which readers are told of what was spoken in this one."""
        known = (spoken, ELSE) if spoken else (ELSE,)
        return next((language for language in known if language in self.languages), self.languages[0])


def orders(settings: Settings, metrics: Metrics | None = None) -> Orders | None:
    """What the stage [commands] asks for; None where there is none. Blocks. Raises ConfigError."""
    stage = settings.pipeline.commands
    if not stage.pack:
        return None
    if settings.store.path is None:
        raise ConfigError(
            'commands need the journal, which store.path = "" turns off: it keeps them from being sent twice'
        )
    loaded = load([stage.pack])
    grammar = loaded.grammar()
    if found := unusable(grammar):
        raise ConfigError(f"{loaded.origins[found.place]}: {shown(found.place)}: {found.message}")
    commands = loaded.pack.commands.values()
    ready(commands)
    if len({owner(token) for token in settings.server.tokens.operator}) < TWO:
        for command in commands:
            if command.safety.risk is Risk.TWO_PERSON:
                _log.warning(
                    "%s can't be confirmed: it takes tokens of two persons in server.tokens.operator", command.name
                )
    tools, faults = declared(commands) if stage.second_reading else ((), ())
    for fault in faults:
        _log.warning("no second reading for %s", fault)
    ear = _ear(settings, metrics)
    text = ByText(grammar)
    return Orders(
        understand=text if ear is None else BySound(grammar, ear),
        text=text,
        grammar=loaded.pack.version,
        states=States(round(stage.state_max_age_s * 1000)),
        tools=tools,
        languages=grammar.languages,
        shadow=stage.shadow,
        role=stage.role,
        ear=ear,
    )


def _ear(settings: Settings, metrics: Metrics | None) -> EngineHost | None:
    spec = ear_spec(settings)
    if spec is None:
        return None
    limits = settings.engines
    return EngineHost(
        spec,
        deadline_s=limits.deadline_s,
        start_deadline_s=limits.start_deadline_s,
        metrics=metrics,
        task="commands",
    )
