"""The log: a reader that sleeps and wakes sees what an eager reader sees, and nobody sees what a crash could take."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamd.core.events import DURABLE, Body, Ended, Event, Final, Gap, Partial, Status, Vocabulary, Welcome
from streamd.core.log import RETAINED_EVENTS, Log
from tests.bodies import BODIES


def final(utterance: int) -> Final:
    return Final(utterance=utterance, start_ms=0, end_ms=40, text="truth", engine="scripted")


def partial(utterance: int, rev: int = 1) -> Partial:
    return Partial(utterance=utterance, rev=rev, start_ms=0, end_ms=40, text="truth", committed=0)


GAP = Gap(start_ms=0, end_ms=40, reason="overflow")
IDLE = Status(state="idle")


def log_of(*bodies: Body, write_ahead: bool = False, retain: int = RETAINED_EVENTS) -> Log:
    log = Log("room", "e1", write_ahead=write_ahead, retain=retain)
    for body in bodies:
        log.append(body, 5)
    return log


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


def is_superseded(event: Event, later: list[Event]) -> bool:
    """The rule in its plainest words: what `later` says makes `event` old news."""
    match event.body:
        case Partial(utterance=utterance):
            return any(isinstance(other.body, Partial | Final) and other.body.utterance == utterance for other in later)
        case Status() | Vocabulary() | Ended():
            return any(type(other.body) is type(event.body) for other in later)
        case _:
            return False


class Oracle(RuleBasedStateMachine):
    """A log with write-ahead and a small memory, beside a list that forgets nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log("room", "e1", write_ahead=True, retain=4)
        self.all: list[Event] = []
        self.confirmed = 0
        self.newest = 0
        self.asleep_at = 0  # a reader's cursor, and what it has got so far
        self.got: dict[int, Event] = {}

    @rule(body=BODIES)
    def append(self, body: Body) -> None:
        event = self.log.append(body, 5)
        assert event.seq == len(self.all) + 1
        assert (event.session, event.at_ms, event.body) == ("room", 5, body)
        self.all.append(event)

    @precondition(lambda self: self.all)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        """Also late ones, that confirm less than an earlier one did."""
        seq = data.draw(st.integers(0, len(self.all)))
        self.log.confirm(seq)
        self.confirmed = max(self.confirmed, seq)

    @rule()
    def wake(self) -> None:
        for event in self.log.since(self.asleep_at):
            assert event.seq > self.asleep_at
            self.asleep_at = event.seq
            self.got[event.seq] = event

    def waiting(self) -> list[Event]:
        return [event for event in self.all if isinstance(event.body, DURABLE) and event.seq > self.confirmed]

    @invariant()
    def numbers_tell_the_truth(self) -> None:
        first_hidden = min(seqs(self.waiting()), default=len(self.all) + 1)
        assert self.log.next_seq == len(self.all) + 1
        assert self.log.newest == first_hidden - 1
        assert self.log.newest >= self.newest, "what was visible stays visible"
        self.newest = self.log.newest
        assert self.log.unconfirmed() == self.waiting()

    @invariant()
    def readers_see_what_still_holds(self) -> None:
        """From every position: durable events in full, of the others the newest."""
        visible = [event for event in self.all if event.seq <= self.log.newest]
        retained = [event for event in visible if event.seq >= self.log.oldest or not isinstance(event.body, DURABLE)]
        for seq in range(-1, self.log.next_seq + 1):
            expected = [
                event for event in retained if event.seq > seq and not is_superseded(event, self.all[event.seq :])
            ]
            assert self.log.since(seq) == expected
            assert self.log.next_after(seq) == next(iter(self.log.since(seq)), None)

    @invariant()
    def memory_is_bounded_by_what_the_journal_holds(self) -> None:
        dropped = [event for event in self.all if isinstance(event.body, DURABLE) and event.seq < self.log.oldest]
        held = [event for event in self.all if isinstance(event.body, DURABLE) and event.seq >= self.log.oldest]
        assert all(event.seq <= self.confirmed for event in dropped), "only what the journal holds is dropped"
        assert not dropped or len(held) >= 4, "never more than needed is dropped"

    @invariant()
    def open_partials_are_the_newest_of_what_has_no_final(self) -> None:
        partials = [event for event in self.all if isinstance(event.body, Partial)]
        expected = [event for event in partials if not is_superseded(event, self.all[event.seq :])]
        assert self.log.open_partials() == expected

    @invariant()
    def a_sleeper_misses_no_final(self) -> None:
        seen = [event for event in self.all if isinstance(event.body, DURABLE) and event.seq <= self.asleep_at]
        assert all(event.seq in self.got or event.seq < self.log.oldest for event in seen)


TestLogAgainstAnOracle = Oracle.TestCase
TestLogAgainstAnOracle.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_events_are_numbered_from_one() -> None:
    assert seqs([Log("room", "e1").append(IDLE, 5)]) == [1]
    assert log_of(GAP, GAP, GAP).next_seq == 4


def test_an_empty_log_has_nothing_to_show() -> None:
    log = Log("room", "e1")
    assert (log.oldest, log.newest, log.since(0), log.next_after(0)) == (1, 0, [], None)


def test_a_final_replaces_the_partials_of_its_utterance_only() -> None:
    log = log_of(partial(1), partial(2), partial(1, 2), final(1))
    assert seqs(log.since(0)) == [2, 4]


def test_a_status_and_an_end_replace_their_own_kind_only() -> None:
    log = log_of(IDLE, Ended(audio_ms=1), IDLE, Ended(audio_ms=2), GAP)
    assert seqs(log.since(0)) == [3, 4, 5]


def test_a_final_and_all_that_follows_wait_for_the_journal() -> None:
    log = log_of(IDLE, final(7), partial(8), GAP, partial(9), write_ahead=True)
    assert (log.newest, seqs(log.since(0)), seqs(log.unconfirmed())) == (1, [1], [2, 4])
    log.confirm(2)
    assert (log.newest, seqs(log.since(1)), seqs(log.unconfirmed())) == (3, [2, 3], [4])
    log.confirm(5)
    assert (log.newest, seqs(log.since(3)), log.unconfirmed()) == (5, [4, 5], [])


def test_without_a_journal_everything_is_visible_at_once() -> None:
    log = log_of(final(1), GAP)
    assert (log.newest, seqs(log.since(0))) == (2, [1, 2])


def test_a_log_goes_on_where_the_journal_ends() -> None:
    history = [Event.seal(GAP, seq=seq, session="room", at_ms=5) for seq in (3, 9)]
    log = Log("room", "e1", next_seq=100, history=history, dropped=2, write_ahead=True)
    assert (log.oldest, log.newest, log.next_seq) == (3, 99, 100)
    assert log.since(0) == history
    assert log.unconfirmed() == []
    assert log.append(GAP, 5).seq == 100
    assert log.newest == 99


def test_a_history_beyond_the_next_number_is_refused() -> None:
    history = [Event.seal(GAP, seq=9, session="room", at_ms=5)]
    with pytest.raises(ValueError, match="history of session 'room' ends at seq 9, next is 9"):
        Log("room", "e1", next_seq=9, history=history)


@pytest.mark.parametrize(
    ("after", "epoch", "cursor"),
    [
        (None, None, 0),
        (None, "e1", 0),
        (0, "e1", 0),
        (8, "e1", 0),  # 9 is gone
        (9, "e1", 9),
        (15, "e1", 15),
        (15, None, 15),
        (15, "e0", 0),
        (20, "e1", 20),
        (21, "e1", 0),  # never sent
        (-1, "e1", 0),
    ],
)
def test_a_reader_resumes_where_that_is_honest(after: int | None, epoch: str | None, cursor: int) -> None:
    history = [Event.seal(GAP, seq=seq, session="room", at_ms=5) for seq in range(10, 21)]
    log = Log("room", "e1", next_seq=21, history=history, dropped=9)
    assert log.resume(after, epoch) == cursor


def test_what_is_not_visible_yet_can_not_be_resumed_after() -> None:
    log = log_of(IDLE, final(1), write_ahead=True)
    assert [log.resume(after, "e1") for after in (1, 2)] == [1, 0]


def test_memory_is_trimmed_in_blocks() -> None:
    log = log_of(*[GAP] * 11, retain=10)
    assert log.oldest == 1
    log.append(GAP, 5)
    assert (log.oldest, seqs(log.since(0))) == (3, list(range(3, 13)))
    assert log.resume(1, "e1") == 0


def test_what_the_journal_does_not_hold_is_not_trimmed() -> None:
    log = log_of(*[GAP] * 15, write_ahead=True, retain=5)
    assert (log.oldest, len(log.unconfirmed())) == (1, 15)
    log.confirm(3)
    log.append(GAP, 5)
    assert (log.oldest, len(log.unconfirmed())) == (4, 13)


def test_a_welcome_tells_where_the_log_stands() -> None:
    log = log_of(IDLE, final(1), write_ahead=True)
    event = log.welcome(1, "streamd 9", 77)
    assert event.body == Welcome(epoch="e1", oldest=1, newest=1, server="streamd 9")
    assert (event.seq, event.session, event.at_ms) == (1, "room", 77)


def test_a_welcome_is_no_event_of_the_log() -> None:
    body = Welcome(epoch="e1", oldest=1, newest=1, server="streamd")
    with pytest.raises(TypeError, match="welcome"):
        Log("room", "e1").append(body, 5)  # type: ignore[arg-type]  # that it is refused is the point


@given(st.lists(BODIES, max_size=20), st.data())
def test_however_often_a_reader_sleeps_it_ends_with_the_same_events(bodies: list[Body], data: st.DataObject) -> None:
    """What an eager reader got and a sleeper did not was superseded."""
    log, eager, lazy, cursor = Log("room", "e1"), list[Event](), list[Event](), 0
    for body in bodies:
        log.append(body, 5)
        eager += log.since(eager[-1].seq if eager else 0)
        if data.draw(st.booleans()):
            lazy += log.since(cursor)
            cursor = lazy[-1].seq if lazy else 0
    lazy += log.since(cursor)
    assert seqs(eager) == list(range(1, len(bodies) + 1))
    missed = [event for event in eager if event not in lazy]
    assert all(is_superseded(event, eager[event.seq :]) for event in missed)
