"""One client's protocol session, without I/O: what it asks for, what it may send, and the next event that it gets.

A reader sends nothing but wishes and answers. A speaker sends sound in binary messages of any size and
`{"type": "end"}` when it is done. Both get events one at a time: the next one is looked up when the former one has
left, so a slow reader skips what was superseded meanwhile, and nothing piles up for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from streamd.core.events import Ended, Event
from streamd.core.log import Log
from streamd.core.vocabulary import vocabulary

REASON_BYTES = 123  # what a close frame has room for (RFC 6455, 5.5)
PIECE_BYTES = 8_192  # longer messages reach the session in pieces: half a second at the lowest rate


class CloseCode(IntEnum):
    """Why the server closes a connection. 4xxx are streamd's own (RFC 6455, 7.4.2)."""

    NORMAL = 1000
    GOING_AWAY = 1001  # the daemon stops; come back
    VIOLATION = 1008  # the client broke the protocol, or may not do this
    TOO_BIG = 1009
    INTERNAL = 1011
    NO_SUCH_SESSION = 4404
    TOO_SLOW = 4408  # resume from the last event
    BUSY = 4409  # the session has a source, or another one took over
    TOO_MANY = 4429  # sessions or readers


class Close(Exception):  # noqa: N818 - an end of the connection, not always an error
    """The connection ends, with this code and this reason."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = clip(reason)


class ProtocolViolation(Close):
    """The client sent what it may not send."""

    def __init__(self, reason: str) -> None:
        super().__init__(CloseCode.VIOLATION, reason)


class BadRequest(Exception):  # noqa: N818 - HTTP's word
    """The address asks for something that makes no sense. The message says what would."""


def clip(reason: str) -> str:
    """`reason`, cut so that it fits a close frame."""
    raw = reason.encode(errors="replace")
    if len(raw) <= REASON_BYTES:
        return raw.decode()
    return raw[: REASON_BYTES - len("…".encode())].decode(errors="ignore") + "…"


# Requests


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    token: Annotated[str | None, Field(repr=False)] = None


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("must be 1 to 64 letters, digits, dots, hyphens or underscores, a letter or digit first")
    return value


def _flag(value: str | bool) -> bool:
    if value not in _FLAGS:
        raise ValueError("must be 0 or 1")
    return _FLAGS[value]


_FLAGS: dict[str | bool, bool] = {"0": False, "1": True, False: False, True: True}
_R = TypeVar("_R", bound=_Request)
Name = Annotated[str, AfterValidator(_name)]
Flag = Annotated[bool, BeforeValidator(_flag)]


class EventsRequest(_Request):
    """Read a session: ws …/v1/sessions/NAME/events."""

    session: Name
    after: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    epoch: str | None = None


class AudioRequest(_Request):
    """Speak into a session: ws …/v1/sessions/NAME/audio."""

    session: Name
    rate: Annotated[int, Field(ge=8_000, le=48_000)] = 16_000  # Hz
    format: Literal["s16le", "f32le"] = "s16le"
    events: Flag = True  # this socket gets the session's events too
    takeover: Flag = False  # replace the session's present source


class VocabularyRequest(_Request):
    """Names and jargon of a session: GET or PUT …/v1/sessions/NAME/vocabulary."""

    session: Name
    terms: Annotated[tuple[str, ...], AfterValidator(vocabulary)] = ()


class CommandRequest(_Request):
    """Answer a question: POST …/v1/sessions/NAME/commands/ID/confirm or …/deny."""

    session: Name
    command_id: Name
    answer: Literal["confirm", "deny"]
    word: Annotated[str | None, Field(max_length=40)] = None  # the code word


class StatesRequest(_Request):
    """What is known of the plant, for interlocks: GET or PUT …/v1/states."""

    values: tuple[tuple[str, str], ...] = ()


class TranscriptRequest(_Request):
    """What was said, as a file: GET …/v1/sessions/NAME/transcript.FORMAT."""

    session: Name
    format: Literal["txt", "srt", "vtt", "jsonl"]


class PageRequest(_Request):
    """Any other address. Its query belongs to the page."""

    path: str


Request = (
    EventsRequest | AudioRequest | VocabularyRequest | CommandRequest | StatesRequest | TranscriptRequest | PageRequest
)


def parse_request(path: str, query: Sequence[tuple[str, str]]) -> Request:
    """What an address asks for; path and query are decoded already. Raises BadRequest with a plain reason."""
    match path.split("/"):
        case ["", "v1", "sessions", name, "events"]:
            return _validate(EventsRequest, query, session=name)
        case ["", "v1", "sessions", name, "audio"]:
            return _validate(AudioRequest, query, session=name)
        case ["", "v1", "sessions", name, "vocabulary"]:
            terms = tuple(value for key, value in query if key == "term")
            others = [(key, value) for key, value in query if key != "term"]
            return _validate(VocabularyRequest, others, session=name, terms=terms)
        case ["", "v1", "sessions", name, "commands", command_id, answer]:
            return _validate(CommandRequest, query, session=name, command_id=command_id, answer=answer)
        case ["", "v1", "states"]:
            return StatesRequest(
                values=tuple(item for item in query if item[0] != "token"), token=dict(query).get("token")
            )
        case ["", "v1", "sessions", name, file] if file.startswith("transcript."):
            return _validate(TranscriptRequest, query, session=name, format=file.removeprefix("transcript."))
        case _:
            return PageRequest(path=path, token=dict(query).get("token"))


def _validate(kind: type[_R], query: Sequence[tuple[str, str]], **given: str | tuple[str, ...]) -> _R:
    """The request that path and query describe."""
    parameters = dict(query)
    known = sorted(kind.model_fields.keys() - given.keys())
    keys = [key for key, _ in query]
    for key in keys:
        if key not in known:
            raise BadRequest(f"unknown parameter {key[:40]!r}; there are: {', '.join(known)}")
        if keys.count(key) > 1:
            raise BadRequest(f"parameter {key!r} is given more than once")
    try:
        return kind.model_validate({**parameters, **given})
    except ValidationError as error:
        raise BadRequest(_plain(error, {**parameters, **given})) from error


def _plain(error: ValidationError, values: Mapping[str, str | tuple[str, ...]]) -> str:
    """The first thing that is wrong, with its key and its value."""
    first = error.errors()[0]
    key = str(first["loc"][0])
    problem = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    value = values[key]
    return f"{key}={value[:80]!r}: {problem}" if isinstance(value, str) else f"{key}: {problem}"


# Sessions


class _Follower:
    """A place in a log that moves on as events are sent."""

    def __init__(self, log: Log, cursor: int, now_ms: int) -> None:
        self._log = log
        self._began_ms = now_ms
        self.cursor = cursor

    def welcome(self, server: str, now_ms: int, role: str | None = None) -> Event:
        """The first message."""
        return self._log.welcome(self.cursor, server, now_ms, role)

    def next(self) -> Event | None:
        """The one event to send now; None: nothing before the log's newest passes `cursor`."""
        event = self._log.next_after(self.cursor)
        # What was superseded leaves numbers that no event has any more: they count as seen.
        self.cursor = event.seq if event else max(self.cursor, self._log.newest)
        return event

    def lag_ms(self, now_ms: int) -> int:
        """How long the next event has been waiting for this client."""
        event = self._log.next_after(self.cursor)
        return max(0, now_ms - max(event.at_ms, self._began_ms)) if event else 0


@dataclass(frozen=True, slots=True)
class Expect:
    """A client asks for these names and this jargon to be expected, in place of those that it asked for before."""

    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A client answers a question by hand."""

    command_id: str
    yes: bool
    word: str | None = None  # the code word


class ReaderWire(_Follower):
    """A client that reads: everything after the place that it comes back from, or all that is retained."""

    def __init__(self, log: Log, now_ms: int, *, after: int | None = None, epoch: str | None = None) -> None:
        super().__init__(log, log.resume(after, epoch), now_ms)

    def receive(self, message: bytes | str) -> Expect | Answer:
        """What a reader asks for. Raises ProtocolViolation for anything but a vocabulary or an answer."""
        if isinstance(message, bytes):
            raise ProtocolViolation("readers send no sound; it goes to the address …/audio")
        fields = _fields(message)
        match fields.get("type"):
            case "vocabulary":
                return _expect(fields)
            case "confirm" | "deny":
                return _answer(fields)
        raise _unknown(fields, "vocabulary, confirm and deny")


class IngestWire(_Follower):
    """A client that speaks. It gets what happens from now on, and `ended` after the last of it."""

    def __init__(self, log: Log, now_ms: int, *, events: Flag = True) -> None:
        super().__init__(log, log.newest, now_ms)
        self._events = events
        self.is_over = False  # the client said that it is done
        self.ended: Event | None = None

    def receive(self, message: bytes | str) -> list[bytes] | Expect:
        """The sound in a message, in pieces of at most PIECE_BYTES, or what it asks for. Raises ProtocolViolation."""
        if self.is_over:
            raise ProtocolViolation('nothing may follow {"type": "end"}; connect again to go on')
        if isinstance(message, str):
            return self._obey(message)
        return [message[start : start + PIECE_BYTES] for start in range(0, len(message), PIECE_BYTES)]

    def next(self) -> Event | None:
        """The one event to send now. `ended` is held back: an earlier source's is none of this client's business."""
        while event := super().next():
            if isinstance(event.body, Ended):
                self.ended = event
            elif self._events:
                return event
        return None

    def _obey(self, message: str) -> list[bytes] | Expect:
        fields = _fields(message)
        match fields.get("type"):
            case "vocabulary":
                return _expect(fields)
            case "end":
                self.is_over = True
                return []
        raise _unknown(fields, '{"type": "end"} and {"type": "vocabulary", "terms": […]}')


def _fields(message: str) -> dict[str, object]:
    try:
        return _OBJECT.validate_json(message)
    except ValidationError:
        raise ProtocolViolation('a text message must be a JSON object, such as {"type": "end"}') from None


def _unknown(fields: Mapping[str, object], known: str) -> ProtocolViolation:
    return ProtocolViolation(f"type {str(fields.get('type'))[:40]!r} is not known here, only {known}")


def _expect(fields: Mapping[str, object]) -> Expect:
    try:
        return Expect(vocabulary(_TERMS.validate_python(fields.get("terms"))))
    except ValidationError:
        raise ProtocolViolation('terms must be a list of texts, such as ["Lasecki", "CTranslate2"]') from None
    except ValueError as error:
        raise ProtocolViolation(str(error)) from None


def _answer(fields: Mapping[str, object]) -> Answer:
    command_id, word = fields.get("command_id"), fields.get("word")
    if not isinstance(command_id, str) or not isinstance(word, str | None):
        raise ProtocolViolation('an answer is {"type": "confirm" or "deny", "command_id": "…"}, "word" is a text')
    return Answer(command_id, fields["type"] == "confirm", word)


_OBJECT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])
_TERMS: TypeAdapter[list[str]] = TypeAdapter(list[str], config=ConfigDict(strict=True))
