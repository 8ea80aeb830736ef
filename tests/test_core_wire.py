"""One client's protocol session: what it may ask, what it may send, what it gets next."""

from __future__ import annotations

import json
import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.events import Body, Ended, Event, Final, Partial, Status, Welcome
from streamd.core.log import Log
from streamd.core.wire import (
    PIECE_BYTES,
    REASON_BYTES,
    Answer,
    AudioRequest,
    BadRequest,
    Close,
    CloseCode,
    CommandRequest,
    EventsRequest,
    Expect,
    IngestWire,
    PageRequest,
    ProtocolViolation,
    ReaderWire,
    StatesRequest,
    TranscriptRequest,
    VocabularyRequest,
    clip,
    parse_request,
)
from tests.bodies import BODIES

Query = list[tuple[str, str]]


def partial(rev: int, utterance: int = 1) -> Partial:
    return Partial(utterance=utterance, rev=rev, start_ms=0, end_ms=400, text="and so", committed=3)


def final(utterance: int = 1, text: str = "And so.") -> Final:
    return Final(utterance=utterance, start_ms=0, end_ms=400, text=text, engine="scripted")


def filled(*bodies: Body, at_ms: int = 1_000) -> Log:
    log = Log("room", "e1")
    for body in bodies:
        log.append(body, at_ms)
    return log


# Requests


def test_an_address_says_what_is_wanted() -> None:
    assert parse_request("/v1/sessions/room-1/events", []) == EventsRequest(session="room-1")
    assert parse_request(
        "/v1/sessions/a/events", [("after", "0"), ("epoch", "e"), ("token", "secret")]
    ) == EventsRequest(session="a", after=0, epoch="e", token="secret")
    assert parse_request("/v1/sessions/a/audio", []) == AudioRequest(
        session="a", rate=16_000, format="s16le", events=True, takeover=False
    )
    query = [("rate", "48000"), ("format", "f32le"), ("events", "0"), ("takeover", "1")]
    request = parse_request("/v1/sessions/a/audio", query)
    assert isinstance(request, AudioRequest)
    assert (request.rate, request.format, request.events, request.takeover) == (48_000, "f32le", False, True)
    assert parse_request("/v1/sessions/a/transcript.vtt", []) == TranscriptRequest(session="a", format="vtt")
    assert parse_request("/overlay", [("size", "40"), ("token", "t")]) == PageRequest(path="/overlay", token="t")
    assert parse_request("/v1/sessions", []) == PageRequest(path="/v1/sessions")


@pytest.mark.parametrize(
    ("path", "query", "reason"),
    [
        ("events", [("after", "-1")], "after='-1': should be greater than or equal to 0"),
        ("events", [("after", "soon")], "after='soon': should be a valid integer"),
        ("events", [("after", "")], "after=''"),
        ("events", [("after", str(2**63))], "after="),
        ("events", [("since", "1")], "unknown parameter 'since'; there are: after, epoch, token"),
        ("events", [("after", "1"), ("after", "2")], "'after' is given more than once"),
        ("events", [("session", "other")], "unknown parameter 'session'"),
        ("audio", [("rate", "7999")], "rate='7999': should be greater than or equal to 8000"),
        ("audio", [("rate", "48001")], "rate='48001': should be less than or equal to 48000"),
        ("audio", [("rate", "9" * 5_000)], "rate='9999"),
        ("audio", [("format", "mp3")], "format='mp3': should be 's16le' or 'f32le'"),
        ("audio", [("events", "yes")], "events='yes': must be 0 or 1"),
        ("audio", [("takeover", "2")], "takeover='2': must be 0 or 1"),
        ("transcript.doc", [], "format='doc': should be 'txt', 'srt', 'vtt' or 'jsonl'"),
        ("transcript.txt", [("format", "srt")], "unknown parameter 'format'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(path: str, query: Query, reason: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_request(f"/v1/sessions/room/{path}", query)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a\n", "ä", "a" * 65])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="1 to 64 letters, digits"):
        parse_request(f"/v1/sessions/{name}/events", [])


@given(st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=64))
def test_a_name_is_taken_as_it_is_or_refused(name: str) -> None:
    if name[0] in "._-":
        with pytest.raises(BadRequest):
            parse_request(f"/v1/sessions/{name}/audio", [])
    else:
        assert parse_request(f"/v1/sessions/{name}/audio", []) == AudioRequest(session=name)


@given(st.text(), st.lists(st.tuples(st.text(), st.text())))
def test_no_address_does_anything_but_parse_or_be_refused(path: str, query: Query) -> None:
    for address in (path, f"/v1/sessions/a/{path}", "/v1/sessions/a/events", f"/v1/sessions/{path}/audio"):
        with suppress(BadRequest):
            assert parse_request(address, query)


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(parse_request("/v1/sessions/a/events", [("token", "secret")]))


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
        ("{}", "type 'None' is not known here, only vocabulary, confirm and deny"),
        ('{"type": "end"}', "type 'end' is not known here, only vocabulary, confirm and deny"),
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


def test_a_vocabulary_has_an_address() -> None:
    path = "/v1/sessions/room/vocabulary"
    assert parse_request(path, []) == VocabularyRequest(session="room")
    request = parse_request(path, [("term", "Lasecki"), ("token", "t"), ("term", "CTranslate2")])
    assert request == VocabularyRequest(session="room", terms=("Lasecki", "CTranslate2"), token="t")
    with pytest.raises(BadRequest, match="terms: '!' is no term"):
        parse_request(path, [("term", "!")])
    with pytest.raises(BadRequest, match="unknown parameter 'terms'"):
        parse_request(path, [("terms", "Lasecki")])


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


@pytest.mark.parametrize(
    "message",
    ['{"type": "confirm"}', '{"type": "deny", "command_id": 7}', '{"type": "confirm", "command_id": "a", "word": 1}'],
)
def test_an_answer_that_is_none_breaks_the_protocol(message: str) -> None:
    with pytest.raises(ProtocolViolation, match="an answer is"):
        ReaderWire(Log("room", "e1"), 0).receive(message)


def test_answers_and_states_have_addresses() -> None:
    path = "/v1/sessions/room/commands/a-7"
    assert parse_request(f"{path}/confirm", [("word", "amber")]) == CommandRequest(
        session="room", command_id="a-7", answer="confirm", word="amber"
    )
    assert parse_request(f"{path}/deny", [("token", "t")]) == CommandRequest(
        session="room", command_id="a-7", answer="deny", token="t"
    )
    with pytest.raises(BadRequest, match="answer='maybe'"):
        parse_request(f"{path}/maybe", [])
    states = parse_request("/v1/states", [("guard", "closed"), ("token", "t")])
    assert states == StatesRequest(values=(("guard", "closed"),), token="t")


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
