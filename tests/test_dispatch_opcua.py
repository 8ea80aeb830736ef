"""Writes to a real OPC UA server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio

from streamd.dispatch import Call, send
from tests.machines import CALL, command, free_port

pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")
from asyncua import Server, ua
from asyncua.common.node import Node

from streamd.dispatch.opcua import MESSAGE_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")  # a server takes seconds to make its address space


class Plc:
    """A server with a press."""

    def __init__(self, endpoint: str, nodes: dict[str, Node]) -> None:
        self.endpoint = endpoint
        self.nodes = nodes

    def write(self, node: str, value: Any = "{rpm}", **more: Any) -> dict[str, Any]:
        return {"opcua": {"endpoint": self.endpoint, "node": f"ns=2;s={node}", "value": value, **more}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plc() -> AsyncIterator[Plc]:
    server = Server()
    await server.init()
    endpoint = f"opc.tcp://127.0.0.1:{free_port()}/press/"
    server.set_endpoint(endpoint)
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    await server.register_namespace("urn:press")
    press = await server.nodes.objects.add_object(2, "Press")
    nodes: dict[str, Node] = {}
    for name, value, kind in (
        ("Speed", 0.0, ua.VariantType.Double),
        ("Strokes", 0, ua.VariantType.UInt16),
        ("Run", False, ua.VariantType.Boolean),
        ("Mode", "idle", ua.VariantType.String),
        ("Locked", 1, ua.VariantType.Int32),
        ("Since", datetime(2026, 1, 2, 3, 4, 5), ua.VariantType.DateTime),
        ("Serial", b"P\xff2", ua.VariantType.ByteString),
    ):
        nodes[name] = await press.add_variable(f"ns=2;s={name}", name, value, kind)
        if name != "Locked":
            await nodes[name].set_writable()
    async with server:
        yield Plc(endpoint, nodes)


async def test_a_node_is_written_and_read_back(plc: Plc) -> None:
    outcome = await send(command(plc.write("Speed")), CALL)
    assert (outcome.done, outcome.answer) == (True, 95.0)
    assert await plc.nodes["Speed"].read_value() == 95.0


@pytest.mark.parametrize(
    ("node", "value", "read"), [("Strokes", 7, 7), ("Run", True, True), ("Mode", "{machine}", "press_2")]
)
async def test_a_value_takes_the_type_of_its_node(plc: Plc, node: str, value: Any, read: Any) -> None:
    assert (await send(command(plc.write(node, value)), CALL)).done is True
    assert await plc.nodes[node].read_value() == read


@pytest.mark.parametrize(
    ("node", "value", "more"),
    [
        *(("Strokes", 7.5, {}), ("Strokes", True, {}), ("Speed", "fast", {}), ("Run", 1, {}), ("Mode", True, {})),
        *(
            ("Locked", 5, {}),
            ("Nowhere", 5, {}),
            ("Mode", "{torque}", {}),
            ("Strokes", 70_000, {}),
            ("Speed", 5, {"type": "Float64"}),
        ),
    ],
)
async def test_what_a_node_does_not_take_is_not_done(plc: Plc, node: str, value: Any, more: dict[str, Any]) -> None:
    outcome = await send(command(plc.write(node, value, **more)), CALL)
    assert outcome.done is False
    assert f"ns=2;s={node} does not take {None if value == '{torque}' else value!r}" in outcome.reason


async def test_another_node_may_tell_what_came_of_it(plc: Plc) -> None:
    verify = {"node": "ns=2;s=Mode", "equals": "running"}
    await plc.nodes["Mode"].write_value("idle")
    outcome = await send(command(plc.write("Run", True, verify=verify, timeout_s=0.3)), CALL)
    assert (outcome.done, outcome.reason) == (None, "it reads idle and not running after 0.3 s")
    await plc.nodes["Mode"].write_value("running")
    assert (await send(command(plc.write("Run", True, verify=verify)), CALL)).done is True


@pytest.mark.parametrize(("node", "text"), [("Since", "2026-01-02T03:04:05+00:00"), ("Serial", "P\\xff2")])
async def test_what_json_has_not_is_read_as_text(plc: Plc, node: str, text: str) -> None:
    verify = {"node": f"ns=2;s={node}", "equals": text}
    outcome = await send(command(plc.write("Speed", verify=verify, timeout_s=2)), CALL)
    assert (outcome.done, outcome.answer) == (True, text)


async def test_a_value_that_is_too_long_is_not_read_back(plc: Plc) -> None:
    verify = {"node": "ns=2;s=Mode", "equals": "." * MESSAGE_BYTES}
    await plc.nodes["Mode"].write_value("." * MESSAGE_BYTES)
    outcome = await send(command(plc.write("Speed", 7, verify=verify, timeout_s=5)), CALL)
    assert outcome.done is None
    assert await plc.nodes["Speed"].read_value() == 7


async def test_a_server_that_is_down_is_a_failure_and_not_a_doubt() -> None:
    plc = Plc(f"opc.tcp://127.0.0.1:{free_port()}", {})
    outcome = await send(command(plc.write("Speed")), Call("c1", "x", {"rpm": 5}))
    assert outcome.done is False
    assert "can't be reached" in outcome.reason
