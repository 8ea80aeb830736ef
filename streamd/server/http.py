"""Answers to plain requests: pages, health, metrics, sessions, transcripts and vocabularies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from websockets.datastructures import Headers
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from streamd.bridge import in_thread
from streamd.core.addresses import (
    BadRequest,
    CommandRequest,
    PageRequest,
    Request,
    StatesRequest,
    TranscriptRequest,
    VocabularyRequest,
    parse_request,
)
from streamd.core.commands.machine import NoAnswer
from streamd.core.commands.states import WANTED, checked, parse
from streamd.core.events import Event
from streamd.core.subtitle import Format, render
from streamd.core.view import fold
from streamd.core.wire import Answer
from streamd.metrics import Metrics
from streamd.server.access import Access, Refused, Role
from streamd.server.hub import Hub, SessionLimit

TRANSCRIPTS_AT_A_TIME = 2
"""More wait: rendering a day of speech takes a second of one core."""

PAGES = {"/": "index.html", "/overlay": "overlay.html", "/text": "text.html"}
FRAMED = {"/overlay"}  # pages that any other page may show in a frame
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".srt": "application/x-subrip; charset=utf-8",
    ".vtt": "text/vtt; charset=utf-8",
    ".jsonl": "application/jsonl; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class File:
    """A shipped file in memory."""

    body: bytes
    type: str


class NotHere(Exception):  # noqa: N818 - HTTP's 404
    """There is nothing at this address. The message says what there is."""


def load_files(folder: Path) -> dict[str, File]:
    """Pages and scripts by address. Blocks; only what is in memory afterwards can ever be sent."""
    found = {
        f"/clients/{path.relative_to(folder).as_posix()}": File(path.read_bytes(), TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }
    pages = {address: found.get(f"/clients/{name}") for address, name in PAGES.items()}
    return found | {address: page for address, page in pages.items() if page}


def read_target(target: str) -> Request:
    """What the target of a request line asks for. Raises BadRequest."""
    path, _, query = target.partition("?")
    return parse_request(unquote(path), parse_qsl(query, keep_blank_values=True))


def methods(request: Request) -> tuple[str, ...]:
    """What may be done with what an address asks for."""
    match request:
        case VocabularyRequest() | StatesRequest():
            return "GET", "HEAD", "PUT"
        case CommandRequest():
            return ("POST",)
        case _:
            return "GET", "HEAD"


def no_body() -> Response:
    """The answer to a request that has a body."""
    reason = "requests have no body here: give terms and values in the address, as in …/vocabulary?term=Lasecki"
    return _error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)


class Http:
    """The plain half of the port."""

    def __init__(self, files: Mapping[str, File], access: Access, hub: Hub, metrics: Metrics) -> None:
        self._files = files
        self._access = access
        self._hub = hub
        self._metrics = metrics
        self._rendering = asyncio.Semaphore(TRANSCRIPTS_AT_A_TIME)

    async def answer(self, http: HttpRequest) -> Response | None:
        """The response to a request; None lets the WebSocket handshake go on (or fail with 426)."""
        try:
            self._access.check_place(http.headers)
            response = await self._answer(http)
        except Refused as refused:
            response = _error(refused.status, str(refused))
        except BadRequest as bad:
            response = _error(HTTPStatus.BAD_REQUEST, str(bad))
        except NotHere as missing:
            response = _error(HTTPStatus.NOT_FOUND, str(missing))
        except SessionLimit as limit:
            response = _error(HTTPStatus.TOO_MANY_REQUESTS, str(limit))
        if response and (origin := self._access.foreign_origin(http.headers)):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        if response and http.method == "HEAD":
            response.body = b""  # its length stays in the header (RFC 9110, 9.3.2)
        return response

    async def _answer(self, http: HttpRequest) -> Response | None:
        request = read_target(http.path)
        if http.method not in (allowed := methods(request)):
            response = _error(HTTPStatus.METHOD_NOT_ALLOWED, f"this address takes {', '.join(allowed)} only")
            response.headers["Allow"] = ", ".join(allowed)
            return response
        match request:
            case VocabularyRequest():
                return await self._vocabulary(request, http)
            case StatesRequest():
                return self._states(request, http)
            case CommandRequest():
                return await self._command(request, http)
            case TranscriptRequest():
                return await self._transcript(request, http)
            case PageRequest():
                return await self._page(request, http)
            case _:
                return None

    async def _vocabulary(self, request: VocabularyRequest, http: HttpRequest) -> Response:
        """What a session expects, after it was told to. Terms are in the address: websockets reads no bodies."""
        changes = http.method == "PUT"
        self._access.check_role(http.headers, request.token, Role.SPEAKER if changes else Role.VIEWER)
        if changes and request.terms is None:
            raise BadRequest("name each term, as in ?term=Lasecki&term=Okafor; ?term= alone means no terms any more")
        if request.terms is not None and not changes:
            raise BadRequest("terms are set with PUT; GET tells which ones there are")
        session = await self._hub.get(request.session)
        if session is None:
            raise NotHere(no_session(request.session, self._hub))
        if request.terms is None:
            return _json({"terms": session.vocabulary})
        try:
            return _json({"terms": await self._hub.expect(session.name, request.terms)})
        except ValueError as error:
            raise BadRequest(str(error)) from error

    async def _command(self, request: CommandRequest, http: HttpRequest) -> Response:
        """An answer to a question; 409 and the reason where it does not count."""
        by = self._access.check_role(http.headers, request.token, Role.OPERATOR)
        session = await self._hub.get(request.session)
        if session is None:
            raise NotHere(no_session(request.session, self._hub))
        try:
            session.answer(Answer(request.command_id, request.answer == "confirm", request.word), by)
        except NoAnswer as refused:
            return _error(HTTPStatus.CONFLICT, str(refused))
        return _json({"command_id": request.command_id, "answer": request.answer})

    def _states(self, request: StatesRequest, http: HttpRequest) -> Response:
        """What is known of the plant, after it was told what is in the address."""
        changes = http.method == "PUT"
        self._access.check_role(http.headers, request.token, Role.OPERATOR if changes else Role.VIEWER)
        if request.values and not changes:
            raise BadRequest("states are told with PUT; GET tells which ones there are")
        try:
            told = checked({name: parse(value) for name, value in request.values})
        except ValueError:
            raise BadRequest(f"states are {WANTED}") from None
        known = self._hub.states(told)
        if known is None:
            raise NotHere("this daemon takes no commands: see the stage [commands] in pipelines/commands.toml")
        return _json({"states": known})

    async def _page(self, request: PageRequest, http: HttpRequest) -> Response:
        file = self._files.get(request.path)
        if file is None:
            return await self._service(request, http.headers)
        ancestors = "*" if request.path in FRAMED else "'self'"
        policy = f"default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors {ancestors}"
        return _reply(file.body, file.type, {"Cache-Control": "no-cache", "Content-Security-Policy": policy})

    async def _service(self, request: PageRequest, headers: Headers) -> Response:
        match request.path:
            case "/healthz":
                return _reply(b"ok\n", TYPES[".txt"])
            case "/readyz":
                return self._readiness()
            case "/metrics":
                self._access.check_role(headers, request.token, Role.VIEWER)
                return _reply(*await in_thread(self._metrics.render))
            case "/v1/sessions":
                self._access.check_role(headers, request.token, Role.VIEWER)
                return _json({"sessions": self._hub.state()})
            case path:
                raise NotHere(f"there is nothing at {path[:80]}; captions are at /")

    def _readiness(self) -> Response:
        why_not = self._hub.ready()
        status = HTTPStatus.OK if why_not is None else HTTPStatus.SERVICE_UNAVAILABLE
        return _reply(f"{why_not or 'ready'}\n".encode(), TYPES[".txt"], status=status)

    async def _transcript(self, request: TranscriptRequest, http: HttpRequest) -> Response:
        self._access.check_role(http.headers, request.token, Role.VIEWER)
        async with self._rendering:
            events = await self._hub.history(request.session)
            if events is None:
                raise NotHere(no_session(request.session, self._hub))
            body = await in_thread(_render, events, request.format)
        name = f'inline; filename="{request.session}.{request.format}"'
        return _reply(body, TYPES[f".{request.format}"], {"Content-Disposition": name})


def no_session(name: str, hub: Hub) -> str:
    """That there is no such session, and which there are."""
    names = ", ".join(hub.names())
    return f"no session named {name}; " + (f"there are: {names}" if names else "there is none yet")


def _render(events: list[Event], form: Format) -> bytes:
    return render(fold(events).items, form).encode()


def _error(status: HTTPStatus, reason: str) -> Response:
    response = _json({"error": reason}, status)
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return _reply(json.dumps(value, ensure_ascii=False).encode(), "application/json", status=status)


def _reply(
    body: bytes, kind: str, extra: Mapping[str, str] | None = None, *, status: HTTPStatus = HTTPStatus.OK
) -> Response:
    headers = {
        "Date": formatdate(usegmt=True),
        "Connection": "close",
        "Content-Length": str(len(body)),
        "Content-Type": kind,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",  # addresses may hold a token
        "X-Content-Type-Options": "nosniff",
    }
    return Response(status, status.phrase, Headers(headers | dict(extra or {})), body)
