"""From a final to a target: what is read, what is not, and what the journal has to hold before anything is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from streamd import commander as module
from streamd.commander import Commander
from streamd.core.commands.definition import Command, Pack
from streamd.core.commands.grammar import Grammar
from streamd.core.commands.machine import RELEASE_MS, NoAnswer
from streamd.core.commands.request import Person
from streamd.core.commands.states import States
from streamd.core.events import Command as Told
from streamd.core.events import CommandState, Final, Partial, Status
from streamd.core.log import Log
from streamd.core.wire import Answer
from streamd.dispatch import Call, Outcome
from streamd.engines.base import Context
from streamd.errors import UnavailableError
from streamd.feed import Feed, now_ms
from streamd.metrics import Metrics
from streamd.orders import ByText, Orders, Understood, steady_ms
from streamd.transcriber import Reading
from tests import parts

GUARD_S = 20.0
ANNA = Person("a1", "operator")
RPM = {"type": "number", "minimum": 0, "maximum": 120, "unit": "rpm"}
PACK = Pack.model_validate(
    {
        "commands": {
            name: {"name": name, "sentences": {"en": [sentence]}, **more}
            for name, sentence, more in (
                ("set_speed", "set press two to {speed}", {"params": {"speed": RPM}}),
                ("read_speed", "tell me the speed", {"safety": {"risk": "read"}}),
                ("light_on", "light on", {"safety": {"risk": "low", "retract_ms": 60}}),
                (
                    "fan_on",
                    "fan on",
                    {"safety": {"risk": "low", "retract_ms": 0}, "undo": {"python": {"callable": "x"}}},
                ),
                ("stop_line", "stop the line", {"safety": {"risk": "low", "retract_ms": 0}}),
                ("open_guard", "open the guard", {"safety": {"risk": "forbidden"}}),
                ("close", "close the guard", {"safety": {"risk": "read", "interlock": {"hands": "away"}}}),
                ("lower", "lower the lid", {"safety": {"confirm": "codeword", "interlock": {"hands": "away"}}}),
            )
        }
    }
)
GRAMMAR = Grammar(PACK)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(GUARD_S):
        await parts.until(condition)


class Room:
    """A log in which things are said, and a target that writes down what it gets."""

    def __init__(self, *, write_ahead: bool = False, log: Log | None = None, **orders: Any) -> None:
        self.log = log or Log("room", "0123456789abcdef", write_ahead=write_ahead)
        self.feed = Feed(self.log, Metrics())
        self.calls: list[Call] = []
        self.is_newest: list[Callable[[], bool]] = []  # of each call
        self.outcome: Outcome | None = Outcome(True, "done", {"rpm": 95})
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.speaking = False
        self.looks = 0  # of the commander, whether somebody speaks
        self.ahead_ms = 0  # how far its clock is ahead
        self.accounts: list[dict[str, Any]] = []
        self.states = States(10_000)
        by_text = ByText(GRAMMAR)
        defaults: dict[str, Any] = {"understand": by_text, "text": by_text, "states": self.states}
        defaults |= {"grammar": PACK.version, "now_ms": lambda: steady_ms() + self.ahead_ms}
        self.orders = Orders(**(defaults | {"send": self.send, "codeword": lambda: "amber"} | orders))
        self.commander = Commander(self.feed, self.orders, Metrics(), self.is_speaking, self.account)

    def is_speaking(self) -> bool:
        self.looks += 1
        return self.speaking

    async def send(self, command: Command, call: Call, is_newest: Callable[[], bool]) -> Outcome:
        assert command.name == call.name
        self.calls.append(call)
        self.is_newest.append(is_newest)
        await self.may_answer.wait()
        assert self.outcome is not None
        return self.outcome

    async def account(self, note: str) -> None:
        self.accounts.append(json.loads(note))

    def say(self, text: str, *, age_ms: int | None = 0, speaker: Person | None = None, **more: Any) -> int:
        """An utterance from its announcement to its final. Returns its number."""
        number = self.feed.append(Status(state="speech")).seq
        fields: dict[str, Any] = {"start_ms": 0, "end_ms": 1_000, "language": "en", "engine": "scripted"} | more
        final = Final(utterance=number, text=text, **fields)
        self.feed.append(final)
        reading = Reading(final, (), b"\x01\x02", Context())
        self.commander.submit(reading, speaker, None if age_ms is None else steady_ms() - age_ms)
        return number

    @property
    def desk_is_empty(self) -> bool:
        return self.commander._desk.unsent is None

    @property
    def told(self) -> list[Told]:
        return [event.body for event in self.log.since(0) if isinstance(event.body, Told)]

    @property
    def states_told(self) -> list[str]:
        return [told.state for told in self.told]

    async def until(self, *states: CommandState) -> None:
        await until(lambda: self.states_told == list(states))

    async def question(self) -> Told:
        """What is asked, once it is in the log; and it was shown."""
        await until(lambda: bool(self.told) and self.told[-1].prompt is not None)
        event = next(e for e in reversed(self.log.since(0)) if isinstance(e.body, Told))
        self.commander.delivered(event)
        return self.told[-1]

    def answer(self, yes: bool, word: str | None = None) -> None:
        self.commander.answer(Answer(self.told[-1].command_id, yes, word), ANNA)

    async def idle(self) -> None:
        """Return once everything that was said has been read."""
        seq = self.log.newest
        await until(lambda: self.commander._cursor >= seq)
        await self.feed.wait_newer(seq - 1)


@asynccontextmanager
async def running(room: Room) -> AsyncIterator[Room]:
    task = asyncio.create_task(room.commander.run())
    try:
        yield room
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with running(Room()) as room:
        yield room


async def test_what_only_reads_is_sent_and_comes_back(room: Room) -> None:
    number = room.say("Tell me the speed.")
    await room.until("proposed", "confirmed", "dispatched", "succeeded")
    assert room.calls == [Call(f"0123456789ab-{number}", "read_speed", {})]
    assert room.told[-1].reason == "done"
    assert {told.utterance for told in room.told} == {number}


async def test_what_was_heard_is_in_the_audit_and_not_on_the_wire(room: Room) -> None:
    room.say("tell me the speed")
    await room.until("proposed", "confirmed", "dispatched", "succeeded")
    notes = [json.loads(event.note) for event in room.log.since(0) if isinstance(event.body, Told)]
    assert notes[0]["heard"] == "tell me the speed"
    assert notes[0]["grammar"] == PACK.version
    assert notes[0]["sound_sha256"] == "a12871fee210fb8619291eaea194581cbd2531e4b23759d225f6806923f63222"
    assert notes[0]["speaker"] == "speaker"
    assert notes[3] == {"target": None, "call": {}, "answer": {"rpm": 95}, "said": "done"}


async def test_what_was_heard_is_written_beside_the_command_that_it_gave_and_only_once(room: Room) -> None:
    room.say("set press two to 95")
    await room.question()
    room.say("set press two to 60")
    await room.until("proposed", "awaiting_confirmation", "expired", "proposed", "awaiting_confirmation")
    notes = [json.loads(event.note) for event in room.log.since(0) if isinstance(event.body, Told)]
    assert [note.get("heard") for note in notes] == ["set press two to 95", None, None, "set press two to 60", None]


async def test_partials_and_what_was_not_heard_in_full_are_never_read(room: Room) -> None:
    number = room.feed.append(Status(state="speech")).seq
    text = "tell me the speed"
    room.feed.append(Partial(utterance=number, rev=1, start_ms=0, end_ms=9, text=text, committed=len(text)))
    room.feed.append(Final(utterance=number, start_ms=0, end_ms=9, text=text, engine="journal", fallback=True))
    room.feed.append(Final(utterance=number, start_ms=0, end_ms=9, text=text, engine="whisper"))
    room.say("")
    await room.until("rejected", "rejected")
    assert [str(told.reason) for told in room.told] == [
        "the daemon was restarted before this was understood: say it again",
        "this was not heard in full, or too much was said at once: say it again",
    ]
    assert room.calls == []


async def test_what_a_former_run_did_not_read_any_more_is_accounted_for() -> None:
    """A final that the journal has and no command follows, as kill -9 leaves it; older ones had been read."""
    log = Log("room", "0123456789abcdef")
    fields: dict[str, Any] = {"start_ms": 0, "end_ms": 9, "language": "en", "engine": "whisper"}
    log.append(Final(utterance=1, text="tell me the speed", **fields), 1_000)
    log.append(Final(utterance=2, text="stop the line", **fields), 60_000)
    told = Told(command_id="0123456789ab-2", state="rejected", name="stop_line", params={}, utterance=2)
    log.append(told, 60_001)
    log.append(Final(utterance=3, text="light on", **fields), 61_000)
    log.append(Final(utterance=4, text="don't stop the line", **fields), 62_000)
    log.append(Final(utterance=5, text="open the guard", **fields), 63_000)
    async with running(Room(log=log)) as room:
        await room.until("rejected", "rejected", "rejected")
        await room.idle()
        *_, light, guard = room.told
        assert (light.name, light.command_id) == ("light_on", "0123456789ab-3")
        assert "restarted before this was understood" in str(light.reason)
        assert (guard.command_id, guard.reason) == ("0123456789ab-5", "open_guard is never done by voice")
    assert room.calls == []


@pytest.mark.parametrize("age_ms", [60_000, None])
async def test_old_speech_and_speech_of_unknown_age_do_nothing(room: Room, age_ms: int | None) -> None:
    room.say("tell me the speed", age_ms=age_ms)
    await room.until("rejected")
    assert "say it again" in str(room.told[0].reason)


async def test_what_is_no_order_is_told_if_it_is_like_one(room: Room) -> None:
    room.say("We had eggs for breakfast.")
    room.say("Don't set press two to ninety five.")
    room.say("He said tell me the speed")
    room.say("set press two to three hundred")
    room.say("open the guard")
    await room.until("rejected", "rejected", "rejected", "rejected")
    reasons = [str(told.reason) for told in room.told]
    assert reasons[0].startswith("no order, negated: “don't”; nearest: “set press 2 to 95”")
    assert reasons[1].startswith("no order, reported: “said”")
    assert "120" in reasons[2]
    assert (room.told[3].name, reasons[3]) == ("open_guard", "this is never done by voice")
    assert room.calls == []


async def test_a_question_is_answered_by_hand_once_it_has_been_shown(room: Room) -> None:
    room.say("set press two to ninety five")
    await room.until("proposed", "awaiting_confirmation")
    with pytest.raises(NoAnswer, match="has not been shown yet"):
        room.answer(True)
    question = await room.question()
    assert question.prompt == "Set press 2 to 95? (set_speed: speed = 95 rpm)"
    room.answer(True)
    await room.until("proposed", "awaiting_confirmation", "confirmed", "dispatched", "succeeded")
    assert room.calls[0].params == {"speed": 95}
    assert room.told[2].by == "operator a1"


async def test_a_question_is_answered_by_voice(room: Room) -> None:
    room.say("set press two to ninety five")
    await room.until("proposed", "awaiting_confirmation")
    room.say("Yes.")
    await room.idle()
    assert room.calls == [], "nobody had seen the question"
    await room.question()
    room.say("Okay, what is that?")
    await room.idle()
    room.say("Yes.")
    await room.until("proposed", "awaiting_confirmation", "confirmed", "dispatched", "succeeded")


async def test_a_code_word_is_said(room: Room) -> None:
    room.states.tell({"hands": "away"}, steady_ms())
    room.say("lower the lid")
    assert (await room.question()).codeword == "amber"
    room.say("yes")
    await room.idle()
    room.say("silver")
    await room.idle()
    assert room.calls == []
    room.say("Confirm amber.")
    await until(lambda: len(room.calls) == 1)


async def test_a_no_wins_and_may_be_a_command_of_its_own(room: Room) -> None:
    room.say("set press two to ninety five")
    await room.question()
    room.say("Stop the line!")
    await until(lambda: len(room.calls) == 1)
    assert room.states_told[:3] == ["proposed", "awaiting_confirmation", "denied"]
    assert room.calls[0].name == "stop_line"


async def test_low_risk_is_taken_back_in_time(room: Room) -> None:
    room.speaking = True
    room.say("light on")
    await room.until("proposed")
    room.ahead_ms = 100  # the window is over, and somebody still speaks
    looks = room.looks
    await until(lambda: room.looks > looks + 1)
    assert room.states_told == ["proposed"]
    room.say("No, wait!")
    room.speaking = False
    await room.until("proposed", "denied")
    room.say("light on")
    await until(lambda: len(room.calls) == 1)


async def test_what_was_done_is_taken_back_once_it_is_confirmed(room: Room) -> None:
    room.say("fan on")
    await until(lambda: room.states_told[-1:] == ["succeeded"])
    room.say("Undo that.")
    question = await room.question()
    assert (question.name, question.prompt) == ("fan_on.undo", "Take back “fan on”? (fan_on.undo)")
    assert [call.name for call in room.calls] == ["fan_on"], "it is asked first"
    room.say("yes")
    await until(lambda: room.states_told[-1:] == ["succeeded"])
    assert [call.name for call in room.calls] == ["fan_on", "fan_on.undo"]
    assert len({call.command_id for call in room.calls}) == 2


async def test_only_the_newest_command_may_be_tried_again(room: Room) -> None:
    room.may_answer.clear()
    room.say("fan on")
    await until(lambda: len(room.calls) == 1)
    assert room.is_newest[0]()
    room.say("stop the line")
    await until(lambda: len(room.calls) == 2)
    assert [is_newest() for is_newest in room.is_newest] == [False, True]


async def test_what_is_still_being_sent_is_not_taken_back_yet(room: Room) -> None:
    room.may_answer.clear()
    room.say("fan on")
    await until(lambda: len(room.calls) == 1)
    room.say("undo that")
    await until(lambda: room.states_told[-1:] == ["rejected"])
    assert room.told[-1].reason == "what is to be taken back is still being sent: say it again"
    room.may_answer.set()
    await until(lambda: room.states_told[-1:] == ["succeeded"])
    room.say("undo that")
    assert (await room.question()).name == "fan_on.undo"


async def test_what_can_not_be_taken_back_is_told(room: Room) -> None:
    room.say("undo that")
    await room.until("rejected")
    assert room.told[0].reason == "no command of the last 60 s is known that could be taken back"
    room.outcome = Outcome(False, "it said no")
    room.say("fan on")
    await until(lambda: room.states_told[-1:] == ["failed"])
    room.say("undo that")
    await until(lambda: room.states_told[-1:] == ["rejected"])
    assert len(room.calls) == 1


@pytest.mark.parametrize("heard", ["undo that", "And do that."])
async def test_what_is_not_sent_yet_is_only_called_off(room: Room, heard: str) -> None:
    room.say("fan on")
    await until(lambda: room.states_told[-1:] == ["succeeded"])
    room.say("set press two to 95")
    await room.question()
    room.say(heard)
    await until(lambda: room.states_told[-1:] == ["denied"])
    await room.idle()
    assert room.desk_is_empty, "the fan is another matter"


async def test_an_interlock_is_looked_at_twice(room: Room) -> None:
    room.say("close the guard")
    await room.until("rejected")
    assert room.told[0].reason == "interlock: nobody has told hands lately, and it must be away"
    room.states.tell({"hands": "away"}, steady_ms())
    room.say("lower the lid")
    await room.question()
    room.states.tell({"hands": "in"}, steady_ms())
    room.answer(True, "amber")
    await room.until("rejected", "proposed", "awaiting_confirmation", "confirmed", "rejected")
    assert room.told[-1].reason == "interlock: hands is in and must be away"
    assert room.calls == []


async def test_nothing_is_read_or_sent_before_the_journal_holds_it() -> None:
    async with running(Room(write_ahead=True)) as room:
        number = room.say("tell me the speed")
        room.feed.confirm(1)
        await room.idle()
        assert list(room.commander._heard) == [number], "the final is not journalled, so it is not read"
        room.feed.confirm(2)
        await until(lambda: room.log.next_seq == 6)
        room.feed.confirm(4)
        await room.idle()
        assert room.calls == [], "that it is sent is not journalled, so it is not sent"
        room.feed.confirm(5)
        await until(lambda: len(room.calls) == 1)


@pytest.mark.parametrize(
    ("late_ms", "hands", "reason"),
    [
        (RELEASE_MS, "away", "it could not be written down in time: say it again"),
        (0, "in", "interlock: hands is in and must be away"),
    ],
)
async def test_what_the_journal_holds_too_late_is_not_sent(late_ms: int, hands: str, reason: str) -> None:
    async with running(Room(write_ahead=True)) as room:
        room.states.tell({"hands": "away"}, steady_ms())
        room.say("close the guard")
        room.feed.confirm(2)
        await until(lambda: room.log.next_seq == 6)
        room.ahead_ms = late_ms
        room.states.tell({"hands": hands}, steady_ms())
        room.feed.confirm(5)
        await room.commander.settled()
        room.feed.confirm(6)
        assert (room.told[-1].state, room.told[-1].reason) == ("failed", reason)
        assert room.calls == []


async def test_what_can_not_be_read_for_want_of_a_thread_is_rejected_and_the_next_is_read() -> None:
    text, refusals = ByText(GRAMMAR), [UnavailableError("8 blocking calls hang")]

    async def understand(reading: Reading) -> Understood:
        if refusals:
            raise refusals.pop()
        return await text(reading)

    async with running(Room(understand=understand)) as room:
        room.say("tell me the speed")
        await room.until("rejected")
        assert room.told[0].reason == "8 blocking calls hang"
        room.say("tell me the speed")
        await until(lambda: len(room.calls) == 1)


async def test_what_nobody_knows_is_asked(room: Room) -> None:
    room.outcome = Outcome(None, "no answer within 5 s")
    room.say("tell me the speed")
    question = await room.question()
    assert (question.state, question.confirm, question.reason) == ("dispatched", "outcome", "no answer within 5 s")
    room.answer(False)
    assert room.told[-1].state == "failed"
    assert len(room.calls) == 1


async def test_shadow_mode_does_all_of_it_but_the_sending() -> None:
    async with running(Room(shadow=True)) as room:
        room.say("tell me the speed")
        await room.until("proposed", "confirmed", "rejected")
        assert room.told[-1].reason == "shadow mode: it would have been sent now"
        room.say("He said tell me the speed")
        await until(lambda: len(room.told) == 4)
    assert room.calls == []
    assert all(told.shadow for told in room.told)


async def test_the_end_of_the_daemon_voids_what_waits_and_leaves_what_is_being_sent() -> None:
    async with running(Room()) as room:
        room.may_answer.clear()
        room.say("tell me the speed")
        await until(lambda: len(room.calls) == 1)
        assert room.commander.is_busy
        settled = asyncio.create_task(room.commander.settled())
        room.say("set press two to ninety five")
        await room.question()
        assert not settled.done()
    assert room.told[-1].reason == "the daemon stops: say it again"
    assert room.states_told[-1] == "expired"
    await settled
    again = Room(log=room.log)
    async with running(again):
        await until(lambda: again.told[-1].prompt is not None)
        told = again.told[-1]
        assert (told.state, told.name, told.reason) == (
            "dispatched",
            "read_speed",
            "the daemon was restarted while it was under way",
        )
        assert set(again.orders.sent) == {"read_speed"}, "its cooldown goes on"
    assert again.calls == []


async def test_a_clock_that_was_set_back_does_not_keep_commands_from_being_done_again() -> None:
    log = Log("room", "0123456789abcdef")
    body: dict[str, Any] = {"command_id": "0123456789ab-1", "name": "read_speed", "params": {}, "utterance": 1}
    for state in ("dispatched", "succeeded"):
        log.append(Told(state=state, **body), steady_ms() + 3_600_000)
    async with running(Room(log=log)) as room:
        room.say("tell me the speed")
        await until(lambda: len(room.calls) == 1)


async def test_when_a_question_expires_is_told_by_the_wall_s_clock(room: Room) -> None:
    """The daemon's own clock goes on at an even pace and may be off by then."""
    room.ahead_ms = 3_600_000
    room.say("set press two to ninety five", age_ms=-room.ahead_ms)
    question = await room.question()
    assert question.expires_ms is not None
    assert abs(question.expires_ms - now_ms()) < room.ahead_ms / 2


async def test_who_spoke_decides(room: Room) -> None:
    room.say("tell me the speed", speaker=Person(None, "viewer"))
    await until(lambda: room.states_told[-1:] == ["succeeded"])
    notes = [json.loads(event.note) for event in room.log.since(0) if isinstance(event.body, Told)]
    assert notes[0]["speaker"] == "viewer"


async def test_so_many_finals_wait_and_no_more(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARD", 1)
    room.say("light on")
    room.say("tell me the speed")
    await until(lambda: room.states_told[-1:] == ["succeeded"])
    assert {(told.name, told.state) for told in room.told if told.name != "read_speed"} == {("light_on", "rejected")}


@pytest.mark.parametrize(
    ("outcome", "error"), [(None, "AssertionError"), (Outcome(True, "done", cast("Any", b"\x00")), "TypeError")]
)
async def test_what_was_not_followed_to_its_end_is_logged_and_asked_about(
    room: Room, outcome: Outcome | None, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that fails, and an answer that JSON has no words for."""
    room.outcome = outcome
    room.say("tell me the speed")
    question = await room.question()
    assert "not followed to its end" in caplog.text
    assert (question.state, question.confirm) == ("dispatched", "outcome")
    assert question.reason == f"the daemon lost sight of it: {error}"
    room.answer(True)
    assert room.states_told[-1] == "succeeded"


async def test_how_long_was_listened_is_told_at_the_end() -> None:
    async with running(Room(shadow=True)) as room:
        room.commander.listened(40)
        room.say("good morning")
        await room.idle()
    assert room.accounts == [{"heard_ms": 40, "grammar": PACK.version, "shadow": True}]


async def test_what_another_engine_heard_is_read_back(room: Room) -> None:
    room.say("tell me the speed", fallback=True)
    assert (await room.question()).confirm == "readback"


async def test_other_languages_than_the_grammar_s_are_tried_as_its_own(room: Room) -> None:
    room.say("tell me the speed", language="de")
    await until(lambda: room.states_told[-1:] == ["succeeded"])
