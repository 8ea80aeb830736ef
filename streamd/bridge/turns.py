"""Which of the waiting engine calls goes next. Decides only: nothing here waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Ticket:
    """One call's place in the queue."""

    number: int  # in order of arrival
    last: bool  # finals go before partials
    alone: bool  # a worker died of this call, or of one that ran beside it: it goes first, with nothing beside it

    @property
    def rank(self) -> tuple[bool, bool, int]:
        return (not self.alone, not self.last, self.number)


class Turns:
    """At most `places` tickets hold a turn at a time.

    The queue has no bound of its own: every ticket in it is a caller that waits.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: list[Ticket] = []
        self._running: list[Ticket] = []
        self._issued = 0

    def enter(self, *, last: bool, alone: bool = False) -> Ticket:
        """Join the queue."""
        self._issued += 1
        ticket = Ticket(self._issued, last, alone)
        self._waiting.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The turn is over, or no longer wanted."""
        (self._running if ticket in self._running else self._waiting).remove(ticket)

    def admit(self) -> Iterator[Ticket]:
        """Tickets whose turn it has become; from now on they hold it."""
        while self._waiting:
            ticket = min(self._waiting, key=lambda waiting: waiting.rank)
            if not self._fits(ticket):
                return
            self._waiting.remove(ticket)
            self._running.append(ticket)
            yield ticket

    def _fits(self, ticket: Ticket) -> bool:
        if ticket.alone or any(running.alone for running in self._running):
            return not self._running
        return len(self._running) < self._places
