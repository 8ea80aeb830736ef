"""Spoken commands and the whole daemon: carried out once, whatever kills it, and accounted for in the end."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

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


ROBOT = """
commands:
  go:
    sentences: ["go forward {{metres}} (meter|meters)"]
    params: {{metres: {{type: integer, minimum: 1, maximum: 20}}}}
    dispatch: {{http: {{url: "{url}/go", body: {{metres: "{{metres}}"}}}}}}
    undo: {{http: {{url: "{url}/back", body: {{metres: "{{metres}}"}}}}}}
"""
VOICE = Path(__file__).parents[1] / "data/commands"


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
    ) -> None:
        """Without texts the model hears."""
        self.machine = machine
        self.reader = Client()
        (folder / "pack.yaml").write_text(pack.format(url=machine.url))
        (folder / "script.json").write_text(json.dumps({"utterances": [*texts, "we had eggs"]}))
        order = folder / "kill"
        order.write_text(point)
        stage = (f"pipeline.commands.pack={folder}/pack.yaml", f"engines.scripted.script={folder}/script.json", *sets)
        self.daemon = Daemon(
            folder,
            *("--source", "none", "--pipeline", "commands", *(SCRIPTED if texts else WHOLE)),
            *(part for each in stage for part in ("--set", each)),
            model=model,
            program=KILLED,
            environment={"KILL_AT": str(order), "PYTHONPATH": str(Path(__file__).parents[2])},
        )

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
    def is_settled(self) -> bool:
        """The command is at its end, or people are asked what came of it."""
        return bool(OVER.intersection(self.states)) or any(told.confirm == "outcome" for told in self.told)

    async def press_button(self, answer: str = "confirm") -> None:
        """Answer what is asked; the daemon may die of it."""
        address = f"{self.daemon.url}/v1/sessions/default/commands/{self.told[-1].command_id}/{answer}"
        async with httpx.AsyncClient(trust_env=False) as client:
            with suppress(httpx.HTTPError):
                assert (await client.post(address)).status_code == 200

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
            await reader.until(lambda: plant.is_settled)
            if plant.told[-1].confirm == "outcome":
                assert plant.told[-1].reason == "the daemon was restarted while it was under way"
                await plant.press_button("confirm" if posts else "deny")
                await reader.until(lambda: plant.states[-1] in ("succeeded", "failed"))
    assert len(machine.posts) == posts, "it is not sent again"
    unsent = "rejected" if point == "appended:proposed" else "expired"  # the journal has its words only
    assert plant.states[-1] == ("succeeded" if posts else "failed" if point in BETWEEN[1:] else unsent)
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
