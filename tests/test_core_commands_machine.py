"""No way from speech to a target but through what is asked, once, and never after a no."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamd.core.commands.definition import Command, Safety, Scalar
from streamd.core.commands.machine import HOLD_MS, RELEASE_MS, TRANSITIONS, UNDER_WAY, Desk, NoAnswer
from streamd.core.commands.request import Person, Request
from streamd.core.events import Command as Told

MICROPHONE = Person(None, "speaker")
ANNA, BERT = Person("a1", "operator"), Person("b2", "operator")
OVER = {state for state, steps in TRANSITIONS.items() if not steps}


def command(name: str = "set_speed", **safety: Any) -> Command:
    return Command(name=name, sentences={"en": ("set it",)}, safety=Safety(**safety))


def request(number: int = 1, said_ms: int = 0, speaker: Person = MICROPHONE, **safety: Any) -> Request:
    params: dict[str, Scalar] = {"machine": "press_2", "rpm": 95}
    sure = safety.pop("sure", True)
    return Request(
        f"c{number}", command(**safety), params, number, "set press two", said_ms, speaker, sure, codeword="amber"
    )


def states(events: list[Told]) -> list[str]:
    return [event.state for event in events]


def asked(**safety: Any) -> Desk:
    """A desk with one question, which was shown."""
    desk = Desk({})
    events = desk.propose(request(**safety), 0)
    assert states(events) == ["proposed", "awaiting_confirmation"]
    desk.shown(events[-1], 2)
    return desk


# The table


def test_every_way_to_a_target_leads_through_confirmed() -> None:
    before = {state for state, steps in TRANSITIONS.items() if "send" in steps}
    assert before == {"confirmed"}
    into_dispatched = {
        (state, step) for state, steps in TRANSITIONS.items() for step in steps if steps[step] == "dispatched"
    }
    assert into_dispatched == {("confirmed", "send"), ("dispatched", "doubt")}


def test_nothing_follows_an_end() -> None:
    assert {"denied", "expired", "rejected", "succeeded", "failed"} == OVER


# All of it, by chance

RISKS = ("read", "low", "confirm", "two_person", "forbidden")
KINDS = ("readback", "codeword", "button")


class Factory(RuleBasedStateMachine):
    """A desk, and beside it a foreman who writes down what was consented to, in his own words."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.numbers = 0
        self.sent: dict[str, int] = {}
        self.desk = Desk(self.sent)
        self.history: list[Told] = []
        self.requests: dict[str, Request] = {}
        self.asked_at: dict[str, int] = {}
        self.shown: dict[str, int] = {}  # command → the first utterance that may answer
        self.consents: dict[str, set[str | None]] = defaultdict(set)
        self.refused: set[str] = set()
        self.sends: list[str] = []

    def take(self, events: list[Told]) -> None:
        for told in events:
            former = next((e for e in reversed(self.history) if e.command_id == told.command_id), None)
            if former is None:
                assert told.state in ("proposed", "rejected")
            else:
                assert told.state in TRANSITIONS[former.state].values()
                assert (told.name, told.params, told.utterance) == (former.name, former.params, former.utterance)
            if told.state == "awaiting_confirmation":
                self.asked_at.setdefault(told.command_id, self.now)
                assert told.prompt
            if told.state == "dispatched" and (former is None or former.state != "dispatched"):
                self.check_sending(told)
            self.history.append(told)

    def check_sending(self, told: Told) -> None:
        key = told.command_id
        assert key not in self.sends, "nothing is sent twice"
        assert key not in self.refused, "a no wins"
        given = self.requests[key]
        safety, consents = given.command.safety, self.consents[key]
        assert safety.risk != "forbidden"
        assert given.speaker.role in ("speaker", "operator")
        if safety.risk == "two_person":
            assert len({token for token in consents | {given.speaker.token} if token}) >= 2
            assert consents
        elif safety.risk == "confirm" or not given.sure:
            assert consents
        self.sends.append(key)

    def open_question(self, key: str) -> bool:
        """Whether a yes may count now, as the rules say."""
        newest = next((e for e in reversed(self.history) if e.command_id == key), None)
        if newest is None or newest.state != "awaiting_confirmation" or key not in self.shown:
            return False
        return self.now < self.asked_at[key] + 1000 * self.requests[key].command.safety.confirm_ttl_s

    @rule(
        risk=st.sampled_from(RISKS),
        kind=st.sampled_from(KINDS),
        sure=st.booleans(),
        age=st.sampled_from((0, 400, 6_000)),
        speaker=st.sampled_from((MICROPHONE, ANNA, Person("v", "viewer"))),
        cooldown=st.sampled_from((0, 3)),
        blocked=st.sampled_from((None, None, "the guard is open")),
    )
    def give(
        self, risk: str, kind: str, sure: bool, age: int, speaker: Person, cooldown: int, blocked: str | None
    ) -> None:
        self.numbers += 1
        safety = {"risk": risk, "roles": ("speaker",), "confirm_ttl_s": 10, "cooldown_s": cooldown, "sure": sure}
        confirm = {} if risk == "two_person" else {"confirm": kind}
        given = request(self.numbers, self.now - age, speaker, **safety, **confirm)
        self.requests[given.command_id] = given
        events = self.desk.propose(given, self.now, blocked)
        if age > 5_000 or blocked or risk == "forbidden" or speaker.role == "viewer":
            assert states(events) == ["rejected"]
        self.take(events)

    @rule(data=st.data())
    def show(self, data: st.DataObject) -> None:
        if not self.history:
            return
        told = data.draw(st.sampled_from(self.history))  # an old event, perhaps: its reader may come from far behind
        newest = next(e for e in reversed(self.history) if e.command_id == told.command_id)
        if told.prompt and (told.state, told.prompt) == (newest.state, newest.prompt):
            self.shown.setdefault(told.command_id, self.numbers + 1)
        self.desk.shown(told, self.numbers + 1)

    @rule(data=st.data(), yes=st.booleans(), by=st.sampled_from((MICROPHONE, ANNA, BERT)), right=st.booleans())
    def answer(self, data: st.DataObject, yes: bool, by: Person, right: bool) -> None:
        key = f"c{data.draw(st.integers(1, self.numbers + 1))}"
        if yes and self.open_question(key):
            codeword = self.requests[key].asks == "codeword"
            if (right or not codeword) and (by.token or self.requests[key].asks != "two_person"):
                self.consents[key].add(by.token)
        try:
            events = self.desk.answer(key, yes, by, self.now, "Amber" if right else "silver")
        except NoAnswer:
            return
        if not yes and "denied" in states(events):
            self.refused.add(key)
        self.take(events)

    @rule(yes=st.booleans(), word=st.sampled_from((None, "amber", "silver")), late=st.booleans())
    def say(self, yes: bool, word: str | None, late: bool) -> None:
        utterance = self.numbers + 1 if late else self.numbers
        open_told = self.desk.unsent
        if open_told is not None:
            key = open_told.command_id
            fits = (self.requests[key].asks, word) in (("readback", None), ("codeword", "amber"))
            if (yes or word) and fits and self.open_question(key) and utterance >= self.shown[key]:
                self.consents[key].add(None)
        events = self.desk.hear(yes, utterance, MICROPHONE, self.now, word)
        if open_told is not None and not yes and word is None:
            assert states(events)[-1] in ("denied", "expired"), "a spoken no counts always"
            self.refused.add(open_told.command_id)
        self.take(events)

    @rule(ms=st.sampled_from((40, 900, 1_600, 4_000, 11_000)), speaking=st.booleans())
    def wait(self, ms: int, speaking: bool) -> None:
        self.now += ms
        self.take(self.desk.tick(self.now, speaking=speaking))

    @rule(data=st.data(), blocked=st.sampled_from((None, None, None, "the guard is open")))
    def release(self, data: st.DataObject, blocked: str | None) -> None:
        key = f"c{data.draw(st.integers(1, self.numbers + 1))}"
        events = self.desk.release(key, self.now, blocked)
        assert not (blocked and "dispatched" in states(events))
        self.take(events)

    @rule(data=st.data(), done=st.sampled_from((True, False, None)))
    def come_back(self, data: st.DataObject, done: bool | None) -> None:
        self.take(self.desk.outcome(f"c{data.draw(st.integers(1, self.numbers + 1))}", done, "it said so"))

    @rule()
    def restart(self) -> None:
        self.desk = Desk(self.sent)
        self.shown.clear()
        self.take(self.desk.resume(self.history))

    @invariant()
    def one_command_at_most_waits_to_be_sent(self) -> None:
        newest = {told.command_id: told.state for told in self.history}
        assert sum(state not in OVER | {"dispatched"} for state in newest.values()) <= 1
        assert sum(state == "dispatched" for state in newest.values()) <= UNDER_WAY

    @invariant()
    def it_wakes_up_in_time(self) -> None:
        unsent = self.desk.unsent
        assert (unsent is None) == (self.desk.next_due_ms is None)


TestTheDeskAgainstAForeman = Factory.TestCase
TestTheDeskAgainstAForeman.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


# Rule by rule


def test_what_may_not_be_done_is_rejected_with_the_reason() -> None:
    (told,) = Desk({}).propose(request(risk="forbidden"), 0)
    assert (told.state, told.reason) == ("rejected", "this is never done by voice")
    assert told.params == {"machine": "press_2", "rpm": 95}


def test_an_open_interlock_rejects_before_the_question_and_before_the_sending() -> None:
    assert states(Desk({}).propose(request(), 0, "guard is open")) == ["rejected"]
    desk = asked()
    desk.answer("c1", True, ANNA, 10)
    (told,) = desk.release("c1", 20, "guard is open")
    assert (told.state, told.reason) == ("rejected", "guard is open")
    assert desk.release("c1", 30) == []


def test_what_only_reads_is_sent_at_once() -> None:
    desk = Desk({})
    assert states(desk.propose(request(risk="read"), 0)) == ["proposed", "confirmed"]
    assert desk.request("c1") == request(risk="read")
    assert not desk.is_under_way("c1")
    assert states(desk.release("c1", 1)) == ["dispatched"]
    assert desk.is_under_way("c1")
    assert states(desk.outcome("c1", True)) == ["succeeded"]
    assert not desk.is_under_way("c1")
    assert desk.outcome("c1", True) == []
    assert desk.request("c1") is None


def test_what_was_heard_in_doubt_is_read_back() -> None:
    (_, told) = Desk({}).propose(request(risk="read", sure=False), 0)
    assert (told.confirm, told.prompt) == ("readback", "Set press two? (set_speed: machine = press_2, rpm = 95)")


def test_low_risk_is_held_for_a_moment() -> None:
    desk = Desk({})
    assert states(desk.propose(request(risk="low", retract_ms=1_000), 0)) == ["proposed"]
    assert desk.next_due_ms == 1_000
    assert desk.tick(999, speaking=False) == []
    assert desk.tick(1_000, speaking=True) == []
    assert states(desk.tick(1_100, speaking=False)) == ["confirmed"]


def test_low_risk_can_be_taken_back_while_it_is_held() -> None:
    desk = Desk({})
    desk.propose(request(risk="low"), 0)
    (told,) = desk.hear(False, 2, MICROPHONE, 900)
    assert (told.state, told.by) == ("denied", "speaker")
    assert desk.tick(2_000, speaking=False) == []


def test_low_risk_without_a_window_is_sent_at_once() -> None:
    assert states(Desk({}).propose(request(risk="low", retract_ms=0), 0)) == ["proposed", "confirmed"]


def test_speech_that_goes_on_and_on_voids_what_is_held() -> None:
    desk = Desk({})
    desk.propose(request(risk="low", retract_ms=1_000), 0)
    assert desk.tick(1_000 + HOLD_MS - 1, speaking=True) == []
    (told,) = desk.tick(1_000 + HOLD_MS, speaking=True)
    assert (told.state, told.reason) == ("expired", "speech went on: say it again")


def test_an_answer_counts_once_the_question_has_been_shown() -> None:
    desk = Desk({})
    proposed, question = desk.propose(request(), 0)
    desk.shown(proposed, 2)
    assert not desk.is_shown("c1")
    with pytest.raises(NoAnswer, match="has not been shown yet"):
        desk.answer("c1", True, ANNA, 1)
    assert desk.hear(True, 9, MICROPHONE, 2) == []
    desk.shown(question, 2)
    assert desk.is_shown("c1")
    desk.shown(question, 5)  # to a second reader: it changes nothing
    assert desk.hear(True, 1, MICROPHONE, 3) == [], "it began before the question was shown"
    (told,) = desk.hear(True, 2, MICROPHONE, 4)
    assert (told.state, told.by, told.prompt, told.expires_ms) == ("confirmed", "speaker", None, None)
    with pytest.raises(NoAnswer, match="nothing was asked"):
        desk.answer("c1", True, ANNA, 5)


def test_a_question_that_nobody_answers_is_void() -> None:
    desk = asked(confirm_ttl_s=10)
    told = desk.unsent
    assert told is not None
    assert told.expires_ms == 10_000
    assert states(desk.answer("c1", True, ANNA, 10_000)) == ["expired"], "also if the answer is first to notice"
    with pytest.raises(NoAnswer, match="no such question any more"):
        desk.answer("c1", True, ANNA, 10_001)


def test_a_no_counts_before_the_question_is_shown_and_after_the_yes() -> None:
    desk = Desk({})
    desk.propose(request(), 0)
    assert states(desk.answer("c1", False, BERT, 1)) == ["denied"]
    desk = asked()
    desk.answer("c1", True, ANNA, 1)
    assert states(desk.hear(False, 1, MICROPHONE, 2)) == ["denied"]
    assert desk.release("c1", 3) == []


def test_a_code_word_has_to_be_the_one_that_is_shown() -> None:
    desk = asked(confirm="codeword")
    assert desk.unsent is not None
    assert desk.unsent.codeword == "amber"
    assert desk.hear(True, 2, MICROPHONE, 1) == [], "a yes is no code word"
    assert desk.hear(True, 2, MICROPHONE, 1, "silver") == []
    with pytest.raises(NoAnswer, match="the code word is another one"):
        desk.answer("c1", True, ANNA, 1)
    assert states(desk.hear(True, 2, MICROPHONE, 1, "amber")) == ["confirmed"]


def test_a_button_is_not_answered_by_voice() -> None:
    desk = asked(confirm="button")
    assert desk.hear(True, 2, MICROPHONE, 1) == []
    assert states(desk.answer("c1", True, ANNA, 1)) == ["confirmed"]


def test_two_persons_need_two_tokens() -> None:
    desk = asked(risk="two_person")
    with pytest.raises(NoAnswer, match="each with a token of their own"):
        desk.answer("c1", True, Person(None, "operator"), 1)
    (told,) = desk.answer("c1", True, ANNA, 1)
    assert (told.state, told.by, told.confirm) == ("awaiting_confirmation", "operator a1", "two_person")
    with pytest.raises(NoAnswer, match="you have confirmed it already"):
        desk.answer("c1", True, ANNA, 2)
    assert states(desk.answer("c1", True, BERT, 3)) == ["confirmed"]


def test_who_spoke_with_a_token_is_one_of_the_two() -> None:
    desk = Desk({})
    desk.shown(desk.propose(request(speaker=ANNA, risk="two_person"), 0)[-1], 2)
    assert states(desk.answer("c1", True, ANNA, 1)) == ["awaiting_confirmation"]
    assert states(desk.answer("c1", True, BERT, 1)) == ["confirmed"]


def test_who_may_not_give_a_command_may_not_confirm_it() -> None:
    desk = Desk({})
    desk.shown(desk.propose(request(speaker=ANNA, roles=("operator",)), 0)[-1], 2)
    assert desk.hear(True, 2, MICROPHONE, 1) == []
    with pytest.raises(NoAnswer, match="only for operator"):
        desk.answer("c1", True, MICROPHONE, 1)


def test_reasons_are_told_in_the_language_of_the_order() -> None:
    desk = Desk({"set_speed": 0})
    german = replace(request(risk="confirm", cooldown_s=3), language="de")
    (told,) = desk.propose(german, 500)
    assert told.reason == "es wurde eben erst ausgeführt; wieder in 2,5 s"
    desk.propose(german, 4_000)
    (expired, *_) = desk.propose(replace(request(2), command=command("other")), 4_001)
    assert (expired.state, expired.reason) == ("expired", "es kam ein anderer Befehl")


def test_a_newer_command_voids_the_former_one() -> None:
    desk = asked()
    assert states(desk.propose(request(2), 10)) == ["expired", "proposed", "awaiting_confirmation"]
    with pytest.raises(NoAnswer):
        desk.answer("c1", True, ANNA, 11)


def test_a_command_cools_down_between_speech_and_between_question_and_sending() -> None:
    sent: dict[str, int] = {}
    desk, other = Desk(sent), Desk(sent)
    other.shown(other.propose(request(risk="confirm", cooldown_s=3), 0)[-1], 2)
    other.answer("c1", True, ANNA, 1)
    desk.propose(request(risk="read"), 0)
    desk.release("c1", 100)
    (told,) = other.release("c1", 200)
    assert (told.state, told.reason) == ("rejected", "it was done a moment ago; again in 2.9 s")
    (told,) = other.propose(request(2, cooldown_s=3), 1_100)
    assert told.reason == "it was done a moment ago; again in 2.0 s"
    assert states(other.propose(request(3, cooldown_s=3, risk="read"), 3_100)) == ["proposed", "confirmed"]


def test_a_confirmed_command_that_is_not_sent_is_void() -> None:
    desk = Desk({})
    desk.propose(request(risk="read"), 0)
    (told,) = desk.release("c1", RELEASE_MS)
    assert (told.state, told.reason) == ("expired", "it could not be sent in time")


def test_what_was_not_written_down_in_time_is_not_sent_any_more() -> None:
    desk = Desk({})
    for number, (now_ms, blocked, reason) in enumerate(
        (
            (RELEASE_MS - 1, None, None),
            (RELEASE_MS, None, "it could not be written down in time: say it again"),
            (1, "guard is open", "guard is open"),
        )
    ):
        key = f"c{number}"
        desk.propose(request(number, risk="read"), 0)
        desk.release(key, 0)
        told = desk.withhold(key, now_ms, blocked)
        assert [(event.state, event.reason) for event in told] == ([("failed", reason)] if reason else [])
        assert (desk.request(key) is None) == bool(reason)


def test_shadow_mode_sends_nothing_and_cools_down_like_the_real_thing() -> None:
    desk = Desk({}, shadow=True)
    assert desk.propose(request(risk="read"), 0)[-1].shadow
    (told,) = desk.release("c1", 1)
    assert (told.state, told.reason) == ("rejected", "shadow mode: it would have been sent now")
    assert states(desk.propose(request(2, risk="read", cooldown_s=1), 2)) == ["rejected"]


def test_what_nobody_knows_is_asked_and_not_sent_again() -> None:
    desk = Desk({})
    desk.propose(request(risk="read"), 0)
    desk.release("c1", 1)
    with pytest.raises(NoAnswer, match="sent already"):
        desk.answer("c1", False, ANNA, 2)
    (told,) = desk.outcome("c1", None, "no answer within 5 s")
    assert (told.state, told.confirm) == ("dispatched", "outcome")
    assert told.prompt == "Was it done: set_speed: machine = press_2, rpm = 95?"
    with pytest.raises(NoAnswer, match="has not been shown yet"):
        desk.answer("c1", True, ANNA, 3)
    desk.shown(told, 9)
    assert desk.hear(True, 9, MICROPHONE, 4) == [], "who speaks may not have looked"
    assert desk.hear(False, 9, MICROPHONE, 4) == []
    (told,) = desk.answer("c1", True, ANNA, 5)
    assert (told.state, told.by, told.reason) == ("succeeded", "operator a1", "somebody saw that it was done")


def test_a_question_that_was_answered_is_not_the_one_that_is_open() -> None:
    """Somebody who reads from the beginning is sent both."""
    desk = Desk({})
    _, question = desk.propose(request(), 0)
    desk.shown(question, 2)
    desk.answer("c1", True, ANNA, 1)
    desk.release("c1", 2)
    (doubt,) = desk.outcome("c1", None)
    desk.shown(question, 3)
    with pytest.raises(NoAnswer, match="has not been shown yet"):
        desk.answer("c1", True, ANNA, 3)
    desk.shown(doubt, 3)
    assert states(desk.answer("c1", True, ANNA, 4)) == ["succeeded"]


def test_questions_are_asked_in_the_language_of_the_order() -> None:
    desk = Desk({}, language="de")
    order = replace(request(risk="read"), language="en")
    desk.propose(order, 0)
    history = desk.release("c1", 1)
    assert str(desk.outcome("c1", None)[0].prompt).startswith("Was it done: ")
    again = Desk({}, language="de")
    assert again.resume(history)[0].prompt == "Wurde es ausgeführt: set_speed: machine = press_2, rpm = 95?"


def test_a_late_outcome_settles_what_was_in_doubt() -> None:
    desk = Desk({})
    desk.propose(request(risk="read"), 0)
    desk.release("c1", 1)
    desk.outcome("c1", None)
    assert states(desk.outcome("c1", False, "it says no")) == ["failed"]


def test_too_many_commands_under_way_stop_further_ones() -> None:
    desk = Desk({})
    for number in range(UNDER_WAY):
        desk.propose(request(number, risk="read"), 0)
        desk.release(f"c{number}", 0)
    (told,) = desk.propose(request(99, risk="read"), 0)
    assert told.reason == "too many commands are under way: settle those that ask for it"


def test_after_a_restart_nothing_is_sent_and_what_was_sent_is_asked_about() -> None:
    desk = Desk({})
    history = desk.propose(request(1, risk="read"), 0)
    history += desk.release("c1", 1)
    history += desk.propose(request(2), 2)
    history += desk.propose(request(3, risk="forbidden"), 3)
    again = Desk({})
    expired, doubt = again.resume(history)
    assert (expired.command_id, expired.state) == ("c2", "expired")
    assert (doubt.command_id, doubt.state, doubt.confirm) == ("c1", "dispatched", "outcome")
    again.shown(doubt, 9)
    assert states(again.answer("c1", False, ANNA, 5)) == ["failed"]
    assert again.unsent is None
    assert again.next_due_ms is None
    assert again.release("c2", 6) == []
