"""One session's way to the engines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from streamd.bridge import EngineFailed
from streamd.core.route import Choice, Facts, Role, State, Talk, choose
from streamd.engines.base import Context, Hypothesis
from streamd.router.engines import BYTES_A_SECOND, Engines, shortened


class Route:
    """One session's recogniser, see transcriber.Recogniser. Its calls come one at a time."""

    def __init__(self, engines: Engines, session: str) -> None:
        self._engines = engines
        self._session = session
        self._talk = Talk(engines.rules.break_s)
        self._last: Choice | None = None
        self._utterance = ""
        self._heard_bytes = 0  # of the utterance, by the engine that hears it
        self._left: set[tuple[Role, str]] = set()  # engines that may still know of an utterance
        self._call: tuple[Role, asyncio.Future[Hypothesis]] | None = None
        self._moves = False  # the call goes to another engine
        engines.watchers.add(self)

    @property
    def name(self) -> str:
        """Of the engine that hears, or would hear now."""
        role = self._choice.role
        return self._engines.name if role is None else self._engines.hosts[role].name

    @property
    def state(self) -> State:
        """Of the engine that hears, or would hear now."""
        role = self._choice.role
        return self._engines.state if role is None else self._engines.hosts[role].state

    @property
    def note(self) -> str | None:
        """Why it is this engine, or none, where that is news or not as it should be."""
        choice = self._choice
        if self.state in ("respawning", "failed") or choice.role is None:
            return shortened(self._why({}))
        if not (choice.fresh or self._helps_out(choice)):
            return None
        return self._engines.note(choice.role, choice.reason)

    async def advance(self, utterance_id: str, pcm: bytes, last: bool, context: Context) -> Hypothesis:
        """The guess of the engine that hears now. One that fails is replaced within the call.

        Raises EngineFailed if no engine answers.
        """
        self._talk.hear(context.start_s, context.start_s + len(pcm) / BYTES_A_SECOND, continues=context.continues)
        opening, self._utterance = utterance_id != self._utterance, utterance_id
        if opening:
            self._heard_bytes = 0
        moved: set[Role] = set()
        unanswered: dict[Role, EngineFailed] = {}
        while True:
            choice = self._decide(context.waiting, frozenset(unanswered), opening=opening)
            opening = False
            await self._tidy()
            if choice.role is None:
                raise EngineFailed(self._why(unanswered))
            try:
                hypothesis = await self._ask(
                    choice.role, utterance_id, pcm, last, context, may_move=choice.role not in moved
                )
            except EngineFailed as error:
                self._engines.failed(choice.role, error)
                unanswered[choice.role] = error
                continue
            if hypothesis is not None:
                return replace(hypothesis, fallback=self._helps_out(choice))
            moved.add(choice.role)

    async def forget(self, utterance_id: str) -> None:
        """Free an utterance that gets no last call."""
        for host in self._engines.hosts.values():
            await host.forget(utterance_id)

    def reconsider(self) -> None:
        """An engine has come or gone: who hears from now on? A worker at work is left alone."""
        if self._last is None:
            return
        choice = self._decide()
        if self._call is None:
            return
        role, call = self._call
        if self._engines.hosts[role].state != "ready" and choice.role not in (None, role):
            self._moves = True
            call.cancel()

    @property
    def _choice(self) -> Choice:
        return self._last or choose(self._facts(opening=True), None, self._engines.rules)

    def _helps_out(self, choice: Choice) -> bool:
        """Is it another engine than the one that should hear?"""
        return choice.fallback or bool(self._engines.without)

    def _facts(self, waiting: int = 0, unanswered: frozenset[Role] = frozenset(), *, opening: bool = False) -> Facts:
        now_s = self._engines.clock()
        return Facts(
            now_s,
            short=self._engines.health(Role.SHORT, now_s),
            long=self._engines.health(Role.LONG, now_s),
            wish=self._engines.wish,
            opening=opening,
            age_s=self._talk.age_s,
            unbroken_s=self._talk.unbroken_s,
            waiting=waiting,
            unanswered=unanswered,
        )

    def _decide(self, waiting: int = 0, unanswered: frozenset[Role] = frozenset(), *, opening: bool = False) -> Choice:
        self._engines.forgive(self._engines.clock())
        facts = self._facts(waiting, unanswered, opening=opening)
        before, choice = self._last, choose(facts, self._last, self._engines.rules)
        self._last = choice
        if before and before.role and choice.role and before.role is not choice.role:
            self._heard_bytes = 0
            self._left.add((before.role, self._utterance))
            self._engines.switched(self._session, choice.role, choice.reason)
        elif choice.role and self._helps_out(choice) and (before is None or before.reason is not choice.reason):
            self._engines.tell(self._session, choice.role, choice.reason)
        return choice

    async def _tidy(self) -> None:
        """Engines that are left need not remember the utterance."""
        while self._left:
            role, utterance_id = self._left.pop()
            await self._engines.hosts[role].forget(utterance_id)

    async def _ask(
        self, role: Role, utterance_id: str, pcm: bytes, last: bool, context: Context, *, may_move: bool
    ) -> Hypothesis | None:
        """One engine's answer; None if its worker went and another engine can hear."""
        began_s, heard_bytes = self._engines.clock(), self._heard_bytes
        self._moves = False
        call = asyncio.ensure_future(self._engines.hosts[role].advance(utterance_id, pcm, last, context))
        self._call = (role, call) if may_move else None
        try:
            hypothesis = await call
        except asyncio.CancelledError:
            if not self._moves or _is_cancelled():
                raise
            return None
        finally:
            self._call = None
        now_s = self._engines.clock()
        self._engines.vitals[role].worked(now_s - began_s, (len(pcm) - heard_bytes) / BYTES_A_SECOND, now_s)
        if self._choice.role is role:  # another engine, chosen during the call, has heard nothing yet
            self._heard_bytes = len(pcm)
        return hypothesis

    def _why(self, unanswered: Mapping[Role, EngineFailed]) -> str:
        reasons = (unanswered.get(role) or host.detail for role, host in self._engines.hosts.items())
        return "; ".join(str(reason) for reason in reasons)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
