"""Who may do what: browser origins, host names, tokens and roles."""

from __future__ import annotations

import hashlib
import hmac
from enum import IntEnum
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from websockets.datastructures import Headers

from streamd.core.commands.request import Person
from streamd.settings import OWNED_TOKEN, Server

FINGERPRINT_DIGITS = 8
"""Of a token's SHA-256, in events and the audit: enough to tell people apart, too few to say anything of the token."""


class Role(IntEnum):
    """What a token allows; each role may also do what the ones before it may."""

    NOBODY = 0
    VIEWER = 1
    SPEAKER = 2
    OPERATOR = 3


class Refused(Exception):  # noqa: N818 - an answer rather than an error
    """The request is not allowed. `status` is 401 if a token would help, else 403."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Access:
    """The rules of one server."""

    def __init__(self, server: Server) -> None:
        self._is_local = server.is_local
        self._origins = {origin.rstrip("/").lower() for origin in server.origins}
        self._tokens = [
            (Role[role.upper()], token.encode())
            for role, tokens in server.tokens.model_dump().items()
            for token in tokens
        ]

    def check_place(self, headers: Headers) -> None:
        """Raises Refused if a browser was led here by a page of somebody else.

        Bound to loopback there are no tokens, so the Host header must be a name of this machine: a name that
        somebody points at 127.0.0.1 makes their page look like ours (DNS rebinding). Programs that are no browsers
        send no Origin.
        """
        host, origin = header(headers, "Host"), header(headers, "Origin")
        if self._is_local and host and not self._is_ours(host):
            raise Refused(
                HTTPStatus.FORBIDDEN,
                f"host {host} is not a name of this machine; to allow it, add http://{host} to server.origins",
            )
        if origin and not self._may_come_from(origin.lower(), (host or "").lower()):
            raise Refused(
                HTTPStatus.FORBIDDEN, f"pages of {origin} may not connect; to allow it, add {origin} to server.origins"
            )

    def check_role(self, headers: Headers, token: str | None, needed: Role) -> Person:
        """Who asks. Raises Refused unless their token allows `needed`. Without configured tokens everybody may all."""
        if not self._tokens:
            return Person(None, Role.OPERATOR.name.lower())
        token = token or _bearer(headers)
        if not token:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "a token is needed: add ?token=… to the address, or send the header Authorization: Bearer …",
            )
        role = self._role(token)
        if role is Role.NOBODY:
            raise Refused(HTTPStatus.UNAUTHORIZED, "this token is not known here")
        if role < needed:
            raise Refused(HTTPStatus.FORBIDDEN, f"this needs a token of the role {needed.name.lower()}")
        return Person(owner(token), role.name.lower())

    def foreign_origin(self, headers: Headers) -> str | None:
        """The configured origin that the request comes from."""
        origin = header(headers, "Origin")
        return origin if origin and origin.lower() in self._origins else None

    def _role(self, token: str) -> Role:
        """Every known token is compared in full, so that the time taken tells nothing."""
        given = token.encode(errors="replace")
        matches = [role for role, known in self._tokens if hmac.compare_digest(known, given)]
        return max(matches, default=Role.NOBODY)

    def _is_ours(self, host: str) -> bool:
        return is_loopback(host) or any(_place(origin) == host.lower() for origin in self._origins)

    def _may_come_from(self, origin: str, host: str) -> bool:
        place = _place(origin)
        return origin in self._origins or (place != "" and place == host) or (self._is_local and is_loopback(place))


def owner(token: str) -> str:
    """Whose token this is: of NAME:SECRET the name, so that several tokens may be one person's; else a fingerprint."""
    named = OWNED_TOKEN.match(token)
    return named[1] if named else hashlib.sha256(token.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def is_loopback(place: str) -> bool:
    """Whether HOST or HOST:PORT is this machine under a name that nobody else can give away."""
    try:
        host = urlsplit(f"//{place}").hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _place(origin: str) -> str:
    """HOST:PORT of SCHEME://HOST:PORT. Empty for the origin `null`, which no page can be told by."""
    return origin.partition("://")[2]


def header(headers: Headers, name: str) -> str | None:
    """A header's value; None if it is missing. Several values are one, as for any list (RFC 9110, 5.2)."""
    return ", ".join(headers.get_all(name)) or None


def _bearer(headers: Headers) -> str | None:
    scheme, _, token = (header(headers, "Authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
