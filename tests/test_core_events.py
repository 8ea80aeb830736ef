"""Every event in its wire form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamd.core.events import PROTOCOL, Body, Event, Final, Status, Welcome, Word
from tests.bodies import BODIES, MS, TEXT, WELCOMES

# The contract with clients: the fields of each kind beside type, seq, session and at_ms.
FIELDS = {
    "welcome": {"protocol", "epoch", "oldest", "newest", "server", "role"},
    "partial": {"utterance", "rev", "start_ms", "end_ms", "text", "committed"},
    "final": {"utterance", "start_ms", "end_ms", "text", "words", "language", "translated_from", "engine", "fallback"},
    "revised": {
        *("utterance", "start_ms", "end_ms", "text", "changes", "words", "language", "translated_from", "engine"),
    },
    "gap": {"start_ms", "end_ms", "reason"},
    "command": {
        *("command_id", "state", "name", "params", "utterance", "reason", "by", "prompt", "confirm", "codeword"),
        *("expires_ms", "shadow"),
    },
    "status": {"state", "lag_ms", "source", "engine", "detail"},
    "vocabulary": {"terms"},
    "ended": {"audio_ms"},
}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def fields(**changed: object) -> dict[str, object]:
    """A valid event, but for what is changed. A value of ... leaves the field out."""
    event = {"type": "gap", "seq": 1, "session": "room", "at_ms": 5, "start_ms": 0, "end_ms": 40, "reason": "overflow"}
    return {key: value for key, value in (event | changed).items() if value is not ...}


@given(BODIES | WELCOMES, MS, TEXT, MS)
def test_what_is_sealed_can_be_parsed(body: Body | Welcome, seq: int, session: str, at_ms: int) -> None:
    event = Event.seal(body, seq=seq, session=session, at_ms=at_ms)
    assert Event.parse(event.json) == Event.parse(event.json.encode()) == event


@given(BODIES | WELCOMES)
def test_the_wire_form_is_one_flat_object_of_the_agreed_fields(body: Body | Welcome) -> None:
    sent = json.loads(Event.seal(body, seq=7, session="room", at_ms=9).json)
    assert list(sent)[:4] == ["type", "seq", "session", "at_ms"]
    assert (sent.pop("seq"), sent.pop("session"), sent.pop("at_ms")) == (7, "room", 9)
    assert sent.pop("type") == body.type
    assert sent.keys() == FIELDS[body.type]
    assert sent == json.loads(body.model_dump_json(exclude={"type"}))


@given(BODIES | WELCOMES)
def test_the_wire_form_is_one_line(body: Body | Welcome) -> None:
    assert "\n" not in Event.seal(body, seq=7, session="room", at_ms=9).json


def test_text_in_any_script_is_sent_as_it_is() -> None:
    body = Final(utterance=1, start_ms=0, end_ms=40, text='字幕 नमस्ते 👩🏽‍🦰 "quoted"', engine="whisper")
    assert json.loads(Event.seal(body, seq=1, session="room", at_ms=1).json)["text"] == body.text


def test_the_order_of_fields_does_not_matter() -> None:
    shuffled = dict(reversed(fields().items()))
    assert Event.parse(json.dumps(shuffled)) == Event.parse(json.dumps(fields()))


def test_a_welcome_names_the_protocol() -> None:
    assert Welcome(epoch="e", oldest=1, newest=0, server="streamd").protocol == PROTOCOL == 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("{", id="half an object"),
        pytest.param("[]", id="no object"),
        pytest.param("null", id="null"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param("[" * 100_000, id="too deep"),
        pytest.param(r'{"type": "\ud800"}', id="half a surrogate pair, escaped"),
        pytest.param('{"type": "\ud800"}', id="half a surrogate pair"),
    ],
)
def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValidationError):
        Event.parse(text)


@pytest.mark.parametrize(
    "changed",
    [
        {"type": ...},
        {"type": "applause"},
        {"type": 3},
        {"type": None},
        {"seq": ...},
        {"seq": "one"},
        {"seq": 1.5},
        {"session": ...},
        {"session": 5},
        {"at_ms": None},
        {"reason": ...},
        {"reason": 7},
        {"loudness": 3},
        {"type": "status", "state": "listening"},
    ],
)
def test_an_event_with_wrong_fields_is_refused(changed: dict[str, object]) -> None:
    assert Event.parse(json.dumps(fields())).body.type == "gap"
    with pytest.raises(ValidationError):
        Event.parse(json.dumps(fields(**changed)))


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_rubbish_is_refused_in_one_way_only(text: str | bytes) -> None:
    with pytest.raises(ValidationError):
        Event.parse(text)


@given(st.dictionaries(st.sampled_from(sorted(fields())), JSON, max_size=3))
def test_an_event_with_rubbish_in_it_is_refused_or_read(changed: dict[str, object]) -> None:
    try:
        event = Event.parse(json.dumps(fields(**changed)))
    except ValidationError:
        return
    assert Event.parse(event.json) == event


def test_events_can_not_be_changed() -> None:
    body = Status(state="idle")
    with pytest.raises(ValidationError):
        body.state = "speech"  # type: ignore[misc]  # that it is refused is the point


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan"), float("inf")])
def test_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValidationError):
        Word(text="truth", start_ms=0, end_ms=40, confidence=confidence)
