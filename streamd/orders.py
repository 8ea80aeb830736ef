"""What all sessions of a daemon share about commands: how they are understood, the plant's states, what was sent."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rapidfuzz import fuzz

from streamd.bridge import in_thread
from streamd.commands.files import load
from streamd.core.commands.answers import CODEWORDS
from streamd.core.commands.decide import Decision, Verdict, decide
from streamd.core.commands.definition import Command, Risk
from streamd.core.commands.grammar import Grammar, Match
from streamd.core.commands.spoken import words
from streamd.core.commands.states import States
from streamd.dispatch import Call, Outcome, ready, send
from streamd.errors import ConfigError
from streamd.feed import now_ms
from streamd.settings import Settings
from streamd.transcriber import Reading

LIKE_PERCENT = 75
"""So like a command's sentence must a text be for readers to be told that it is none."""

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
    nearest: str | None = None  # the sentence that is so like it that readers are told
    scores: Mapping[str, float] = field(default_factory=dict)


class Understand(Protocol):
    """Text and sound of an utterance → what it says."""

    async def __call__(self, reading: Reading) -> Understood: ...


class ByText:
    """Nothing but the grammar, on the text that readers see."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar

    async def __call__(self, reading: Reading) -> Understood:
        return await in_thread(self._judge, reading.final.text, reading.final.language)

    def _judge(self, text: str, spoken: str | None) -> Understood:
        language = spoken if spoken in self._grammar.languages else None
        found = self._grammar.match(text, language)
        said_in = found.language if isinstance(found, Match) else language or self._grammar.languages[0]
        decision = decide(found, (text,), said_in)
        nearest = self._grammar.nearest(text, language) if decision.verdict is Verdict.REJECT else None
        return Understood(decision, (text,), nearest if nearest and _like(text, nearest, said_in) else None)


def _like(text: str, sentence: str, language: str) -> bool:
    """Whether the sentence is in it, or it is nearly the sentence."""
    heard = " ".join(words(text, language))
    likeness = fuzz.partial_ratio if len(heard) > len(sentence) else fuzz.ratio
    return likeness(heard, sentence) >= LIKE_PERCENT


@dataclass(slots=True)
class Orders:
    """What all sessions of a daemon share about commands."""

    understand: Understand
    grammar: str  # its version
    states: States
    shadow: bool = False
    role: str = "speaker"  # of who speaks into the daemon's own microphone
    sent: dict[str, int] = field(default_factory=dict)
    now_ms: Callable[[], int] = steady_ms
    send: Callable[[Command, Call], Awaitable[Outcome]] = send
    codeword: Callable[[], str] = lambda: secrets.choice(CODEWORDS)


def orders(settings: Settings) -> Orders | None:
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
    commands = loaded.pack.commands.values()
    ready(commands)
    tokens = settings.server.tokens
    if len(tokens.operator) < TWO:
        for command in commands:
            if command.safety.risk is Risk.TWO_PERSON:
                _log.warning("%s can't be confirmed: it takes two tokens in server.tokens.operator", command.name)
    return Orders(
        understand=ByText(grammar),
        grammar=loaded.pack.version,
        states=States(round(stage.state_max_age_s * 1000)),
        shadow=stage.shadow,
        role=stage.role,
    )
