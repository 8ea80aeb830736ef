"""Where a confirmed command goes: a Python callable, HTTP, MQTT, an MCP tool, OPC UA. Never a shell."""

from __future__ import annotations

from streamd.dispatch.base import Call, NotDone, Outcome
from streamd.dispatch.dispatcher import ready, send

__all__ = ["Call", "NotDone", "Outcome", "ready", "send"]
