"""OPC UA: a write to one node, read back from it or from another one. Needs the extra `opcua`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from asyncua import ua
from asyncua.client import Client
from asyncua.ua.uaerrors import UaError, UaStatusCodeError
from pydantic import JsonValue

from streamd.core.commands.definition import DispatchOpcua, Verify
from streamd.core.commands.reasons import Reason
from streamd.dispatch.base import Call, NotDone, Outcome, fill, read_back
from streamd.dispatch.plain import plain

MESSAGE_BYTES = 1_048_576  # a server is told to send no longer one
CHUNK_BYTES = 65_536

_BITS = {"SByte": 8, "Byte": 8, "Int16": 16, "UInt16": 16, "Int32": 32, "UInt32": 32, "Int64": 64, "UInt64": 64}
_SIGNED = frozenset({"SByte", "Int16", "Int32", "Int64"})


async def send(target: DispatchOpcua, call: Call) -> Outcome:
    """Done once the node reads what was written, or `verify` what it should."""
    client = Client(target.endpoint, timeout=target.timeout_s)
    client.max_messagesize, client.max_chunkcount = MESSAGE_BYTES, MESSAGE_BYTES // CHUNK_BYTES
    try:
        await client.connect()
    except (OSError, TimeoutError, UaError) as error:
        why = Reason("{} can't be reached: {}", target.endpoint, str(error) or type(error).__name__)
        raise NotDone(why, again=True) from error
    try:
        node = client.get_node(target.node)
        value = fill(target.value, call.params)
        try:
            kind = ua.VariantType[target.type] if target.type else await node.read_data_type_as_variant_type()
            await node.write_value(ua.DataValue(ua.Variant(_typed(value, kind), kind)))
        except (UaStatusCodeError, KeyError, ValueError, TypeError) as error:
            shown = value if isinstance(value, int | float) else repr(value)
            raise NotDone(Reason("{} does not take {}: {}", target.node, shown, error)) from error
        verify = target.verify or Verify(equals=value)
        seen = client.get_node(verify.node) if verify.node else node
        return await read_back(lambda: _read(seen), verify, call, target.timeout_s)
    finally:
        await asyncio.shield(_leave(client))


def _typed(value: Any, kind: ua.VariantType) -> Any:
    """JSON knows one kind of number and OPC UA ten. Raises ValueError for what does not fit."""
    if value is None:
        raise ValueError("it was not said")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if bits := _BITS.get(kind.name):
        least = -(2 ** (bits - 1)) if kind.name in _SIGNED else 0
        if not number or value != int(value) or not least <= value < least + 2**bits:
            raise ValueError(f"it is no {kind.name}")
        return int(value)
    if kind in (ua.VariantType.Float, ua.VariantType.Double):
        if not number:
            raise ValueError(f"it is no {kind.name}")
        return float(value)
    if (kind is ua.VariantType.Boolean) is not isinstance(value, bool):
        raise ValueError(f"it is no {kind.name}")
    return value


async def _read(node: Any) -> JsonValue:
    return plain(await node.read_value())


async def _leave(client: Client) -> None:
    with contextlib.suppress(OSError, TimeoutError, UaError):  # the server may have gone first
        await client.disconnect()
