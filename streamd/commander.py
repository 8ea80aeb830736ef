"""Finals → commands. A cursor on the log that appends its own events: understood, asked, answered, sent. One a session.

Partials are never looked at. Neither is what a crash left, what the journal held before, or an utterance of which the
engine gave up: only a final that this very process has heard in full. Where one of those would have been a command,
the reason why nothing happens is told. What the desk decides becomes an event, and a command is sent only once the
journal holds its `dispatched`: after a crash nobody sends it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from streamd.account import Account, Heard, origin, written
from streamd.core.commands.answers import affirms, refuses, spoken_codeword
from streamd.core.commands.decide import Decision, Verdict
from streamd.core.commands.definition import Risk
from streamd.core.commands.history import History, history
from streamd.core.commands.machine import Desk
from streamd.core.commands.reasons import Reason
from streamd.core.commands.request import Person, Request
from streamd.core.commands.undo import Past, takes_back
from streamd.core.events import Command as Told
from streamd.core.events import Event, Final
from streamd.core.wire import Answer
from streamd.dispatch import Call
from streamd.errors import UnavailableError
from streamd.feed import Feed, now_ms
from streamd.metrics import Metrics
from streamd.orders import Orders, Understood
from streamd.transcriber import Reading

HEARD = 16
"""Utterances whose final the journal does not hold yet; of more, the oldest gives no command."""

LOOK_S = 0.04  # between two looks whether somebody still speaks

_DIED = Reason("the daemon was restarted before this was understood: say it again")
_MISSED = Reason("this was not heard in full, or too much was said at once: say it again")

_log = logging.getLogger(__name__)


class Commander:
    """The commands of one session. `speaking`: is there an utterance without its final?"""

    def __init__(
        self,
        feed: Feed,
        orders: Orders,
        metrics: Metrics,
        speaking: Callable[[], bool],
        account: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._feed = feed
        self._orders = orders
        self._speaking = speaking
        self._account = Account(account, orders.grammar, shadow=orders.shadow)
        self._desk = Desk(orders.sent, shadow=orders.shadow, language=orders.told_in())
        self._past = Past()
        self._count = metrics.commands
        self._cursor = feed.log.next_seq - 1
        self._history = history(feed.log.since(0))
        self._heard: dict[int, Heard] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._newest = ""  # which command was sent last
        self._changed = asyncio.Event()  # a call has come to its end

    # what the session says

    def submit(self, reading: Reading, speaker: Person | None, said_ms: int | None) -> None:
        """An utterance has its final. Its last word was said at `said_ms`; None: nobody knows."""
        if len(self._heard) == HEARD:
            del self._heard[next(iter(self._heard))]
        self._heard[reading.final.utterance] = Heard(reading, speaker or Person(None, self._orders.role), said_ms or 0)

    def listened(self, ms: int) -> None:
        """So much sound has gone by."""
        self._account.listened(ms)

    def delivered(self, event: Event) -> None:
        """A reader has been sent this event."""
        if isinstance(event.body, Told) and event.body.prompt is not None:
            self._desk.shown(event.body, self._feed.log.next_seq)

    def answer(self, answer: Answer, by: Person) -> None:
        """Somebody answers by hand. Raises NoAnswer where that does not count."""
        self._tell(self._desk.answer(answer.command_id, answer.yes, by, self._orders.now_ms(), answer.word))

    @property
    def is_busy(self) -> bool:
        """Something is being sent."""
        return bool(self._sending)

    async def settled(self) -> None:
        """Return once nothing is being sent."""
        while self._sending:
            self._changed.clear()
            await self._changed.wait()

    # the cursor

    async def run(self) -> None:
        """Work until cancelled. What has not been sent by then is off; what is being sent is asked about later."""
        unread = self._resume()
        accounting = asyncio.create_task(self._account.run())
        try:
            for final in unread:
                with self._or_rejected(final):
                    await self._pass_by(final, _DIED)
            while True:
                await self._wait()
                newest = self._feed.log.newest  # more may come while this is read
                for event in self._feed.log.since(self._cursor):
                    self._cursor = event.seq
                    if isinstance(event.body, Final):
                        with self._or_rejected(event.body):
                            await self._read(event.body)
                self._cursor = max(self._cursor, newest)
                self._tell(self._desk.tick(self._orders.now_ms(), speaking=self._is_speaking()))
        finally:
            self._tell(self._desk.void(Reason("the daemon stops: say it again")))
            for task in (accounting, *self._sending):
                task.cancel()
            await asyncio.wait([accounting, *self._sending])
            await self._account.settle()

    async def _read(self, final: Final) -> None:
        heard = self._heard.pop(final.utterance, None)
        if heard is not None:
            await self._consider(heard)
        else:
            await self._pass_by(final, _DIED if final.engine == "journal" else _MISSED)

    @contextmanager
    def _or_rejected(self, final: Final) -> Iterator[None]:
        """What can't be read for want of a part is no command, and that is told."""
        try:
            yield
        except UnavailableError as error:
            decision = Decision(Verdict.REJECT, str(error))
            self._tell([self._rejected(final, Understood(decision, (final.text,)))])

    def _resume(self) -> list[Final]:
        """Go on after a restart. Returns what the former run may not have read any more."""
        sent, now = self._orders.sent, self._orders.now_ms()
        for name, at_ms in self._history.sent_ms.items():
            sent[name] = max(min(at_ms, now), sent.get(name, 0))
        left, self._history = self._history, History()
        self._tell(self._desk.resume(left.commands))
        return left.unread

    async def _wait(self) -> None:
        """Return once there is something to read, or time has done something."""
        due_ms = self._desk.next_due_ms
        wait_s = None if due_ms is None else max(LOOK_S, (due_ms - self._orders.now_ms()) / 1000)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._feed.wait_newer(self._cursor)

    def _is_speaking(self) -> bool:
        """Also if what was said last can't be read yet: it may take back what is held."""
        return self._speaking() or self._cursor < self._feed.log.next_seq - 1

    async def _consider(self, heard: Heard) -> None:
        final = heard.reading.final
        if not final.text or self._answers(heard):
            return
        if takes_back(final.text):
            self._undo(heard)
            return
        understood = await self._orders.understand(heard.reading)
        decision, match = understood.decision, understood.decision.match
        facts = self._facts(final, understood) | heard.evidence
        if match is None or (decision.verdict is Verdict.REJECT and match.command.safety.risk is not Risk.FORBIDDEN):
            if match is not None or understood.nearest is not None:
                self._tell([self._rejected(final, understood)], facts)
            return
        now = self._orders.now_ms()
        request = Request(
            command_id=self._command_id(final),
            command=match.command,
            params=match.params,
            utterance=final.utterance,
            sentence=match.sentence,
            said_ms=heard.said_ms,
            speaker=heard.speaker,
            sure=decision.sure and not final.fallback,
            codeword=self._orders.codeword(),
            language=match.language,
        )
        self._propose(request, now, facts)

    def _propose(self, request: Request, now_ms: int, facts: Mapping[str, object]) -> None:
        self._tell(self._desk.propose(request, now_ms, self._blocked(request, now_ms)), facts)

    def _blocked(self, request: Request, now_ms: int) -> str | None:
        """Which interlock is open."""
        return self._orders.states.blocked(request.command.safety.interlock, now_ms)

    def _undo(self, heard: Heard) -> None:
        """What was done last is to be taken back."""
        final, now = heard.reading.final, self._orders.now_ms()
        found = self._past.undo(now)
        if isinstance(found, Request) and self._desk.is_under_way(found.command_id):
            found = Reason("what is to be taken back is still being sent: say it again")
        understood = Understood(Decision(Verdict.REJECT, found if isinstance(found, str) else ""), (final.text,))
        facts = self._facts(final, understood) | heard.evidence
        del facts["verdict"]  # another grammar would make nothing else of it
        if isinstance(found, str):
            self._tell([self._rejected(final, understood)], facts)
            return
        request = replace(
            found,
            command_id=self._command_id(final),
            utterance=final.utterance,
            said_ms=heard.said_ms,
            speaker=heard.speaker,
            codeword=self._orders.codeword(),
        )
        self._propose(request, now, facts | {"understood": request.sentence})

    async def _pass_by(self, final: Final, reason: str) -> None:
        """A final that is not read as a command any more. If it would have been one, that is told."""
        understood = await self._orders.text.read(final)
        if understood.decision.match is not None:
            if understood.decision.verdict is not Verdict.REJECT:
                rejected = replace(understood.decision, verdict=Verdict.REJECT, reason=reason)
                understood = replace(understood, decision=rejected)
            self._tell([self._rejected(final, understood)], self._facts(final, understood))

    def _answers(self, heard: Heard) -> bool:
        """Whether it is an answer and nothing else. A refusal may be a command as well: "stop press two"."""
        if self._desk.unsent is None:
            return False
        text, utterance, now = heard.reading.final.text, heard.reading.final.utterance, self._orders.now_ms()
        word = spoken_codeword(text)
        if refuses(text) or takes_back(text):
            self._tell(self._desk.hear(False, utterance, heard.speaker, now), {"heard": text})
            return takes_back(text)
        if affirms(text) or word is not None:
            self._tell(self._desk.hear(True, utterance, heard.speaker, now, word), {"heard": text})
            return True
        return False

    # events

    def _command_id(self, final: Final) -> str:
        """The same for the same utterance, whatever happens: it is the idempotency key."""
        return f"{self._feed.log.epoch[:12]}-{final.utterance}"

    def _rejected(self, final: Final, understood: Understood) -> Told:
        language = self._orders.told_in(final.language)
        return understood.rejected(self._command_id(final), final.utterance, language, shadow=self._orders.shadow)

    def _facts(self, final: Final, understood: Understood) -> dict[str, object]:
        return origin(final, understood, self._orders.grammar)

    def _tell(self, bodies: Sequence[Told], facts: Mapping[str, object] | None = None) -> None:
        """Append events, and do what they ask for."""
        self._append(bodies, written(facts or {}))

    def _append(self, bodies: Sequence[Told], note: str) -> None:
        """The note goes with the first event of the command that it is about: what that voids comes before it."""
        about = next((told for told in bodies if told.command_id == bodies[-1].command_id), None)
        waiting = deque(bodies)
        while waiting:
            told = waiting.popleft()
            request = self._desk.request(told.command_id)
            event = self._feed.append(self._by_the_wall(told), note if told is about else "{}")
            self._count.labels(told.state).inc()
            if told.state == "confirmed" and request is not None:
                now = self._orders.now_ms()
                waiting.extend(self._desk.release(told.command_id, now, self._blocked(request, now)))
            elif told.state == "failed":
                self._past.failed(told.command_id)
            elif told.state == "dispatched" and told.prompt is None and request is not None:
                self._past.sent(request, self._orders.now_ms())
                self._newest = told.command_id
                task = asyncio.create_task(self._carry_out(event, request), name=f"command {told.command_id}")
                self._sending.add(task)
                task.add_done_callback(partial(self._carried_out, told.command_id))

    def _by_the_wall(self, told: Told) -> Told:
        """Readers compare with their own clocks when it expires."""
        if told.expires_ms is None:
            return told
        return told.model_copy(update={"expires_ms": told.expires_ms - self._orders.now_ms() + now_ms()})

    # to the target

    async def _carry_out(self, event: Event, request: Request) -> None:
        """Send it once the journal holds that it is being sent."""
        await self._feed.wait_newer(event.seq - 1)
        now = self._orders.now_ms()
        if withheld := self._desk.withhold(request.command_id, now, self._blocked(request, now)):
            self._tell(withheld)
            return
        call = Call(request.command_id, request.command.name, request.params)
        _log.info("command %s is sent", call.command_id)
        outcome = await self._orders.send(request.command, call, lambda: self._newest == call.command_id)
        kind = request.command.dispatch.kind if request.command.dispatch else None
        facts = {"target": kind, "call": dict(call.params), "answer": outcome.answer, "said": outcome.reason}
        note = written(facts)  # before the desk closes the command: that this fails has to be told as well
        self._append(self._desk.outcome(call.command_id, outcome.done, outcome.reason), note)

    def _carried_out(self, command_id: str, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()):
            _log.error("a command was not followed to its end", exc_info=error)
            self._tell(
                self._desk.outcome(command_id, None, Reason("the daemon lost sight of it: {}", type(error).__name__))
            )
