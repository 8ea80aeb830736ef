"""Which of the waiting engine calls goes next. Decides only: nothing here waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Ticket:
    """One call's place in the queue."""

    number: int  # in order of arrival
    last: bool  # finals go before partials
    single: bool  # it shares no batch
    alone: bool  # a worker died of this call, or of one that ran beside it: it goes first, with nothing beside it

    @property
    def rank(self) -> tuple[bool, bool, int]:
        return (not self.alone, not self.last, self.number)


class Turns:
    """Of `places`, each serves one single ticket at a time, or up to `batch` others together.

    Where there are batches, single tickets are admitted as if there were no others: their server puts them first.
    The queue has no bound of its own: every ticket in it is a caller that waits.
    """

    def __init__(self, places: int, batch: int = 1) -> None:
        self._places, self._batch = places, batch
        self._waiting: list[Ticket] = []
        self._running: list[Ticket] = []
        self._issued = 0

    def enter(self, *, last: bool, alone: bool = False, single: bool = True) -> Ticket:
        """Join the queue."""
        self._issued += 1
        ticket = Ticket(self._issued, last, single, alone)
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
        if self._batch == 1:
            return len(self._running) < self._places
        alike = sum(running.single == ticket.single for running in self._running)
        return alike < (self._places if ticket.single else self._places * self._batch)
