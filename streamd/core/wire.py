"""One client's protocol session, without I/O: what it may send, and the next event that it gets.

A reader sends nothing but wishes and answers. A speaker sends sound in binary messages of any size and
`{"type": "end"}` when it is done. Both get events one at a time: the next one is looked up when the former one has
left, so a slow reader skips what was superseded meanwhile, and nothing piles up for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from pydantic import ConfigDict, TypeAdapter, ValidationError

from streamd.core.commands.definition import Scalar
from streamd.core.commands.states import WANTED, checked
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


def clip(reason: str) -> str:
    """`reason`, cut so that it fits a close frame."""
    raw = reason.encode(errors="replace")
    if len(raw) <= REASON_BYTES:
        return raw.decode()
    return raw[: REASON_BYTES - len("…".encode())].decode(errors="ignore") + "…"


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


@dataclass(frozen=True, slots=True)
class Tell:
    """A client tells how the plant is, for interlocks."""

    states: Mapping[str, Scalar]


class ReaderWire(_Follower):
    """A client that reads: everything after the place that it comes back from, or all that is retained."""

    def __init__(self, log: Log, now_ms: int, *, after: int | None = None, epoch: str | None = None) -> None:
        super().__init__(log, log.resume(after, epoch), now_ms)

    def receive(self, message: bytes | str) -> Expect | Answer | Tell:
        """What a reader asks for or tells. Raises ProtocolViolation for anything else."""
        if isinstance(message, bytes):
            raise ProtocolViolation("readers send no sound; it goes to the address …/audio")
        fields = _fields(message)
        match fields.get("type"):
            case "vocabulary":
                return _expect(fields)
            case "confirm" | "deny":
                return _answer(fields)
            case "states":
                return _tell(fields)
        raise _unknown(fields, "vocabulary, confirm, deny and states")


class IngestWire(_Follower):
    """A client that speaks. It gets what happens from now on, and `ended` after the last of it."""

    def __init__(self, log: Log, now_ms: int, *, events: bool = True) -> None:
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


def _tell(fields: Mapping[str, object]) -> Tell:
    try:
        return Tell(checked(fields.get("values")))
    except ValueError:
        raise ProtocolViolation(f'values must be {WANTED}: {{"guard": "shut"}}') from None


_OBJECT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])
_TERMS: TypeAdapter[list[str]] = TypeAdapter(list[str], config=ConfigDict(strict=True))
