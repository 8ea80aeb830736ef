"""Tools of a real MCP server."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from streamd.dispatch import send
from tests.machines import CALL, command, free_port

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from streamd.dispatch.mcp import READ_BYTES


class Tools:
    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[tuple[str, int, Any]] = []
        self.rpm = 0

    def call(self, tool: str, **more: Any) -> dict[str, Any]:
        return {"mcp": {"server": self.url, "tool": tool, **more}}


@pytest_asyncio.fixture(params=[True, False], ids=["single answers", "event streams"])
async def tools(request: pytest.FixtureRequest) -> AsyncIterator[Tools]:
    """A server of each kind: without sessions, or with sessions and events for answers, as is the default."""
    port = free_port()
    found = Tools(f"http://127.0.0.1:{port}/mcp")
    server = MCPServer("press")

    @server.tool()
    async def set_speed(machine: str, rpm: int, ctx: Context[Any, Any]) -> str:
        meta = ctx.request_context.meta or {}
        found.calls.append((machine, rpm, meta.get("streamd/idempotency-key")))
        found.rpm = rpm
        return "done"

    @server.tool()
    async def broken(machine: str, rpm: int) -> str:
        found.calls.append((machine, rpm, None))
        raise ToolError("the press is busy")

    @server.tool()
    async def never(rpm: int) -> str:
        found.calls.append(("", rpm, None))
        await asyncio.Event().wait()
        return ""

    @server.tool()
    async def state() -> dict[str, int]:
        return {"rpm": found.rpm}

    @server.tool()
    async def talks() -> str:
        return "." * READ_BYTES

    @server.tool()
    async def unread() -> str:
        raise ToolError("no state")

    app = server.streamable_http_app(stateless_http=request.param, json_response=request.param)
    http = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", timeout_graceful_shutdown=1))
    task = asyncio.create_task(http._serve())  # without its signal handlers
    while not http.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield found
    http.should_exit = True
    await task


async def test_a_tool_is_called_with_the_parameters_and_the_key(tools: Tools) -> None:
    outcome = await send(command(tools.call("set_speed")), CALL)
    assert (outcome.done, outcome.answer) == (True, "done")
    assert tools.calls == [("press_2", 95, "c1")]


async def test_arguments_may_be_others_than_the_parameters(tools: Tools) -> None:
    await send(command(tools.call("set_speed", arguments={"machine": "P-{rpm}", "rpm": "{rpm}"})), CALL)
    assert tools.calls[0][:2] == ("P-95", 95)


async def test_it_succeeds_once_another_tool_reads_what_it_should(tools: Tools) -> None:
    verify = {"tool": "state", "field": "rpm", "equals": "{rpm}"}
    assert (await send(command(tools.call("set_speed", verify=verify)), CALL)).reason == "it reads 95"


async def test_a_tool_that_can_not_read_has_read_nothing(tools: Tools) -> None:
    verify = {"tool": "unread", "equals": "Error executing tool unread: no state"}
    outcome = await send(command(tools.call("set_speed", verify=verify, timeout_s=0.3)), CALL)
    assert (outcome.done, outcome.reason) == (None, "it can't be read after 0.3 s")


async def test_a_tool_that_says_no_has_failed(tools: Tools) -> None:
    outcome = await send(command(tools.call("broken")), CALL)
    assert outcome.done is False
    assert "the press is busy" in outcome.reason


async def test_an_answer_that_is_too_long_leaves_a_doubt(tools: Tools) -> None:
    outcome = await send(command(tools.call("talks", arguments={}, timeout_s=5)), CALL)
    assert outcome.done is None
    assert f"it answers more than {READ_BYTES} bytes" in outcome.reason


async def test_packed_answers_are_not_read() -> None:
    """They come from a server that was asked for none, and would have no bound."""

    async def pack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = gzip.compress(b" " * READ_BYTES)
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length:"
        writer.write(f"{head} {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(pack, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        outcome = await send(command(Tools(url).call("set_speed")), CALL)
    assert "it answers packed (gzip)" in outcome.reason


async def test_what_is_too_long_is_not_read_back(tools: Tools) -> None:
    verify = {"tool": "talks", "equals": "." * READ_BYTES}
    outcome = await send(command(tools.call("set_speed", verify=verify, timeout_s=5)), CALL)
    assert outcome.done is None
    assert len(tools.calls) == 1


async def test_a_tool_that_does_not_answer_leaves_a_doubt(tools: Tools) -> None:
    outcome = await send(command(tools.call("never", arguments={"rpm": 5}, timeout_s=0.4)), CALL)
    assert outcome.done is None
    assert len(tools.calls) == 1


async def test_a_server_that_is_down_is_a_failure_and_not_a_doubt() -> None:
    nowhere = Tools(f"http://127.0.0.1:{free_port()}/mcp")
    outcome = await send(command(nowhere.call("set_speed")), CALL)
    assert outcome.done is False
    assert "can't be reached" in outcome.reason
