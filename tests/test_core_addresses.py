"""What addresses ask for, and which are refused."""

from __future__ import annotations

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.addresses import (
    AudioRequest,
    BadRequest,
    CommandRequest,
    EventsRequest,
    PageRequest,
    StatesRequest,
    TranscriptRequest,
    VocabularyRequest,
    parse_request,
)

Query = list[tuple[str, str]]


def test_an_address_says_what_is_wanted() -> None:
    assert parse_request("/v1/sessions/room-1/events", []) == EventsRequest(session="room-1")
    assert parse_request(
        "/v1/sessions/a/events", [("after", "0"), ("epoch", "e"), ("token", "secret")]
    ) == EventsRequest(session="a", after=0, epoch="e", token="secret")
    assert parse_request("/v1/sessions/a/events", [("commands", "0")]) == EventsRequest(session="a", commands=False)
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
        ("events", [("since", "1")], "unknown parameter 'since'; there are: after, commands, epoch, token"),
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


def test_a_vocabulary_has_an_address() -> None:
    path = "/v1/sessions/room/vocabulary"
    assert parse_request(path, []) == VocabularyRequest(session="room", terms=None)
    assert parse_request(path, [("term", "")]) == VocabularyRequest(session="room", terms=())
    request = parse_request(path, [("term", "Lasecki"), ("token", "t"), ("term", "CTranslate2")])
    assert request == VocabularyRequest(session="room", terms=("Lasecki", "CTranslate2"), token="t")
    with pytest.raises(BadRequest, match="terms: '!' is no term"):
        parse_request(path, [("term", "!")])
    with pytest.raises(BadRequest, match="unknown parameter 'terms'; there are: term, token"):
        parse_request(path, [("terms", "Lasecki")])


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
