"""Commands to a press behind a real broker: there, away, slow, restarted in the middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from streamd.dispatch import Call, mqtt, send
from streamd.dispatch.mqtt import Broker as Address
from tests.machines import CALL, Broker, broker, command, mqtt_press
from tests.parts import until


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path) as started:
        yield started


def to_press(running: Broker, *, verify: bool = False, timeout_s: float = 5) -> dict[str, Any]:
    target: dict[str, Any] = {"broker": running.address, "topic": "press/{machine}/set", "timeout_s": timeout_s}
    if verify:
        target["verify"] = {"topic": "press/{machine}/state", "field": "rpm", "equals": "{rpm}"}
    return {"mqtt": target}


async def test_one_message_arrives_with_its_key_and_is_not_retained(running: Broker) -> None:
    async with mqtt_press(running) as heard:
        assert (await send(command(to_press(running)), CALL)).done is True
        await until(lambda: len(heard) == 1)
    (message,) = heard
    assert str(message.topic) == "press/press_2/set"
    assert (message.qos, message.retain) == (1, False)
    assert isinstance(message.payload, bytes)
    assert json.loads(message.payload) == {"machine": "press_2", "rpm": 95}
    assert message.properties is not None
    properties = message.properties.json()  # type: ignore[no-untyped-call]
    assert properties["CorrelationData"] == b"c1".hex()
    assert properties["UserProperty"] == [("idempotency-key", "c1")]
    assert 0 < properties["MessageExpiryInterval"] <= 5
    async with mqtt_press(running) as later:  # whoever connects afterwards is told nothing
        await send(command({"mqtt": {"broker": running.address, "topic": "press/other/set", "payload": "go"}}), CALL)
        await until(lambda: len(later) == 1)
    assert later[0].payload == b"go"


async def test_it_succeeds_once_the_press_says_so(running: Broker) -> None:
    async with mqtt_press(running):
        outcome = await send(command(to_press(running, verify=True)), CALL)
    assert (outcome.done, outcome.answer) == (True, 95)


async def test_what_was_retained_before_is_no_answer(running: Broker) -> None:
    async with aiomqtt.Client("127.0.0.1", running.port) as other:
        await other.publish("press/press_2/state", '{"rpm": 95}', qos=1, retain=True)
    async with mqtt_press(running, obeys=False):
        outcome = await send(command(to_press(running, verify=True, timeout_s=0.3)), CALL)
    assert outcome.done is None


async def test_a_value_cannot_lead_to_another_topic(running: Broker) -> None:
    outcome = await send(command(to_press(running)), Call("c1", "x", {"machine": "a/../b"}))
    assert (outcome.done, outcome.reason) == (False, "'a/../b' can't be a level of a topic")


async def test_a_broker_that_is_down_is_a_failure_and_not_a_doubt(running: Broker) -> None:
    running.stop()
    outcome = await send(command(to_press(running)), CALL)
    assert outcome.done is False
    assert f"the broker {running.address} can't be reached" in outcome.reason


async def test_a_broker_that_comes_back_gets_what_is_idempotent(running: Broker) -> None:
    running.stop()
    sending = asyncio.create_task(send(command(to_press(running), idempotent=True), CALL))
    await asyncio.to_thread(running.start)
    assert (await sending).done is True


async def test_a_broker_that_stops_in_the_middle_leaves_a_doubt(
    running: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "_properties", lambda target, call: running.pause())
    outcome = await send(command(to_press(running, timeout_s=0.3)), CALL)
    assert outcome.done is None


async def test_a_broker_that_dies_in_the_middle_leaves_a_doubt(
    running: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mqtt_press(running, obeys=False) as heard:
        sending = asyncio.create_task(send(command(to_press(running, verify=True, timeout_s=1)), CALL))
        await until(lambda: len(heard) == 1)
        running.stop()
        assert (await sending).done is None
    assert len(heard) == 1


async def test_a_topic_that_can_not_be_listened_to_is_a_failure_and_not_a_doubt(
    running: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe = aiomqtt.Client.subscribe

    async def paused(client: aiomqtt.Client, *arguments: Any, **more: Any) -> Any:
        running.pause()
        return await subscribe(client, *arguments, **more)

    async with mqtt_press(running) as heard:
        monkeypatch.setattr(aiomqtt.Client, "subscribe", paused)
        outcome = await send(command(to_press(running, verify=True, timeout_s=0.3)), CALL)
        running.resume()
    assert outcome.done is False
    assert "press/press_2/state of the broker" in outcome.reason
    assert heard == []


async def test_a_message_that_is_too_long_is_not_taken_in(running: Broker) -> None:
    """Both say what is wanted; the first one is never delivered."""
    async with mqtt_press(running, obeys=False) as heard, aiomqtt.Client("127.0.0.1", running.port) as machine:
        sending = asyncio.create_task(send(command(to_press(running, verify=True)), CALL))
        await until(lambda: len(heard) == 1)
        await machine.publish("press/press_2/state", '{"rpm": 95.0}' + " " * mqtt.MESSAGE_BYTES, qos=1)
        await machine.publish("press/press_2/state", '{"rpm": 95}', qos=1)
        outcome = await sending
    assert (outcome.done, outcome.reason) == (True, "it reads 95")


async def test_a_slow_broker_is_waited_for(running: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = mqtt._properties

    def pause(*arguments: Any) -> Any:
        running.pause()
        asyncio.get_running_loop().call_later(0.2, running.resume)
        return properties(*arguments)

    monkeypatch.setattr(mqtt, "_properties", pause)
    async with mqtt_press(running):
        assert (await send(command(to_press(running)), CALL)).done is True


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("plant", Address("plant", 1883, None, None, False)),
        ("10.0.0.7:1884", Address("10.0.0.7", 1884, None, None, False)),
        ("mqtts://ann:p%40ss@plant", Address("plant", 8883, "ann", "p@ss", True)),
    ],
)
def test_addresses_of_brokers(text: str, address: Address) -> None:
    assert Address.parse(text) == address


def test_an_address_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="'plant' should be host:port"):
        Address.parse("http://ann:secret@plant")
