"""MCP tools over Streamable HTTP. Needs the extra `mcp`. What a server says of its tools decides nothing here."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from functools import cache

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from pydantic import JsonValue

from streamd.bridge import in_thread
from streamd.core.commands.definition import DispatchMcp
from streamd.core.commands.reasons import Reason
from streamd.dispatch.base import Call, NotDone, Outcome, fill, read_back

READ_BYTES = 1_048_576  # of one response; the list of a server's tools is one, too


async def send(target: DispatchMcp, call: Call) -> Outcome:
    """Done if the tool says no error, and `verify` reads what it should."""
    arguments = dict(call.params) if target.arguments is None else fill(dict(target.arguments), call.params)
    assert isinstance(arguments, dict)
    called = False
    try:
        believed = await in_thread(authorities)
        async with (
            httpx2.AsyncClient(
                headers={"Accept-Encoding": "identity"},  # what is packed has no bound
                timeout=target.timeout_s,
                verify=believed,
                trust_env=False,
                event_hooks={"response": [_bound]},
            ) as http,
            Client(
                streamable_http_client(target.server, http_client=http), read_timeout_seconds=target.timeout_s
            ) as client,
        ):
            called = True
            meta: types.RequestParamsMeta = {"streamd/idempotency-key": call.command_id}  # type: ignore[typeddict-unknown-key]  # names with a prefix are anybody's
            result = await client.call_tool(target.tool, arguments, meta=meta)
            answer = _content(result)
            if result.is_error:
                return Outcome(False, Reason("the tool {} says: {}", target.tool, answer), answer)
            if target.verify is None or target.verify.tool is None:
                return Outcome(True, Reason("the tool {} says that it is done", target.tool), answer)
            tool = target.verify.tool
            return await read_back(lambda: _read(client, tool), target.verify, call, target.timeout_s)
    except* (OSError, httpx2.HTTPError, anyio.ClosedResourceError, anyio.BrokenResourceError, MCPError) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if called:
            raise ConnectionError(str(error)) from error
        raise NotDone(Reason("{} can't be reached: {}", target.server, error), again=True) from error
    raise AssertionError("unreachable")


@cache
def authorities() -> ssl.SSLContext:
    """Whom to believe who a server is. Blocks while they are read."""
    return httpx2.create_ssl_context()


async def _bound(response: httpx2.Response) -> None:
    if (packed := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise httpx2.ReadError(f"it answers packed ({packed}), which it was asked not to")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """The bytes of a response, until they are too many. Raises ReadError then."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._stream:
            read += len(piece)
            if read > READ_BYTES:
                raise httpx2.ReadError(f"it answers more than {READ_BYTES} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _read(client: Client, tool: str) -> JsonValue:
    """What the tool says; None where it says that it can't."""
    result = await client.call_tool(tool, {})
    return None if result.is_error else _content(result)


def _content(result: types.CallToolResult) -> JsonValue:
    if result.structured_content is not None:
        value: JsonValue = result.structured_content.get("result", result.structured_content)
        return value
    text = "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))
    try:
        parsed: JsonValue = json.loads(text)
    except ValueError:
        return text
    return parsed
