"""Where a daemon is and which sessions it has."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from pydantic import BaseModel

from streamd.core.view import View
from streamd.errors import UsageError
from streamd.settings import LOOPBACK

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a daemon is, which of its sessions is wanted (None: its first), and the token for it."""

    secure: bool
    place: str  # host:port
    session: str | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, session: str | None = None, token: str | None = None) -> Address:
        """From what a browser or a WebSocket client would be given, or just host:port. Raises UsageError."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            valid = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(f"{url}: not an address; write it as http://HOST:PORT or ws://HOST:PORT")
        query = parse_qs(parts.query)
        match parts.path.split("/"):
            case ["", "v1", "sessions", name, *_]:
                named = name
            case _:
                named = query.get("session", [""])[0]
        return cls(
            secure=parts.scheme in ("https", "wss"),
            place=parts.netloc.rpartition("@")[2],
            session=session or named or None,
            token=token or query.get("token", [""])[0] or None,
        )

    @property
    def url(self) -> str:
        return f"http{'s' * self.secure}://{self.place}"

    @property
    def is_local(self) -> bool:
        return urlsplit(self.url).hostname in LOOPBACK

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def events(self, session: str, view: View, *, shows_commands: bool) -> str:
        """Where to read `session` on from what `view` has seen."""
        seen = {"after": str(view.seq), "epoch": view.epoch} if view.epoch else {}
        asked = seen if shows_commands else seen | {"commands": "0"}
        query = f"?{urlencode(asked)}" if asked else ""
        return f"ws{'s' * self.secure}://{self.place}/v1/sessions/{quote(session)}/events{query}"


class _Named(BaseModel):
    name: str


class _Sessions(BaseModel):
    sessions: list[_Named]


def sessions(address: Address) -> list[str]:
    """Names of the daemon's sessions. Raises OSError, or ValueError if it is no streamd that answers."""
    request = Request(f"{address.url}/v1/sessions", headers=address.headers)  # noqa: S310 - Address says http(s)
    opener = build_opener(ProxyHandler({} if address.is_local else None))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            return [session.name for session in _Sessions.model_validate_json(response.read()).sessions]
    except URLError as error:
        if isinstance(error.reason, OSError) and not isinstance(error, HTTPError):
            raise error.reason from error  # what it was rather than where it came up
        raise
