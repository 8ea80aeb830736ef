"""Who goes next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd.bridge.turns import Ticket, Turns
from streamd.engines.base import EngineSpec


def test_finals_before_partials_and_otherwise_in_order_of_arrival() -> None:
    turns = Turns(1)
    queue = [turns.enter(last=last) for last in (False, False, True, True)]
    served = []
    while admitted := list(turns.admit()):
        served += admitted
        turns.leave(admitted[0])
    assert served == [queue[2], queue[3], queue[0], queue[1]]


def test_as_many_at_a_time_as_there_are_places() -> None:
    turns = Turns(2)
    first, second, third = (turns.enter(last=False) for _ in range(3))
    assert list(turns.admit()) == [first, second]
    turns.leave(first)
    assert list(turns.admit()) == [third]


def test_batches_of_partials_leave_room_for_finals() -> None:
    turns = Turns(2, batch=3)
    partials = [turns.enter(last=False, single=False) for _ in range(7)]
    assert list(turns.admit()) == partials[:6]
    finals = [turns.enter(last=True) for _ in range(3)]
    pause = turns.enter(last=False, single=True)
    assert list(turns.admit()) == finals[:2]
    turns.leave(partials[0])
    assert list(turns.admit()) == []  # a final waits: no partial overtakes it
    turns.leave(finals[0])
    assert list(turns.admit()) == [finals[2], partials[6]]
    turns.leave(finals[1])
    assert list(turns.admit()) == [pause]


def test_a_suspect_goes_first_and_alone() -> None:
    turns = Turns(2)
    running = turns.enter(last=False)
    list(turns.admit())
    turns.enter(last=True)
    suspect = turns.enter(last=False, alone=True)
    assert list(turns.admit()) == []
    turns.leave(running)
    assert list(turns.admit()) == [suspect]


def test_who_no_longer_waits_is_passed_over() -> None:
    turns = Turns(1)
    gone, next_one = turns.enter(last=True), turns.enter(last=False)
    turns.leave(gone)
    assert list(turns.admit()) == [next_one]


@given(
    st.lists(st.one_of(st.tuples(st.booleans(), st.booleans(), st.booleans()), st.integers(0, 30)), max_size=60),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_everyone_gets_a_turn_and_never_too_many_at_a_time(
    steps: list[tuple[bool, bool, bool] | int], places: int, batch: int
) -> None:
    turns, calls = Turns(places, batch), EngineSpec("any", threads=places, batch=batch).calls
    held: list[Ticket] = []
    waiting: set[Ticket] = set()

    def admit() -> None:
        for ticket in turns.admit():
            waiting.remove(ticket)
            held.append(ticket)
        assert len(held) <= calls
        assert batch == 1 or sum(ticket.single for ticket in held) <= places
        assert len(held) == 1 or not any(ticket.alone for ticket in held)

    for step in steps:
        if isinstance(step, tuple):
            waiting.add(turns.enter(last=step[0], alone=step[1], single=step[0] or step[2]))
        elif held:
            turns.leave(held.pop(step % len(held)))
        admit()
    while held:
        turns.leave(held.pop())
        admit()
    assert not waiting
