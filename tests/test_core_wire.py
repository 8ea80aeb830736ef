"""One client's protocol session: what it may ask, what it may send, what it gets next."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.commands.definition import Scalar
from streamd.core.events import Body, Ended, Event, Final, Partial, Status, Welcome
from streamd.core.log import Log
from streamd.core.wire import (
    PIECE_BYTES,
    REASON_BYTES,
    Answer,
    Close,
    CloseCode,
    Expect,
    IngestWire,
    ProtocolViolation,
    ReaderWire,
    Tell,
    clip,
)
from tests.bodies import BODIES


def partial(rev: int, utterance: int = 1) -> Partial:
    return Partial(utterance=utterance, rev=rev, start_ms=0, end_ms=400, text="and so", committed=3)


def final(utterance: int = 1, text: str = "And so.") -> Final:
    return Final(utterance=utterance, start_ms=0, end_ms=400, text=text, engine="scripted")


def filled(*bodies: Body, at_ms: int = 1_000) -> Log:
    log = Log("room", "e1")
    for body in bodies:
        log.append(body, at_ms)
    return log


# Closing


@given(st.text())
def test_reasons_fit_a_close_frame(reason: str) -> None:
    clipped = clip(reason)
    assert len(clipped.encode()) <= REASON_BYTES
    if len(reason.encode(errors="replace")) > REASON_BYTES:
        assert clipped.endswith("…")


def test_a_long_reason_is_cut_between_characters() -> None:
    close = Close(CloseCode.BUSY, "ö" * 100)
    assert close.reason == "ö" * 60 + "…"
    assert close.code == 4409
    assert clip("\ud800") == "?"


# Readers


def test_a_reader_is_welcomed_and_gets_what_is_retained() -> None:
    log = filled(Status(state="speech"), partial(1), partial(2), final(), partial(1, utterance=2))
    wire = ReaderWire(log, 1_000)
    welcome = wire.welcome("streamd/1", 1_000)
    assert isinstance(welcome.body, Welcome)
    assert (welcome.seq, welcome.body.newest, welcome.body.server) == (0, 5, "streamd/1")
    assert drained(wire) == log.since(0)
    assert wire.cursor == log.newest


def test_a_reader_that_comes_back_gets_what_it_missed() -> None:
    log = filled(final(1), final(2), final(3))
    assert [event.seq for event in drained(ReaderWire(log, 0, after=1, epoch="e1"))] == [2, 3]
    assert [event.seq for event in drained(ReaderWire(log, 0, after=1, epoch="older"))] == [1, 2, 3]


@given(st.lists(BODIES, max_size=30), st.integers(0, 2**32))
def test_a_slow_reader_gets_what_is_still_true(bodies: list[Body], pattern: int) -> None:
    """Whenever it takes an event, in whatever rhythm, it ends up with the newest of everything, in order."""
    log = Log("room", "e1")
    wire = ReaderWire(log, 0)
    seen: list[Event] = []
    for turn, body in enumerate(bodies):
        log.append(body, 0)
        if pattern >> turn & 1 and (event := wire.next()):
            seen.append(event)
    seen += drained(wire)
    seqs = [event.seq for event in seen]
    assert seqs == sorted(set(seqs))
    assert set(seqs) >= {event.seq for event in log.since(0)}


def test_a_reader_that_does_not_read_misses_what_was_superseded() -> None:
    log = Log("room", "e1")
    wire = ReaderWire(log, 0)
    for rev in range(1_000):
        log.append(partial(rev), 0)
    assert [event.seq for event in drained(wire)] == [1_000]


def test_numbers_without_events_count_as_seen() -> None:
    """A final that the journal does not hold yet has already superseded its partial: nothing is left to send."""
    log = Log("room", "e1", write_ahead=True)
    log.append(partial(1), 0)
    log.append(final(), 0)
    wire = ReaderWire(log, 0)
    assert wire.next() is None
    assert wire.cursor == log.newest == 1
    log.confirm(2)
    assert [event.seq for event in drained(wire)] == [2]


def test_lag_is_the_time_that_the_next_event_has_waited() -> None:
    log = filled(final(), at_ms=5_000)
    wire = ReaderWire(log, 4_000)
    assert wire.lag_ms(5_300) == 300
    assert wire.lag_ms(4_900) == 0, "the clock was set back"
    wire.next()
    assert wire.lag_ms(9_000) == 0


def test_lag_does_not_count_what_happened_before_the_reader_came() -> None:
    assert ReaderWire(filled(final(), at_ms=0), 100_000).lag_ms(100_250) == 250


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("{}", "type 'None' is not known here, only vocabulary, confirm, deny and states"),
        ('{"type": "end"}', "type 'end' is not known here, only vocabulary, confirm, deny and states"),
        (b"\0\0", "readers send no sound; it goes to the address …/audio"),
        ("", 'a text message must be a JSON object, such as {"type": "end"}'),
    ],
)
def test_a_reader_sends_wishes_and_answers_only(message: bytes | str, reason: str) -> None:
    with pytest.raises(ProtocolViolation) as violation:
        ReaderWire(Log("room", "e1"), 0).receive(message)
    assert violation.value.code == 1008
    assert violation.value.reason == reason


WIRES = (ReaderWire, IngestWire)


@pytest.mark.parametrize("wire", WIRES)
def test_clients_say_what_to_expect(wire: type[ReaderWire | IngestWire]) -> None:
    message = '{"type": "vocabulary", "terms": ["Lasecki", " C  Translate", "lasecki"]}'
    assert wire(Log("room", "e1"), 0).receive(message) == Expect(("Lasecki", "C Translate"))
    assert wire(Log("room", "e1"), 0).receive('{"type": "vocabulary", "terms": []}') == Expect(())


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        (None, "terms must be a list of texts, such as"),
        ("Lasecki", "terms must be a list of texts, such as"),
        ([1], "terms must be a list of texts, such as"),
        (["Lasecki", "?"], "'?' is no term: it has neither letters nor digits"),
    ],
)
def test_a_vocabulary_that_is_none_breaks_the_protocol(
    wire: type[ReaderWire | IngestWire], terms: object, reason: str
) -> None:
    with pytest.raises(ProtocolViolation) as violation:
        wire(Log("room", "e1"), 0).receive(json.dumps({"type": "vocabulary", "terms": terms}))
    assert violation.value.code == 1008
    assert violation.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ('{"type": "confirm", "command_id": "a-7"}', Answer("a-7", True)),
        ('{"type": "confirm", "command_id": "a-7", "word": "amber"}', Answer("a-7", True, "amber")),
        ('{"type": "deny", "command_id": "a-7", "word": null}', Answer("a-7", False)),
    ],
)
def test_readers_answer_questions(message: str, answer: Answer) -> None:
    assert ReaderWire(Log("room", "e1"), 0).receive(message) == answer


def test_readers_tell_how_the_plant_is() -> None:
    message = '{"type": "states", "values": {"guard_closed": true, "mode": "auto", "bar": 2.5, "strokes": 3}}'
    values: dict[str, Scalar] = {"guard_closed": True, "mode": "auto", "bar": 2.5, "strokes": 3}
    assert ReaderWire(Log("room", "e1"), 0).receive(message) == Tell(values)


@pytest.mark.parametrize(
    "values",
    [
        *("", ', "values": 5', ', "values": {"guard": null}', ', "values": {"guard": [1]}'),
        *(', "values": {"bar": NaN}', ', "values": {"bar": 1e999}', f', "values": {{"bar": "{"x" * 201}"}}'),
        f', "values": {{"{"x" * 65}": 1}}',
    ],
)
def test_states_that_are_none_break_the_protocol(values: str) -> None:
    with pytest.raises(ProtocolViolation, match="values must be names"):
        ReaderWire(Log("room", "e1"), 0).receive(f'{{"type": "states"{values}}}')


@pytest.mark.parametrize(
    "message",
    ['{"type": "confirm"}', '{"type": "deny", "command_id": 7}', '{"type": "confirm", "command_id": "a", "word": 1}'],
)
def test_an_answer_that_is_none_breaks_the_protocol(message: str) -> None:
    with pytest.raises(ProtocolViolation, match="an answer is"):
        ReaderWire(Log("room", "e1"), 0).receive(message)


# Speakers


@given(st.lists(st.binary(max_size=3 * PIECE_BYTES), max_size=4))
def test_sound_arrives_whole_in_small_pieces(messages: list[bytes]) -> None:
    wire = IngestWire(Log("room", "e1"), 0)
    pieces = [piece for message in messages for piece in sound(wire, message)]
    assert b"".join(pieces) == b"".join(messages)
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    assert not wire.is_over


def test_a_speaker_says_when_it_is_done() -> None:
    wire = IngestWire(Log("room", "e1"), 0)
    assert wire.receive('{"type": "end"}') == []
    assert wire.is_over
    for late in (b"\0\0", '{"type": "end"}'):
        with pytest.raises(ProtocolViolation, match="nothing may follow"):
            wire.receive(late)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "must be a JSON object"),
        ("end", "must be a JSON object"),
        ('["end"]', "must be a JSON object"),
        ("[" * 100_000, "must be a JSON object"),
        ("{}", "type 'None' is not known here"),
        ('{"type": "stop"}', "type 'stop' is not known here, only"),
        ('{"type": ' + json.dumps("x" * 10_000) + "}", "type 'xxx"),
        ('{"type": ["end"]}', """type "['end']\""""),
    ],
)
def test_other_messages_break_the_protocol(message: str, reason: str) -> None:
    with pytest.raises(ProtocolViolation) as violation:
        IngestWire(Log("room", "e1"), 0).receive(message)
    assert violation.value.code == 1008
    assert reason in violation.value.reason


@given(st.binary() | st.text())
def test_no_message_does_anything_but_be_taken_or_refused(message: bytes | str) -> None:
    wire = IngestWire(Log("room", "e1"), 0)
    if isinstance(message, bytes):
        assert b"".join(sound(wire, message)) == message
    else:
        with pytest.raises(ProtocolViolation):
            wire.receive(message)


def test_a_speaker_gets_what_happens_from_now_on_and_ended_last() -> None:
    log = filled(final(1), Ended(audio_ms=1))
    wire = IngestWire(log, 0)
    assert wire.welcome("streamd/1", 0).seq == 2
    log.append(Ended(audio_ms=2), 0)  # of a source that was taken over
    log.append(final(2), 0)
    log.append(Ended(audio_ms=3), 0)
    log.append(Status(state="idle"), 0)
    assert [event.body.type for event in drained(wire)] == ["final", "status"]
    assert wire.ended is not None
    assert wire.ended.body == Ended(audio_ms=3)


def test_a_speaker_without_events_gets_only_ended() -> None:
    log = Log("room", "e1")
    wire = IngestWire(log, 0, events=False)
    log.append(final(), 0)
    log.append(Ended(audio_ms=3), 0)
    assert wire.next() is None
    assert wire.ended is not None


def sound(wire: IngestWire, message: bytes) -> list[bytes]:
    pieces = wire.receive(message)
    assert isinstance(pieces, list)
    return pieces


def drained(wire: ReaderWire | IngestWire) -> list[Event]:
    events: list[Event] = []
    while event := wire.next():
        events.append(event)
    return events
