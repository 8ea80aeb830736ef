"""Who goes next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd.bridge.turns import Ticket, Turns


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
    st.lists(st.one_of(st.tuples(st.booleans(), st.booleans()), st.integers(0, 30)), max_size=60),
    st.integers(1, 4),
)
def test_everyone_gets_a_turn_and_never_too_many_at_a_time(steps: list[tuple[bool, bool] | int], places: int) -> None:
    turns = Turns(places)
    held: list[Ticket] = []
    waiting: set[Ticket] = set()

    def admit() -> None:
        for ticket in turns.admit():
            waiting.remove(ticket)
            held.append(ticket)
        assert len(held) <= places
        assert len(held) == 1 or not any(ticket.alone for ticket in held)

    for step in steps:
        if isinstance(step, tuple):
            waiting.add(turns.enter(last=step[0], alone=step[1]))
        elif held:
            turns.leave(held.pop(step % len(held)))
        admit()
    while held:
        turns.leave(held.pop())
        admit()
    assert not waiting
