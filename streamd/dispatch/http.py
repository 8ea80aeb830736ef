"""HTTP webhooks. The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header) names the command."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from urllib.parse import quote

import httpx
from pydantic import JsonValue

from streamd.bridge import in_thread
from streamd.core.commands.definition import DispatchHttp
from streamd.core.commands.reasons import Reason
from streamd.dispatch.base import Call, NotDone, Outcome, fill, read_back

READ_BYTES = 65_536  # of an answer; where there is more, the beginning counts as text


async def send(target: DispatchHttp, call: Call) -> Outcome:
    """One request, no redirects. 2xx but 202: done; 4xx: refused; anything else: nobody knows."""
    timeout = httpx.Timeout(target.timeout_s)
    believed = await in_thread(authorities)
    async with httpx.AsyncClient(
        headers={"Accept-Encoding": "identity"},  # what is packed has no bound: see _packed
        timeout=timeout,
        verify=believed,
        trust_env=False,
        follow_redirects=False,
    ) as client:
        url = fill(target.url, call.params, lambda value: quote(value, safe=""))
        headers = {"Idempotency-Key": call.command_id, **target.headers}
        body = dict(call.params) if target.body is None else fill(target.body, call.params)
        with_body = target.method not in ("GET", "DELETE") or target.body is not None
        try:
            outcome = await _ask(client, target.method, url, headers, body if with_body else None)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise NotDone(Reason("{} can't be reached: {}", _place(url), error), again=True) from error
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        if outcome.done is False or target.verify is None or target.verify.url is None:
            return outcome
        state_url = fill(target.verify.url, call.params, lambda value: quote(value, safe=""))
        return await read_back(lambda: _get(client, state_url), target.verify, call, target.timeout_s)


@cache
def authorities() -> ssl.SSLContext:
    """Whom to believe who a server is. Blocks while they are read."""
    return httpx.create_ssl_context()


async def _ask(client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], body: object) -> Outcome:
    async with client.stream(method, url, headers=headers, json=body) as response:
        return _judge(response, _packed(response) or await _content(response))


def _judge(response: httpx.Response, answer: JsonValue) -> Outcome:
    status = response.status_code
    phrase = f"{status} {response.reason_phrase}".rstrip()
    said = Reason("it answers {}", phrase)
    if status == HTTPStatus.ACCEPTED:
        return Outcome(None, Reason("it answers {}: taken on, but nobody says whether it was done", phrase), answer)
    if response.is_success:
        return Outcome(True, said, answer)
    if response.is_client_error:
        again = status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
        return Outcome(False, said, answer, again)
    return Outcome(None, said, answer, again=response.is_server_error)


async def _get(client: httpx.AsyncClient, url: str) -> JsonValue:
    """The present state; None where it can't be had. Raises ConnectionError for one that is packed."""
    try:
        async with client.stream("GET", url) as response:
            if packed := _packed(response):
                raise ConnectionError(packed)
            return await _content(response) if response.is_success else None
    except httpx.HTTPError:
        return None


def _packed(response: httpx.Response) -> str | None:
    """Why an answer is not read, if it is packed: a few bytes may become gigabytes. What its status says counts."""
    packed = response.headers.get("Content-Encoding", "identity")
    return None if packed.lower() == "identity" else f"it answers packed ({packed}), which it was asked not to"


async def _content(response: httpx.Response) -> JsonValue:
    """The JSON value, or the text; not more than READ_BYTES are read."""
    raw = bytearray()
    async for piece in response.aiter_bytes(READ_BYTES):
        raw += piece[: READ_BYTES + 1 - len(raw)]
        if len(raw) > READ_BYTES:
            break
    text = raw[:READ_BYTES].decode(response.encoding or "utf-8", "replace")
    if len(raw) > READ_BYTES:
        return text
    try:
        value: JsonValue = json.loads(raw)
    except (ValueError, RecursionError):
        return text
    return value


def _place(url: str) -> str:
    """Without what may be secret."""
    return url.partition("?")[0].rpartition("@")[2]
