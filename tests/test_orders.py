"""What a daemon has to have before it takes commands, and how it understands them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from streamd import daemon
from streamd.bridge import EngineFailed, EngineHost
from streamd.core.commands.decide import Verdict
from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar
from streamd.core.commands.hearing import Choices, Comparison, Comparisons
from streamd.core.commands.second import declared
from streamd.core.commands.states import States
from streamd.core.events import Final
from streamd.core.route import Role
from streamd.engines.base import Context, EngineSpec
from streamd.errors import ConfigError
from streamd.metrics import Metrics
from streamd.orders import BySound, ByText, Orders, Seconded, Understood, orders
from streamd.router import Router
from streamd.settings import CommandsStage, Pipeline, Server, Settings, Store, Tokens
from streamd.specs import Hearing
from streamd.transcriber import Reading
from tests.packs import press_line
from tests.speech import recording

PACK = """
commands:
  both: {sentences: ["start it"], safety: {risk: two_person}}
  read: {sentences: ["read it"], safety: {risk: read}}
"""


def settings(path: Path, **more: object) -> Settings:
    pack = path / "pack.yaml"
    pack.write_text(PACK)
    stage = CommandsStage(pack=str(pack), by="text", shadow=True, role="operator", state_max_age_s=3)
    return Settings.model_validate(
        {"pipeline": Pipeline(commands=stage), "store": Store(path=path / "journal.sqlite3"), **more}
    )


def test_without_a_pack_there_are_none() -> None:
    assert orders(Settings()) is None


def test_the_stage_decides(tmp_path: Path) -> None:
    shared = orders(settings(tmp_path))
    assert shared is not None
    assert (shared.shadow, shared.role, len(shared.grammar)) == (True, "operator", 12)
    shared.states.tell({"guard": "closed"}, 0)
    assert shared.states.current(3_000) == {"guard": "closed"}
    assert shared.states.current(3_001) == {}


def test_commands_need_the_journal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="commands need the journal"):
        orders(settings(tmp_path, store=Store(path=None)))


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ("{sentences: [light on], safety: {risk: low}, tests: {reject: [light on]}}", "“light on” should be rejected"),
        ("{sentences: [light on], tests: {accept: [light off]}}", "“light off” should be a"),
        ("{sentences: [light on], dispatch: {mqtt: {topic: '{x}'}}}", "{x} is no parameter of a"),
    ],
)
def test_a_pack_that_fails_its_own_tests_is_not_used(tmp_path: Path, pack: str, reason: str) -> None:
    stated = settings(tmp_path)
    Path(stated.pipeline.commands.pack).write_text(f"commands:\n  a: {pack}\n")
    with pytest.raises(ConfigError, match=rf"pack.yaml:2: commands\.a\..*{reason}"):
        orders(stated)


def test_two_persons_need_two_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    orders(settings(tmp_path))
    assert "both can't be confirmed: it takes tokens of two persons" in caplog.text
    caplog.clear()
    tokens = Tokens(operator=("anna:a-long-secret-1", "anna:a-long-secret-2"))
    orders(settings(tmp_path, server=Server(tokens=tokens)))
    assert "both can't be confirmed" in caplog.text, "they are one person's"
    caplog.clear()
    tokens = Tokens(operator=("anna:a-long-secret-1", "a-long-secret-2"))
    orders(settings(tmp_path, server=Server(tokens=tokens)))
    assert caplog.text == ""


ROBOT = Grammar(
    Pack.model_validate(
        {
            "commands": {
                "go": {
                    "name": "go",
                    "sentences": {"en": ["go (forward|back) {metres} (meter|meters)"], "de": ["fahr {metres} Meter"]},
                    "params": {"metres": {"type": "integer", "minimum": 1, "maximum": 20}},
                    "safety": {"risk": "low"},
                }
            }
        }
    )
)


SOUNDS = {name: recording(name).pcm.tobytes() for name in ("goforward", "jfk")}


def said(text: str, sound: str = "goforward", seconds: float | None = None) -> Reading:
    final = Final(utterance=1, start_ms=0, end_ms=1, text=text, language="en", engine="scripted")
    pcm = SOUNDS[sound] if seconds is None else bytes(round(seconds * 32_000))
    return Reading(final, (), pcm, Context())


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        ("fahr 30 Meter", "de", "metres: 30 ist mehr als höchstens 20; am nächsten kommt: „fahr 3 meter“"),
        ("go back 30 meters", "en", "metres: 30 is greater than the maximum of 20; nearest: “go back 3 meters”"),
        (
            "go back on meters",
            "en",
            "no command says this: “on” is no number for metres; nearest: “go back 1 meters”",
        ),
        (
            "Fahr paar Meter",
            "de",
            "so lautet kein Befehl: „paar“ ist keine Zahl für metres; am nächsten kommt: „fahr 1 meter“",
        ),
        ("fahr nicht 3 Meter", "de", "kein Befehl, verneint: „nicht“; am nächsten kommt: „fahr 3 meter“"),
    ],
)
def test_what_is_rejected_is_told_in_the_language_of_the_order(text: str, language: str, reason: str) -> None:
    understood = ByText(ROBOT)._judge(text, None)
    assert understood.rejected("c1", 1, language, shadow=False).reason == reason


@pytest.mark.parametrize(
    ("languages", "spoken", "told"),
    [(("de", "en"), "de", "de"), (("de", "en"), "fr", "en"), (("de",), "en", "de"), (("de", "en"), None, "en")],
)
def test_readers_are_told_in_a_language_of_the_grammar(languages: tuple[str, ...], spoken: str, told: str) -> None:
    text = ByText(ROBOT)
    assert Orders(text, text, "v1", States(1_000), languages=languages).told_in(spoken) == told


class NoEar:
    """Gives no answer, or one in no language unless told otherwise."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.answer = Comparisons(())

    async def compare(self, utterance_id: str, pcm: bytes, choices: Sequence[Choices]) -> Comparisons:
        if self.fails:
            raise EngineFailed("it is out of order")
        return self.answer


@pytest.fixture
def whisper(tiny_en: Path) -> tuple[EngineHost, BySound]:
    spec = EngineSpec("whisper", {"model_path": str(tiny_en), "threads": 2})
    host = EngineHost(spec, deadline_s=60, start_deadline_s=60)
    return host, BySound(ROBOT, host)


@pytest.fixture(params=[True, False])
def deaf(request: pytest.FixtureRequest) -> BySound:
    return BySound(ROBOT, NoEar(fails=request.param))


@pytest.mark.model
async def test_the_sound_decides_whatever_the_captions_say(
    whisper: tuple[EngineHost, BySound], caplog: pytest.LogCaptureFixture
) -> None:
    host, understand = whisper
    async with asyncio.timeout(120), host:
        order = await understand(said("Go for war ten metres."))
        speech = await understand(said("Go forward ten meters.", "jfk"))
    assert order.decision.verdict is Verdict.ACCEPT
    assert order.decision.match is not None
    assert order.decision.match.params == {"metres": 10}
    assert order.scores["certainty"] > 0.9
    assert speech.decision.verdict is Verdict.REJECT
    assert speech.nearest == "go forward 10 meters", "readers are told why nothing happens"
    assert caplog.text.count("commands in de are not compared with the sound") == 1


async def test_without_an_answer_the_text_is_asked_about(deaf: BySound) -> None:
    order = (await deaf(said("Go forward ten meters."))).decision
    assert (order.verdict, order.reason) == (Verdict.CONFIRM, "it was only read as text")
    assert (await deaf(said("We had eggs."))).decision.verdict is Verdict.REJECT


async def test_a_language_that_the_model_does_not_know_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    understand = BySound(ROBOT, NoEar(fails=False))
    for _ in range(2):
        await understand(said("Go forward ten meters."))
    assert [record.message for record in caplog.records] == [
        "commands in de, en are not compared with the sound: the model does not know the language; "
        "set engines.whisper.model to another one, such as base"
    ]


async def test_a_language_that_is_known_again_is_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    ear = NoEar(fails=False)
    understand = BySound(ROBOT, ear)
    for tags in (("en",), ("de", "en"), ("en",)):
        ear.answer = Comparisons(tuple((tag, Comparison((), (), 0.0, 1.0, "tiny")) for tag in tags))
        await understand(said("We had eggs."))
    assert [record.args for record in caplog.records] == [("de",)]


async def test_of_a_very_large_grammar_the_text_is_asked_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streamd.core.commands.lattice.MOST_LISTED", 1)
    lamps = {
        "name": "lamp",
        "sentences": {"en": ["{lamp} on", "light {lamp}"]},
        "params": {"lamp": {"enum": ["a", "b"]}},
    }
    lamp = Grammar(Pack.model_validate({"commands": {"lamp": lamps | {"safety": {"risk": "low"}}}}))
    assert lamp.listed("en") == 4
    understood = await BySound(lamp, NoEar(fails=True))(said("light b"))
    assert understood.decision.verdict is Verdict.CONFIRM
    assert "lists have 4 values where they may be said, of 1 at the most" in caplog.text


async def test_a_long_sound_is_no_command(deaf: BySound) -> None:
    understood = await deaf(said("Go forward ten meters.", seconds=20.1))
    assert (understood.decision.verdict, understood.decision.reason) == (Verdict.REJECT, "too long for a command")


@pytest.mark.model
def test_whisper_compares_where_it_hears(tmp_path: Path, tiny_en: Path) -> None:
    whisper = {"engines": {"whisper": {"model": str(tiny_en)}}}
    given = settings(tmp_path, **whisper)
    by = {by: orders(given.model_copy(update={"pipeline": stage(given, by)})) for by in ("auto", "sound", "text")}
    assert [shared is not None and shared.ear is not None for shared in by.values()] == [True, True, False]
    scripted = stage(given, "auto", engine="scripted")
    shared = orders(given.model_copy(update={"pipeline": scripted}))
    assert shared is not None
    assert shared.ear is None


def stage(given: Settings, by: str, engine: str = "whisper") -> Pipeline:
    commands = given.pipeline.commands.model_copy(update={"by": by})
    recognise = given.pipeline.recognise.model_copy(update={"engine": engine})
    return given.pipeline.model_copy(update={"commands": commands, "recognise": recognise})


# a second reading

LINE = press_line()
TOOLS, _ = declared(LINE.commands.values())
SET: dict[str, object] = {"name": "set_speed", "arguments": {"press": "press_2", "speed": 95}}


def engine(*calls: Mapping[str, object] | None, faults: list[object] | None = None) -> EngineHost:
    """Hears these calls, one an utterance."""
    entries = [{"text": "…"} | ({} if call is None else {"call": call}) for call in calls]
    spec = EngineSpec("scripted", {"utterances": entries, "faults": faults or []})
    return EngineHost(spec, deadline_s=60, start_deadline_s=60)


def reading(text: str, key: str = "room/1") -> Reading:
    final = Final(utterance=1, text=text, start_ms=0, end_ms=1_000, language="en", engine="whisper")
    return Reading(final, (), np.zeros(16_000, np.int16).tobytes(), Context(), key)


async def understood(host: EngineHost, text: str, key: str = "room/1") -> Understood:
    return await Seconded(ByText(Grammar(LINE)), host, TOOLS)(reading(text, key))


async def test_readings_that_agree_and_readings_that_differ() -> None:
    async with engine(SET, {"name": "stop"}) as host:
        agrees = await understood(host, "set press two to 95", "room/1")
        assert (agrees.decision.verdict, agrees.scores) == (Verdict.CONFIRM, {"second_margin": 5.0})
        differs = await understood(host, "set press two to 95", "room/2")
        assert differs.decision.verdict is Verdict.REJECT
        assert differs.decision.reason == "a second reading heard stop"


@pytest.mark.parametrize("text", ["stop the line", "light on", "set press two to 121", "hello"])
async def test_what_is_not_risky_or_not_understood_is_not_read_again(text: str) -> None:
    async with engine(None) as host:
        plain = ByText(Grammar(LINE))
        assert (await understood(host, text)).decision == (await plain(reading(text))).decision


async def test_an_engine_that_fails_or_is_not_there_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    host = engine(None, faults=[{"call": number, "kind": "raise"} for number in (1, 2, 3)])
    assert (await understood(host, "set press two to 95")).decision.verdict is Verdict.CONFIRM
    async with host:
        assert (await understood(host, "set press two to 95")).decision.verdict is Verdict.CONFIRM
        assert "a command gets no second reading" in caplog.text
        assert (await understood(host, "set press two to 95")).decision.verdict is Verdict.REJECT


def router(spec: EngineSpec) -> Router:
    return Router({Role.LONG: lambda _: EngineHost(spec, deadline_s=1, start_deadline_s=1)}, Metrics())


@pytest.mark.parametrize(("kind", "wanted"), [("gemma", True), ("gemma", False), ("scripted", True)])
def test_where_gemma_hears_it_has_to_agree(tmp_path: Path, kind: str, wanted: bool) -> None:
    base = settings(tmp_path)
    stage = base.pipeline.commands.model_copy(update={"second_reading": wanted})
    shared = orders(base.model_copy(update={"pipeline": Pipeline(commands=stage)}))
    assert shared is not None
    spec = EngineSpec(kind)
    for subject in (shared, None):  # a daemon without commands needs nothing
        told = daemon._told_of_tools(Hearing({Role.LONG: spec}, kind), subject)
        seconds = subject is not None and kind == "gemma" and wanted
        assert [bool(spec.tools) for spec in told.specs.values()] == [seconds]
        daemon._read_orders_twice(subject, told, router(spec))
    assert isinstance(shared.understand, Seconded) is (kind == "gemma" and wanted)


def test_commands_that_cannot_be_declared_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stated = settings(tmp_path)
    Path(stated.pipeline.commands.pack).write_text(
        """commands: {dose: {sentences: ["dose {code}"], params: {code: {type: string, enum: [red], maxLength: 4}}}}"""
    )
    shared = orders(stated)
    assert shared is not None
    assert shared.tools == ()
    assert "no second reading for tool dose: parameters.code: enum: beside maxLength can't be enforced" in caplog.text
