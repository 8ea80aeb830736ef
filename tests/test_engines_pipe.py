"""What crosses the socket pair."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator

import pytest

from streamd.core.commands.hearing import Arc, Choices, Comparison, Comparisons, Lattice, Reading
from streamd.core.tools.tool import Tool, ToolCall, ToolDecision
from streamd.engines import pipe
from streamd.engines.base import Context, EngineSpec, Hypothesis, HypothesisWord
from streamd.engines.pipe import (
    Advance,
    Channel,
    Compare,
    Compared,
    Decide,
    Decided,
    Failed,
    Forget,
    Message,
    PipeError,
    Ready,
    Result,
    Unknown,
)

MESSAGES: list[Message] = [
    EngineSpec("scripted", {"script": "größer.toml"}, 2),
    Advance(7, "raum/1", bytes(range(256)), True, False, Context("Grüße", "…", "de", ("Žižek",))),
    Decide(8, "raum/1", bytes(4), (Tool("press", "Größer", {"type": "object"}),), Context()),
    Compare(9, bytes(4), (Choices("g 1", Lattice(((Arc("größer", 1),), ()), frozenset({1})), "größer", "de"),)),
    Forget("raum/1"),
    Ready("whisper tiny.en int8", 812.5),
    pipe.Unavailable("no model"),
    Result(7, Hypothesis((HypothesisWord(" 你好", 0.0, 0.5, 0.9),), "scripted", "zh", 0.5, {"decoder": 1.0})),
    Decided(8, ToolDecision(ToolCall("press", {"zones": [1, {"on": True}]}), 2.5, 0.1, 7, 20, None, {"mask": 1.0})),
    Compared(
        9, Comparisons((("de", Comparison((), (Reading("größer", -1.5, 2, -9.5, 0.5, 0.0),), 0.1, 1.0, "whisper")),))
    ),
    Unknown(7),
    Failed(7, "RuntimeError", "no"),
]


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    theirs.close()
    channel.close()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_come_back_as_they_went(message: Message) -> None:
    data = pipe.pack(message)
    assert pipe.body_length(data[:4]) == len(data) - 4
    assert pipe.unpack(data[4:]) == message


def test_a_channel_carries_messages_of_any_size(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    other = Channel(theirs)
    long = Advance(1, "u", bytes(2_000_000), False, True, Context())

    def send() -> None:
        for message in [long, *MESSAGES]:
            other.send(message)

    sender = threading.Thread(target=send)
    sender.start()
    received = [channel.receive() for _ in range(1 + len(MESSAGES))]
    sender.join()
    other.close()
    assert received == [long, *MESSAGES]
    assert channel.receive() is None


@pytest.mark.parametrize("sent", [b"", b"\0\0", pipe.pack(MESSAGES[0])[:-1]], ids=["nothing", "half a header", "less"])
def test_the_other_side_may_end_at_any_byte(ends: tuple[Channel, socket.socket], sent: bytes) -> None:
    channel, theirs = ends
    theirs.sendall(sent)
    theirs.close()
    assert channel.receive() is None


def test_the_other_side_may_end_without_having_read(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    channel.send(Forget("u"))
    theirs.close()
    assert channel.receive() is None


def test_too_long_is_refused_at_both_ends(ends: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    channel, theirs = ends
    theirs.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(PipeError, match="4294967295 bytes"):
        channel.receive()
    monkeypatch.setattr(pipe, "LIMIT_BYTES", 100)
    with pytest.raises(PipeError, match="longer than the pipe carries"):
        channel.send(Advance(1, "u", bytes(100), False, True, Context()))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80",
        b"\x80\x05.",
        b"GET / HTTP/1.1",
        b"\x95\x00\x00\x00\x00\x00\x00\x00\x80",
        b"cnowhere\nThing\n.",
        b"cstreamd.errors\nThing\n.",
        pickle.dumps(MESSAGES[0])[:-1],
        pickle.dumps(MESSAGES[1])[5:],
    ],
)
def test_rubbish_is_refused(body: bytes) -> None:
    with pytest.raises(PipeError):
        pipe.unpack(body)


def test_what_is_not_a_message_is_refused() -> None:
    with pytest.raises(PipeError, match="a dict came"):
        pipe.unpack(pickle.dumps({}))
