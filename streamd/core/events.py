"""Every event of the wire, version 1. The schema that clients see comes from these classes.

An event is a body (what happened) in an envelope (`seq`, `session`, `at_ms`), one JSON object on the wire.
Positions are milliseconds on the session's timeline; `at_ms` is wall-clock time since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

PROTOCOL = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Word(_Record):
    """One word of a final, as displayed, punctuation included, without spaces around it."""

    text: str
    start_ms: int
    end_ms: int
    confidence: Annotated[float, Field(ge=0, le=1)]


class Welcome(_Record):
    """First message of a connection: where the log stands.

    Its `seq` is the cursor from which this connection goes on. A client that held a higher `seq`, or another
    `epoch`, forgets what it shows: everything that is retained follows.
    """

    type: Literal["welcome"] = "welcome"
    protocol: int = PROTOCOL
    epoch: str
    oldest: int
    newest: int
    server: str
    role: str | None = None  # what this connection may do: viewer, speaker or operator


class Partial(_Record):
    """What the open utterance says so far. The first `committed` code points of `text` never change any more."""

    type: Literal["partial"] = "partial"
    utterance: int
    rev: int
    start_ms: int
    end_ms: int
    text: str
    committed: int


class Final(_Record):
    """What an utterance said; only a second reading may change it. `text` is empty where no word was found."""

    type: Literal["final"] = "final"
    utterance: int
    start_ms: int
    end_ms: int
    text: str
    words: tuple[Word, ...] = ()
    language: str | None = None  # of `text`
    translated_from: str | None = None  # the language that was spoken, where `text` is a translation
    engine: str
    fallback: bool = False  # True: not the engine that was asked for, or what was left after a fault


class Change(_Record):
    """A piece of a text that another one replaces: `text[start:stop]`, in code points."""

    start: int
    stop: int
    text: str


class Revised(_Record):
    """What a larger model read in an utterance afterwards. It takes the place of its final's text and words."""

    type: Literal["revised"] = "revised"
    utterance: int
    start_ms: int
    end_ms: int
    text: str
    changes: tuple[Change, ...]  # of the final's text; in order, none touches another
    words: tuple[Word, ...] = ()
    language: str | None = None  # of `text`
    translated_from: str | None = None
    engine: str


class Gap(_Record):
    """Sound that was lost, or that nobody listened to."""

    type: Literal["gap"] = "gap"
    start_ms: int
    end_ms: int
    reason: str


State = Literal[
    "starting",  # the engine is loading
    "listening",  # sound arrives, nobody speaks
    "speech",  # somebody speaks
    "no_signal",  # exact or near silence for long: muted, unplugged or not permitted
    "source_lost",  # the source stopped delivering; it is being looked for
    "degraded",  # captions continue, but late or without an engine; `detail` says why
    "idle",  # no source
    "stopping",  # the daemon drains
]


class Status(_Record):
    """What is happening. Sent on every change and as a sign of life every few seconds."""

    type: Literal["status"] = "status"
    state: State
    lag_ms: int = 0  # how far recognition is behind the sound
    source: str | None = None
    engine: str | None = None
    detail: str | None = None


class Vocabulary(_Record):
    """Names and jargon that are expected from now on. Told when it changes, and to every reader that comes."""

    type: Literal["vocabulary"] = "vocabulary"
    terms: tuple[str, ...]


CommandState = Literal[
    "proposed",  # understood; may still be taken back
    "awaiting_confirmation",  # `prompt` asks, `confirm` says how it is answered
    "confirmed",  # nothing is missing any more
    "denied",  # somebody said no
    "expired",  # too late
    "dispatched",  # handed over, once; with a `prompt` nobody knows what came of it
    "succeeded",
    "failed",
    "rejected",  # `reason` says why nothing happens
]
ConfirmBy = Literal["readback", "codeword", "button", "two_person", "outcome"]


class Command(_Record):
    """Where a spoken command stands. Each event has the whole of it and takes the place of the former one."""

    type: Literal["command"] = "command"
    command_id: str
    state: CommandState
    name: str | None  # None: none was recognised
    params: dict[str, str | int | float | bool]  # fixed from the first event on
    utterance: int
    reason: str | None = None
    by: str | None = None  # who answered
    prompt: str | None = None  # the question, with the values it is about
    confirm: ConfirmBy | None = None  # how the question is answered
    codeword: str | None = None  # the word to say, or to send
    expires_ms: int | None = None  # wall clock; no answer counts after it
    shadow: bool = False  # all of it but the sending


class Ended(_Record):
    """The source is at its end and everything it said has been sent."""

    type: Literal["ended"] = "ended"
    audio_ms: int


Body = Partial | Final | Revised | Gap | Command | Status | Vocabulary | Ended
DURABLE = (Final, Revised, Gap, Command)  # journalled; they survive kill -9
_TaggedBody = Annotated[Body | Welcome, Field(discriminator="type")]
_BODY: TypeAdapter[Body | Welcome] = TypeAdapter(_TaggedBody)
_ENVELOPE = ("seq", "session", "at_ms")


@dataclass(frozen=True, slots=True)
class Event:
    """A body in its envelope. `json` is the wire form, encoded once however many readers there are.

    `note` is for the audit alone, a JSON object: what readers are not told.
    """

    seq: int
    session: str
    at_ms: int
    body: Body | Welcome
    json: str
    note: str = field(default="{}", compare=False)

    @classmethod
    def seal(cls, body: Body | Welcome, *, seq: int, session: str, at_ms: int, note: str = "{}") -> Event:
        head = _Envelope(type=body.type, seq=seq, session=session, at_ms=at_ms).model_dump_json()
        rest = body.model_dump_json(exclude={"type"})
        return cls(seq, session, at_ms, body, head[:-1] + "," + rest[1:], note)

    @classmethod
    def parse(cls, text: str | bytes) -> Event:
        """The event in a wire message. Raises pydantic.ValidationError for anything that is not one."""
        fields = _OBJECT.validate_json(text)
        envelope = _Envelope.model_validate(
            {key: fields.pop(key, None) for key in _ENVELOPE} | {"type": fields.get("type")}
        )
        return cls.seal(_BODY.validate_python(fields), seq=envelope.seq, session=envelope.session, at_ms=envelope.at_ms)


class _Envelope(_Record):
    type: str
    seq: int
    session: str
    at_ms: int


_OBJECT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])
