"""MQTT 5: one message with QoS 1, never retained, and void when it is too old to be delivered.

A retained command would be carried out by whatever connects next. The message expiry makes a broker drop one that
waits for a machine that is away. https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import JsonValue

from streamd.core.commands.definition import DispatchMqtt
from streamd.core.commands.reasons import Reason
from streamd.dispatch.base import Call, NotDone, Outcome, fill, read_back

PORT, TLS_PORT = 1883, 8883
WAITING_MESSAGES = 64  # on the topic that is read back; of more, aiomqtt drops the newest
MESSAGE_BYTES = 65_536  # a longer one is not delivered by the broker


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is: `[mqtt[s]://][user:password@]host[:port]`."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool

    @classmethod
    def parse(cls, text: str) -> Broker:
        """Raises ValueError for what is no such address."""
        parts = urlsplit(text if "://" in text else f"mqtt://{text}")
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"broker {text.rpartition('@')[2]!r} should be host:port, or mqtts://user:password@host")
        tls = parts.scheme == "mqtts"
        user, password = (None if value is None else unquote(value) for value in (parts.username, parts.password))
        return cls(parts.hostname, parts.port or (TLS_PORT if tls else PORT), user, password, tls)


async def send(target: DispatchMqtt, call: Call) -> Outcome:
    """Published and acknowledged by the broker; with `verify`, until the machine says so on its own topic."""
    topic = fill(target.topic, call.params, _one_level)
    payload = fill(target.payload, call.params) if target.payload is not None else dict(call.params)
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    client = _client(target)
    try:
        await client.__aenter__()
    except aiomqtt.MqttError as error:
        raise NotDone(Reason("the broker {} can't be reached: {}", _place(target), error), again=True) from error
    try:
        await _listen(client, target, call)
        await client.publish(topic, text, qos=1, retain=False, properties=_properties(target, call))
        if target.verify is None or target.verify.topic is None:
            taken = Reason("the broker has taken it for {}; the machine does not say whether it was done", topic)
            return Outcome(True, taken)
        messages = aiter(client.messages)
        return await read_back(lambda: _next(messages), target.verify, call, target.timeout_s, poll_s=0)
    finally:
        await asyncio.shield(_leave(client))


async def _listen(client: aiomqtt.Client, target: DispatchMqtt, call: Call) -> None:
    """To what the machine says of itself. Raises NotDone, as nothing is published yet."""
    if target.verify is None or target.verify.topic is None:
        return
    topic = fill(target.verify.topic, call.params, _one_level)
    try:
        await client.subscribe(topic, qos=1)
    except aiomqtt.MqttError as error:
        reason = Reason("{} of the broker {} can't be listened to: {}", topic, _place(target), error)
        raise NotDone(reason, again=True) from error


def _client(target: DispatchMqtt) -> aiomqtt.Client:
    broker = Broker.parse(target.broker)
    return aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.user,
        password=broker.password,
        protocol=aiomqtt.ProtocolVersion.V5,
        timeout=target.timeout_s,
        max_queued_incoming_messages=WAITING_MESSAGES,
        properties=_bounds(),
        tls_params=aiomqtt.TLSParameters() if broker.tls else None,
    )


def _bounds() -> Properties:
    bounds = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    bounds.MaximumPacketSize = MESSAGE_BYTES
    return bounds


async def _leave(client: aiomqtt.Client) -> None:
    with contextlib.suppress(aiomqtt.MqttError):  # the broker may have gone first
        await client.__aexit__(None, None, None)


def _properties(target: DispatchMqtt, call: Call) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = max(1, math.ceil(target.timeout_s))  # seconds
    properties.CorrelationData = call.command_id.encode()
    properties.UserProperty = ("idempotency-key", call.command_id)
    return properties


async def _next(messages: AsyncIterator[aiomqtt.Message]) -> JsonValue:
    """What the machine says next. What was retained before is no answer."""
    async for message in messages:
        if not message.retain:
            payload = bytes(message.payload) if isinstance(message.payload, bytes | bytearray) else message.payload
            text = payload.decode(errors="replace") if isinstance(payload, bytes) else str(payload)
            try:
                value: JsonValue = json.loads(text)
            except ValueError:
                return text
            return value
    return None


def _one_level(value: str) -> str:
    """A parameter must not lead to another topic. Raises NotDone."""
    if not value or any(character in value for character in "/+#\0"):
        raise NotDone(Reason("{} can't be a level of a topic", repr(value)))
    return value


def _place(target: DispatchMqtt) -> str:
    return target.broker.rpartition("@")[2]
