"""Spoken commands and the whole daemon: carried out once, whatever kills it, and accounted for in the end."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from streamd.commands.hear import sound
from streamd.core.events import Command
from streamd.store import Entry, Journal, broken
from tests.e2e.clients import Client, reading, speaking
from tests.e2e.daemon import PATIENCE_S, SCRIPTED, WHOLE, Daemon
from tests.machines import Press, press
from tests.speech import recording

SOUND = recording("goforward").pcm.tobytes() + bytes(2 * 32_000)
KILLED = (str(Path(__file__).with_name("killed.py")),)
OVER = {"succeeded", "failed", "denied", "expired", "rejected"}
PACK = """
commands:
  set_speed:
    sentences: ["set press two to {{speed}}"]
    params: {{speed: {{type: number, minimum: 0, maximum: 120, unit: rpm}}}}
    dispatch: {{http: {{url: "{url}", body: {{rpm: "{{speed}}"}}, timeout_s: 20}}}}
  stop_line:
    sentences: ["stop the line"]
    safety: {{risk: low, retract_ms: 0}}
    dispatch: {{http: {{url: "{url}"}}}}
"""


@pytest.fixture
def machine() -> Iterator[Press]:
    with press() as running:
        yield running


LINE = """
commands:
  set_speed:
    sentences: ["set press two to {{speed}}"]
    params: {{speed: {{type: number, minimum: 0, maximum: 120, unit: rpm}}}}
    dispatch: {{http: {{url: "{url}"}}}}
  lower_lid:
    sentences: ["lower the lid"]
    safety: {{confirm_ttl_s: 0.3}}
    dispatch: {{http: {{url: "{url}"}}}}
  close_guard:
    sentences: ["close the guard"]
    safety: {{interlock: {{hands: away}}}}
    dispatch: {{http: {{url: "{url}"}}}}
  light_on:
    sentences: ["light on"]
    safety: {{risk: low, retract_ms: 50}}
    dispatch: {{http: {{url: "{url}"}}}}
  open_guard:
    sentences: ["open the guard"]
    safety: {{risk: forbidden}}
  start_press:
    sentences: ["start the press"]
    safety: {{risk: two_person}}
    dispatch: {{http: {{url: "{url}"}}}}
"""
ROBOT = """
commands:
  go:
    sentences: ["go forward {{metres}} (meter|meters)"]
    params: {{metres: {{type: integer, minimum: 1, maximum: 20}}}}
    dispatch: {{http: {{url: "{url}/go", body: {{metres: "{{metres}}"}}}}}}
    undo: {{http: {{url: "{url}/back", body: {{metres: "{{metres}}"}}}}}}
"""
VOICE = Path(__file__).parents[1] / "data/answers"


@pytest.fixture(scope="module")
def voice() -> dict[str, bytes]:
    return {path.stem: sound(path).tobytes() + bytes(2 * 32_000) for path in VOICE.glob("*.flac")}


class Plant:
    """A daemon that hears what it is told to, a machine, and somebody who watches and presses the button."""

    def __init__(
        self,
        folder: Path,
        machine: Press,
        *texts: str,
        pack: str = PACK,
        model: Path | None = None,
        point: str = "",
        sets: tuple[str, ...] = (),
        token: str = "",
    ) -> None:
        """Without texts the model hears."""
        self.machine = machine
        self.reader = Client()
        (folder / "pack.yaml").write_text(pack.format(url=machine.url))
        self._script, self._order = folder / "script.json", folder / "kill"
        self.hears(*texts)
        self.dies_at(point)
        stage = (f"pipeline.commands.pack={folder}/pack.yaml", f"engines.scripted.script={folder}/script.json", *sets)
        self.daemon = Daemon(
            folder,
            *("--source", "none", "--pipeline", "commands", *(SCRIPTED if texts else WHOLE)),
            *(part for each in stage for part in ("--set", each)),
            model=model,
            program=KILLED,
            token=token,
            environment={"KILL_AT": str(self._order), "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def hears(self, *texts: str) -> None:
        """In its next life."""
        self._script.write_text(json.dumps({"utterances": [*texts, "we had eggs"]}))

    def dies_at(self, point: str) -> None:
        self._order.write_text(point)

    @asynccontextmanager
    async def life(self) -> AsyncIterator[Client]:
        self.daemon.start()
        async with reading(self.daemon, reader=self.reader):
            yield self.reader

    @property
    def told(self) -> list[Command]:
        return self.reader.bodies(Command)

    @property
    def states(self) -> list[str]:
        return [told.state for told in self.told]

    @property
    def newest(self) -> dict[str, Command]:
        """What was told last of each command."""
        return {told.command_id: told for told in self.told}

    @property
    def is_settled(self) -> bool:
        """Every command is at its end, or people are asked what came of it."""
        return all(told.state in OVER or told.confirm == "outcome" for told in self.newest.values())

    async def press_button(self, answer: str = "confirm", token: str | None = None) -> None:
        """Answer what is asked; the daemon may die of it."""
        await self._ask("POST", f"sessions/default/commands/{self.told[-1].command_id}/{answer}", token)

    async def tell_state(self, **values: str) -> None:
        await self._ask("PUT", "states", **values)

    async def _ask(self, method: str, path: str, token: str | None = None, **values: str) -> None:
        address = httpx.URL(f"{self.daemon.url}/v1/{path}", params=values | {"token": token or self.daemon.token})
        async with httpx.AsyncClient(trust_env=False) as client:
            with suppress(httpx.HTTPError):
                assert (await client.request(method, address)).status_code == 200

    async def watch(self) -> str:
        """Confirm what is asked, until the command has come to its end or the daemon to its own."""
        reader, confirmed = self.reader, False
        while reader.code is None and not OVER.intersection(self.states):
            if self.states[-1:] == ["awaiting_confirmation"] and not confirmed:
                confirmed = True
                await self.press_button()
            else:
                await reader._changed.wait()
        return "killed" if reader.code is not None else self.states[-1]

    async def audit(self) -> list[Entry]:
        return await asyncio.to_thread(self._audit)

    def _audit(self) -> list[Entry]:
        with closing(Journal.read(self.daemon.journal)) as journal:
            return list(journal.audit())


async def test_what_is_confirmed_is_done_once(tmp_path: Path, machine: Press) -> None:
    plant = Plant(tmp_path, machine, "set press two to ninety five")
    with plant.daemon:
        async with plant.life(), speaking(plant.daemon) as speaker:
            await speaker.say(SOUND)
            assert await plant.watch() == "succeeded"
        assert plant.daemon.metric("streamd_commands_total", state="succeeded") == 1
    assert plant.states == ["proposed", "awaiting_confirmation", "confirmed", "dispatched", "succeeded"]
    (post,) = machine.posts
    assert (post.body, post.key) == ({"rpm": 95}, plant.told[0].command_id)
    rows = await plant.audit()
    assert broken(rows) is None
    assert [json.loads(row.record).get("state") for row in rows] == plant.states
    assert json.loads(rows[0].note)["heard"] == "set press two to ninety five"


@pytest.mark.model
async def test_what_was_done_is_taken_back_by_voice_once(
    tmp_path: Path, machine: Press, tiny_en: Path, voice: dict[str, bytes]
) -> None:
    """Heard by a real model: an order, yes to the question, "undo that", yes again, and "undo that" again."""
    plant = Plant(tmp_path, machine, pack=ROBOT, model=tiny_en)
    with plant.daemon:
        async with plant.life() as reader, speaking(plant.daemon) as speaker:
            for order in (SOUND, voice["undo_that"]):
                await speaker.say(order)
                await reader.until(lambda: plant.states[-1:] == ["awaiting_confirmation"])
                await speaker.say(voice["yes"])
                await reader.until(lambda: plant.states[-1] == "succeeded")
            await speaker.say(voice["undo_that"])
            await reader.until(lambda: plant.states[-1] == "rejected")
    prompts = [told.prompt for told in plant.told if told.prompt]
    assert prompts[1] == "Take back “go forward 10 meters”? (go.undo: metres = 10)"
    assert plant.told[-1].reason == "the definition of go.undo has no undo"
    ids = list(dict.fromkeys(told.command_id for told in plant.told))
    assert [(post.path, post.body, post.key) for post in machine.posts] == [
        ("/go", {"metres": 10}, ids[0]),
        ("/back", {"metres": 10}, ids[1]),
    ]
    rows = await plant.audit()
    assert broken(rows) is None


BEFORE = ("appended:proposed", "journalled:awaiting_confirmation", "appended:confirmed")
BETWEEN = ("appended:dispatched", "journalled:dispatched", "sending")
AFTER = ("sent", "appended:succeeded", "journalled:succeeded")


@pytest.mark.parametrize("point", [*BEFORE, *BETWEEN, *AFTER])
async def test_kill_at_every_step_sends_once_at_most_and_leaves_nothing_open(
    tmp_path: Path, machine: Press, point: str
) -> None:
    plant = Plant(tmp_path, machine, "set press two to ninety five", point=point)
    with plant.daemon:
        async with plant.life(), speaking(plant.daemon) as speaker:
            await speaker.say(SOUND)
            assert await plant.watch() == "killed"
        plant.daemon.wait()
        posts = len(machine.posts)
        assert posts == (1 if point in AFTER else 0)
        async with plant.life() as reader:
            await reader.until(lambda: plant.told and plant.is_settled)
            if plant.told[-1].confirm == "outcome":
                assert plant.told[-1].reason == "the daemon was restarted while it was under way"
                await plant.press_button("confirm" if posts else "deny")
                await reader.until(lambda: plant.states[-1] in ("succeeded", "failed"))
    assert len(machine.posts) == posts, "it is not sent again"
    unsent = "rejected" if point == "appended:proposed" else "expired"  # the journal has its words only
    assert plant.states[-1] == ("succeeded" if posts else "failed" if point in BETWEEN[1:] else unsent)
    await check_audit(plant)


TOKENS = ("anna:a-long-secret-1", "bert:a-long-secret-2")


class Way(NamedTuple):
    """What is ordered, what people do about it, what the machine answers; and where the daemon is killed on the way."""

    order: str
    answers: Sequence[str]
    points: Sequence[str]
    machine: int | None = 200


def both(step: str) -> list[str]:
    return [f"appended:{step}", f"journalled:{step}"]


ASKED = [
    Way("set press two to 95", ["confirm"], ["journalled:proposed", *both("awaiting_confirmation")[:1]]),
    Way("set press two to 95", ["deny"], both("denied")),
    Way("lower the lid", [], both("expired")),
    Way("start the press", ["confirm", "by another"], [*both("second"), "journalled:confirmed"]),
]
STOPPED = [
    Way("open the guard", [], both("rejected")),
    Way("close the guard", ["after a hand"], both("rejected")),
    Way("light on", [], ["appended:proposed", "journalled:confirmed"]),
]
SENT = [
    Way("set press two to 95", ["confirm"], both("failed"), machine=409),
    Way("set press two to 95", ["confirm"], both("doubt"), machine=None),
]


@pytest.mark.parametrize("ways", [ASKED, STOPPED, SENT], ids=["asked", "stopped", "sent"])
async def test_kill_at_every_other_transition_sends_once_at_most_and_leaves_nothing_open(
    tmp_path: Path, machine: Press, ways: list[Way]
) -> None:
    """Each life but the last is killed on the way of one command, and the next one has to account for it."""
    sets = (f"server.tokens.operator={json.dumps(TOKENS)}",)
    plant = Plant(tmp_path, machine, "", pack=LINE, sets=sets, token=TOKENS[0])
    killed = 0
    with plant.daemon:
        for way, point in ((each, point) for each in ways for point in each.points):
            plant.hears(way.order)
            async with plant.life():
                await account_for(plant, killed)
                machine.answers[:] = [way.machine]
                await plant.tell_state(hands="away")
                plant.dies_at(point)
                told_before = len(plant.told)
                async with speaking(plant.daemon) as speaker:
                    await speaker.say(SOUND)
                    await take_part(plant, way.answers, told_before)
            plant.daemon.wait()
            killed += 1
        async with plant.life():
            await account_for(plant, killed)
    await check_audit(plant)


async def take_part(plant: Plant, answers: Sequence[str], answered: int) -> None:
    """Answer what is asked, until the daemon is killed. So many events had been told before."""
    left = list(answers)
    while plant.reader.code is None:
        if left and len(plant.told) > answered and plant.states[-1] == "awaiting_confirmation":
            answered, answer = len(plant.told), left.pop(0)
            if answer == "after a hand":
                await plant.tell_state(hands="inside")
            token = TOKENS[1] if answer == "by another" else None
            await plant.press_button("deny" if answer == "deny" else "confirm", token)
        else:
            await plant.reader._changed.wait()


async def account_for(plant: Plant, commands: int) -> None:
    """All of them have come to an end, or people are asked, and say what they see. The machine knows each one once."""
    keys = [post.key for post in plant.machine.posts]
    assert len(keys) == len(set(keys))
    await plant.reader.until(lambda: len(plant.newest) == commands and plant.is_settled)
    if plant.told and plant.told[-1].confirm == "outcome":
        await plant.press_button("confirm" if plant.told[-1].command_id in keys else "deny")
        await plant.reader.until(lambda: plant.states[-1] in OVER)
    done = {key for key, told in plant.newest.items() if told.state == "succeeded"}
    unsent = {key for key, told in plant.newest.items() if told.state in ("denied", "expired", "rejected")}
    assert done <= set(keys)
    assert unsent.isdisjoint(keys)
    assert [post.key for post in plant.machine.posts] == keys, "it is not sent again"


async def check_audit(plant: Plant) -> None:
    """It is whole, and has what readers were told."""
    rows = await plant.audit()
    assert broken(rows) is None
    assert [row.record for row in rows if row.kind == "command"] == [
        event.json for event in plant.reader.told if isinstance(event.body, Command)
    ]


async def test_the_daemon_may_die_while_the_machine_works(tmp_path: Path, machine: Press) -> None:
    machine.gate.clear()
    arrived = threading.Event()
    machine.on_request = arrived.set
    plant = Plant(tmp_path, machine, "stop the line")
    with plant.daemon:
        async with plant.life() as reader, speaking(plant.daemon) as speaker:
            await speaker.say(SOUND)
            assert await asyncio.to_thread(arrived.wait, PATIENCE_S)
            plant.daemon.kill()
            await reader.until_closed()
        machine.gate.set()
        async with plant.life() as reader:
            await reader.until(lambda: plant.told[-1].confirm == "outcome")
            await plant.press_button()
            await reader.until(lambda: plant.states[-1] == "succeeded")
    assert len(machine.posts) == 1
    assert plant.told[-1].by == "operator"


async def test_stopping_voids_what_is_asked(tmp_path: Path, machine: Press) -> None:
    plant = Plant(tmp_path, machine, "set press two to ninety five")
    with plant.daemon:
        async with plant.life() as reader, speaking(plant.daemon) as speaker:
            await speaker.say(SOUND)
            await reader.until(lambda: plant.states[-1:] == ["awaiting_confirmation"])
            plant.daemon.signal(signal.SIGTERM)
            assert await reader.until_closed() == 1001
        assert plant.daemon.wait() == 0
        async with plant.life() as reader:
            await reader.until(lambda: plant.states[-1] == "expired")
    assert machine.posts == []


async def test_shadow_mode_sends_nothing_and_counts(tmp_path: Path, machine: Press) -> None:
    plant = Plant(tmp_path, machine, "stop the line", sets=("pipeline.commands.shadow=true",))
    with plant.daemon:
        async with plant.life() as reader, speaking(plant.daemon) as speaker:
            await speaker.say(SOUND)
            await reader.until(lambda: plant.states[-1:] == ["rejected"])
        assert plant.told[-1].shadow
        assert "would have been sent" in str(plant.told[-1].reason)
    assert machine.posts == []
