"""Messages between the daemon and its worker, as they cross the socket pair that joins the two.

A message is four bytes of length (big-endian) and a pickled dataclass of this file. Pickle is safe here: the socket
pair has no name, so only the daemon and the child that it started from the same source can write to it.

    daemon → worker   EngineSpec, then any number of Advance, Decide, Compare and Forget
    worker → daemon   Ready or Unavailable, then for every Advance one Result, Unknown or Failed, for every Decide
                      one Decided or Failed, and for every Compare one Compared or Failed, in any order

Either side ends the conversation by closing its end.
"""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from dataclasses import dataclass

from streamd.core.commands.hearing import Choices, Comparisons
from streamd.core.tools.tool import Tool, ToolDecision
from streamd.engines.base import Context, EngineSpec, Hypothesis

LIMIT_BYTES = 32 * 1024 * 1024  # 17 minutes of sound; an utterance has less than one
HEADER = struct.Struct("!I")


class PipeError(Exception):
    """A message that can't be sent, or bytes that are no message."""


@dataclass(frozen=True, slots=True)
class Advance:
    """`Engine.advance`, with a number that its reply repeats. `pcm` is s16le at 16 kHz: what is new."""

    call: int
    utterance_id: str
    pcm: bytes
    last: bool
    first: bool
    context: Context


@dataclass(frozen=True, slots=True)
class Decide:
    """`CallsTools.decide`, with a number that its reply repeats. `pcm` is s16le at 16 kHz: the whole utterance."""

    call: int
    utterance_id: str
    pcm: bytes
    tools: tuple[Tool, ...]
    context: Context


@dataclass(frozen=True, slots=True)
class Compare:
    """`ComparesSentences.compare` for each of `choices` that the engine speaks. `pcm` as in Decide."""

    call: int
    pcm: bytes
    choices: tuple[Choices, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """`Engine.forget`. Sent while no call for this utterance is under way; not answered."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded and warm."""

    engine: str  # Engine.name
    load_ms: float


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The model can't be loaded. `message` names the origin and the way out."""

    message: str


@dataclass(frozen=True, slots=True)
class Result:
    call: int
    hypothesis: Hypothesis


@dataclass(frozen=True, slots=True)
class Decided:
    call: int
    decision: ToolDecision


@dataclass(frozen=True, slots=True)
class Compared:
    call: int
    comparisons: Comparisons


@dataclass(frozen=True, slots=True)
class Unknown:
    """The engine raised UnknownUtterance."""

    call: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine raised something else. It is logged: engines keep what was said out of their errors."""

    call: int
    kind: str  # the exception's class
    message: str


Reply = Result | Decided | Compared | Unknown | Failed
Request = Advance | Decide | Compare | Forget
Message = EngineSpec | Request | Ready | Unavailable | Reply
_BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    TypeError,
    ValueError,
)
"""What pickle raises at bytes that it did not write."""

_MESSAGES = (
    *(EngineSpec, Advance, Decide, Compare, Forget, Ready, Unavailable),
    *(Result, Decided, Compared, Unknown, Failed),
)


def pack(message: Message) -> bytes:
    """Header and body. Raises PipeError if the body is longer than LIMIT_BYTES."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(_bounded(len(body))) + body


def body_length(header: bytes) -> int:
    """How many bytes follow this header. Raises PipeError beyond LIMIT_BYTES."""
    (length,) = HEADER.unpack(header)
    return _bounded(length)


def unpack(body: bytes) -> Message:
    """The message in a body. Raises PipeError for anything else."""
    try:
        message = pickle.loads(body)  # noqa: S301 - written by our own child or parent, see the top of this file
    except _BROKEN as error:
        raise PipeError(f"{len(body)} bytes on the worker's pipe are no message: {error!r}") from error
    if not isinstance(message, _MESSAGES):
        raise PipeError(f"a {type(message).__name__} came over the worker's pipe where a message belongs")
    return message


def _bounded(length: int) -> int:
    if length > LIMIT_BYTES:
        raise PipeError(f"a message of {length} bytes is longer than the pipe carries ({LIMIT_BYTES})")
    return length


class Channel:
    """The worker's end: blocking, one thread receives and any thread sends."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sending = threading.Lock()
        self._stream = sock.makefile("rb")

    def send(self, message: Message) -> None:
        data = pack(message)
        with self._sending:
            self._sock.sendall(data)

    def receive(self) -> Message | None:
        """The next message; None once the other side is closed, also in the middle of a message."""
        header = self._read(HEADER.size)
        body = self._read(body_length(header)) if header else None
        return unpack(body) if body is not None else None

    def _read(self, length: int) -> bytes | None:
        try:
            data = self._stream.read(length)
        except ConnectionResetError:  # closed while something that we sent was unread
            return None
        return data if len(data) == length else None

    def close(self) -> None:
        self._stream.close()
        self._sock.close()
