"""Follow one session: connect, resume, reconnect for ever.

It blocks and has no event loop: one connection, one screen, and waiting is all it does. What it shows is the fold of
core/view.py, as on the pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.client import HTTPException
from ssl import SSLCertVerificationError
from typing import Literal
from urllib.error import HTTPError

from pydantic import BaseModel, ValidationError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from streamd.core.events import Event, Welcome
from streamd.core.view import View, parse_known
from streamd.errors import UnavailableError
from streamd.listen.address import Address, sessions
from streamd.listen.screens import JsonLines, News, Screen

SILENCE_S = 12.0  # the server gives a sign of life every 5 s; after this long without one, try another connection
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 10.0
QUEUE = 512  # messages: what comes while the screen is drawn is drawn together
NO_SUCH_SESSION, TOO_SLOW, VIOLATION = 4404, 4408, 1008
NONSENSE = "its answer makes no sense"
_SYSTEM_PROXY: Literal[True] = True


class Listener:
    """Follows one session onto a screen."""

    def __init__(self, address: Address, screen: Screen, *, wait: Callable[[float], object] = time.sleep) -> None:
        self.address = address
        self.session = address.session
        self.view = View()
        self._screen = screen
        self._wait = wait
        self._failures = 0

    def run(self, *, once: bool = False) -> None:
        """Listen for ever, or with `once` to the end of the source. Raises UnavailableError if it may not or can't."""
        while True:
            trouble = self._try(once=once)
            if trouble is None:
                return
            if trouble:
                self._screen.notice(trouble)
            self._wait(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._failures, 8)) if trouble else 0)
            self._failures += 1

    def _try(self, *, once: bool) -> str | None:
        """One connection, as long as it lasts. Returns why it ended: in a word, empty if that is nobody's business."""
        try:
            self.session = self.session or self._first()
            if self.session is None:
                return f"{self.address.url} has no session yet"
            connection = self._connect(self.session)
        except (HTTPError, InvalidStatus) as error:
            return self._refused(error)
        except (OSError, InvalidHandshake, ValueError) as error:
            if isinstance(error.__cause__, ValueError) and self.view.epoch is None:  # what came is no HTTP/1.1
                raise _no_streamd(self.address.url, NONSENSE) from error
            return _unreachable(self.address.url, error)
        with connection:
            return self._follow(connection, once=once)

    def _first(self) -> str | None:
        try:
            return next(iter(sessions(self.address)), None)
        except OSError:  # also where an exception is one of the following besides
            raise
        except (HTTPException, ValueError) as error:
            raise _no_streamd(self.address.url, NONSENSE) from error

    def _connect(self, session: str) -> ClientConnection:
        return connect(
            self.address.events(session, self.view, shows_commands=isinstance(self._screen, JsonLines)),
            additional_headers=self.address.headers,
            proxy=None if self.address.is_local else _SYSTEM_PROXY,
            close_timeout=1,
            max_queue=QUEUE,
        )

    def _follow(self, connection: ClientConnection, *, once: bool) -> str | None:
        newest = 0
        while True:
            try:
                messages = _received(connection)
                events = [event for message in messages if (event := parse_known(message))]
            except TimeoutError:
                return f"no sign of life from {self.address.url} for {SILENCE_S:.0f} s"
            except ConnectionClosed as closed:
                return self._closed(closed)
            except ValueError as error:
                return _unreachable(self.address.url, error)
            newest = next((event.body.newest for event in events if isinstance(event.body, Welcome)), newest)
            if self._failures or not self.view.epoch:
                self._failures = 0
                self._screen.notice("")
            self._screen.show(News(messages, self._take(events), self.view))
            if once and self.view.is_over and self.view.seq >= newest:
                return None

    def _take(self, events: Sequence[Event]) -> list[Event]:
        """Events that were new to the view. The very first welcome is nothing to tell."""
        is_first = self.view.epoch is None
        return [e for e in events if self.view.apply(e) and not (is_first and isinstance(e.body, Welcome))]

    def _closed(self, closed: ConnectionClosed) -> str:
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (None, "")
        if code == TOO_SLOW:
            return ""
        if code == VIOLATION:
            raise UnavailableError(f"{self.address.url}: {reason}")
        if code == NO_SUCH_SESSION and self.address.session is None:
            self.session, self.view = None, View()  # any other will do
        return f"{self.address.url}: {reason or 'the connection was closed'}"

    def _refused(self, error: HTTPError | InvalidStatus) -> str:
        status, body = (
            (error.code, error.read())
            if isinstance(error, HTTPError)
            else (error.response.status_code, error.response.body)
        )
        told = _reason(body or b"")
        reason = f"{self.address.url}: {told or f'HTTP status {status}'}"
        if status == HTTPStatus.UNAUTHORIZED:
            raise UnavailableError(f"{reason} (streamd listen takes it from --token or STREAMD_TOKEN)")
        if status == HTTPStatus.FORBIDDEN:
            raise UnavailableError(reason)
        if not told and status < HTTPStatus.INTERNAL_SERVER_ERROR and self.view.epoch is None:
            # Beyond it are gateways to what is not up yet, and one that was up may have a stand-in for a while.
            raise _no_streamd(self.address.url, f"HTTP status {status}")
        return reason


def _received(connection: ClientConnection) -> list[str]:
    """The next message and those that are here already: a screen that is behind is drawn once."""
    messages = [_text(connection.recv(timeout=SILENCE_S))]
    try:
        while len(messages) < QUEUE:
            messages.append(_text(connection.recv(timeout=0)))
    except (TimeoutError, ConnectionClosed):
        pass  # the next call says so again
    return messages


def _no_streamd(url: str, instead: str) -> UnavailableError:
    return UnavailableError(f"no streamd answers at {url} ({instead}): check host and port, `streamd run` tells them")


def _unreachable(url: str, error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return f"no streamd at {url}; start it with `streamd run`"
        case SSLCertVerificationError():
            return f"{url} has a certificate that is not trusted ({error.verify_message}); name it in SSL_CERT_FILE"
        case TimeoutError():
            return f"no answer from {url}"
        case OSError():
            return f"no connection to {url}: {error.strerror or error}"
        case _:
            return f"{url} does not answer as streamd does"


class _Refusal(BaseModel):
    error: str


def _reason(body: bytes | bytearray) -> str:
    """Why the server says no, in its own words."""
    try:
        return _Refusal.model_validate_json(body).error
    except ValidationError:
        return ""


def _text(message: str | bytes) -> str:
    return message if isinstance(message, str) else message.decode()
