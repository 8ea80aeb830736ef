"""Who may do what."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from websockets.datastructures import Headers

from streamd.core.commands.request import Person
from streamd.server.access import Access, Refused, Role, is_loopback, owner
from streamd.settings import Server, Tokens

LOCAL = Server()
TOKENS = {
    "viewer": ["viewers-secret"],
    "speaker": ["speakers-one", "speakers-two"],
    "operator": ["größtes Geheimnis"],
}
OPEN = Server(host="0.0.0.0", insecure=True, tokens=TOKENS)


def place(server: Server, host: str | None, origin: str | None) -> bool:
    """Whether a request with these headers may come in."""
    headers = Headers()
    for name, value in (("Host", host), ("Origin", origin)):
        if value is not None:
            headers[name] = value
    with suppress(Refused):
        Access(server).check_place(headers)
        return True
    with pytest.raises(Refused, match=r"add .* to server\.origins") as refused:
        Access(server).check_place(headers)
    return refused.value.status is not HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("127.0.0.1:8765", None, True),
        ("localhost:8765", None, True),
        ("[::1]:8765", None, True),
        ("localhost", "http://localhost", True),
        ("localhost:8765", "http://127.0.0.1:3000", True),
        (None, None, True),
        ("127.0.0.1:8765", "http://evil.example", False),
        ("127.0.0.1:8765", "null", False),
        ("127.0.0.1:8765", "http://localhost.evil.example", False),
        ("127.0.0.1:8765", "http://[::1", False),
        ("evil.example:8765", None, False),
        ("evil.example:8765", "http://evil.example:8765", False),
        ("127.0.0.1.evil.example", None, False),
        ("192.168.1.5:8765", None, False),
        ("[::1", None, False),
        ("localhost, evil.example", None, False),
    ],
)
def test_on_loopback_only_this_machine_comes_in(host: str | None, origin: str | None, allowed: bool) -> None:
    """Also if somebody points a name of theirs at 127.0.0.1."""
    assert place(LOCAL, host, origin) is allowed


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("captions.lan:8765", None, True),
        ("captions.lan:8765", "http://captions.lan:8765", True),
        ("captions.lan:8765", "https://CAPTIONS.lan:8765", True),
        ("captions.lan:8765", "http://captions.lan", False),
        ("captions.lan:8765", "http://evil.example", False),
        ("captions.lan:8765", "http://localhost:8765", False),
        ("captions.lan:8765", "null", False),
        ("", "http://", False),
    ],
)
def test_beyond_loopback_pages_must_be_our_own(host: str, origin: str | None, allowed: bool) -> None:
    assert place(OPEN, host, origin) is allowed


def test_configured_origins_come_in_and_their_host_is_a_name_of_ours() -> None:
    server = Server(origins=["https://Captions.example/"])
    assert place(server, "127.0.0.1:8765", "https://captions.example")
    assert place(server, "captions.example", "https://captions.example")
    assert not place(server, "127.0.0.1:8765", "http://captions.example")
    access = Access(server)
    assert access.foreign_origin(Headers(Origin="https://captions.example")) == "https://captions.example"
    assert access.foreign_origin(Headers(Origin="https://other.example")) is None
    assert access.foreign_origin(Headers()) is None


@given(st.text())
def test_any_host_is_loopback_or_not(text: str) -> None:
    assert is_loopback(text) in (True, False)


def may(server: Server, role: Role, token: str | None, **headers: str) -> int:
    """The status of a request for something that takes `role`."""
    try:
        Access(server).check_role(Headers(headers), token, role)
    except Refused as refused:
        return refused.status
    return 200


@pytest.mark.parametrize(
    ("token", "statuses"),
    [
        ("viewers-secret", [200, 403, 403]),
        ("speakers-one", [200, 200, 403]),
        ("speakers-two", [200, 200, 403]),
        ("größtes Geheimnis", [200, 200, 200]),
        ("Viewers-secret", [401, 401, 401]),
        ("", [401, 401, 401]),
        (None, [401, 401, 401]),
        ("\ud800", [401, 401, 401]),
    ],
)
def test_each_role_may_do_what_the_ones_before_it_may(token: str | None, statuses: list[int]) -> None:
    roles = (Role.VIEWER, Role.SPEAKER, Role.OPERATOR)
    assert [may(OPEN, role, token) for role in roles] == statuses


def test_a_token_may_come_in_a_header() -> None:
    assert may(OPEN, Role.VIEWER, None, Authorization="Bearer viewers-secret") == 200
    assert may(OPEN, Role.VIEWER, None, Authorization="bearer  viewers-secret") == 200
    assert may(OPEN, Role.VIEWER, None, Authorization="Basic viewers-secret") == 401
    assert may(OPEN, Role.SPEAKER, None, Authorization="Bearer viewers-secret") == 403


def test_without_tokens_everybody_may() -> None:
    assert may(LOCAL, Role.OPERATOR, None) == 200
    assert may(LOCAL, Role.OPERATOR, "whatever") == 200


def test_who_asks_is_known_by_the_token_s_digest() -> None:
    access = Access(OPEN)
    person = access.check_role(Headers(), "viewers-secret", Role.VIEWER)
    assert (person.role, len(person.token or "")) == ("viewer", 8)
    assert person == access.check_role(Headers({"Authorization": "Bearer viewers-secret"}), None, Role.VIEWER)
    assert Access(LOCAL).check_role(Headers(), None, Role.OPERATOR) == Person(None, "operator")


def test_a_token_may_name_its_owner() -> None:
    """Two tokens of one person are not two persons."""
    tokens = ("anna:secret-of-the-office", "anna:secret-of-the-line", "bert:another-secret")
    access = Access(Server(host="0.0.0.0", insecure=True, tokens=Tokens(operator=tokens)))
    people = [access.check_role(Headers(), token, Role.OPERATOR) for token in tokens]
    assert [person.name for person in people] == ["operator anna", "operator anna", "operator bert"]
    with pytest.raises(Refused):
        access.check_role(Headers(), "anna:guessed-secret", Role.VIEWER)
    assert len(owner("no name: it has spaces")) == 8
    with pytest.raises(ValidationError, match="this one has 5"):
        Tokens(operator=("anna:short",))
