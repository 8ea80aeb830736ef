"""What the audit is told of voice commands beside their events: how each came about, and how long was listened."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from streamd.core.commands.request import Person
from streamd.core.events import Final
from streamd.orders import Understood
from streamd.transcriber import Reading

ACCOUNT_S = 600.0
"""So often the audit is told how much sound was listened to."""


class Account:
    """How long one session was listened to. `tell` takes the note; None: nobody wants it."""

    def __init__(self, tell: Callable[[str], Awaitable[None]] | None, grammar: str, *, shadow: bool) -> None:
        self._tell, self._grammar, self._shadow = tell, grammar, shadow
        self._listened_ms = 0

    def listened(self, ms: int) -> None:
        """So much sound has gone by."""
        self._listened_ms += ms

    async def run(self) -> None:
        """Tell it now and then, until cancelled."""
        while True:
            await asyncio.sleep(ACCOUNT_S)
            await self.settle()

    async def settle(self) -> None:
        """Tell what came since the last time. A crash takes some minutes: rates come out too high."""
        heard_ms, self._listened_ms = self._listened_ms, 0
        if self._tell is not None and heard_ms:
            await self._tell(written({"heard_ms": heard_ms, "grammar": self._grammar, "shadow": self._shadow}))


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance that may be a command: who spoke, and when its last word was said."""

    reading: Reading
    speaker: Person
    said_ms: int

    @property
    def evidence(self) -> dict[str, object]:
        """Who spoke, when, and with what sound."""
        return {
            "sound_sha256": hashlib.sha256(self.reading.pcm).hexdigest(),
            "speaker": self.speaker.name,
            "said_ms": self.said_ms,
        }


def origin(final: Final, understood: Understood, grammar: str) -> dict[str, object]:
    """How a command came about. `grammar` is its version."""
    match = understood.decision.match
    return {
        "heard": final.text,
        "hypotheses": list(understood.heard),
        "language": final.language,
        "engine": final.engine,
        "confidence": min((word.confidence for word in final.words), default=None),
        "scores": dict(understood.scores),
        "verdict": understood.decision.verdict,
        "sure": understood.decision.sure,
        "understood": match.sentence if match else None,
        "nearest": understood.nearest,
        "grammar": grammar,
    }


def written(facts: Mapping[str, object]) -> str:
    """As an event carries it. Raises TypeError for what JSON hasn't."""
    return json.dumps(facts, ensure_ascii=False)
