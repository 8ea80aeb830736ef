"""The engines of one daemon as the one recogniser that a session sees. core/route.py decides which of them hears.

Every engine has its own host and worker. The session keeps an utterance's sound, so an engine that takes over in the
middle hears it from its start, with the words that were shown for good as the beginning that it must keep.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

from streamd.bridge import EngineFailed, in_thread
from streamd.core.audio import SAMPLE_RATE
from streamd.core.route import Choice, Facts, Health, Reason, Role, Rules, State, Talk, choose
from streamd.core.vitals import Vitals
from streamd.engines.base import Context, Hypothesis
from streamd.errors import UnavailableError
from streamd.metrics import Metrics

OnChange = Callable[[State, str], None]
"""Told an engine's state and what there is to say about it."""

BYTES_A_SECOND = 2 * SAMPLE_RATE

_NOTES = {
    Reason.SHORT: "{name} hears short utterances",
    Reason.ONLY: "{name} is the only engine",
    Reason.WISH: "{name} is what the pipeline asks for",
    Reason.SESSION: "{name} hears long sessions",
    Reason.SPEECH: "{name} hears long speech without a pause",
    Reason.SLOW: "{name} instead of {other}, which can't keep up",
    Reason.LOADING: "{name} until {other} has loaded",
    Reason.LOST: "{name} until {other} is steady again",
    Reason.FAILED: "{name} instead of {other}, which failed",
}

_log = logging.getLogger(__name__)


class Host(Protocol):
    """What the router needs of bridge.EngineHost."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> State: ...

    @property
    def detail(self) -> str: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def advance(self, utterance_id: str, pcm: bytes, last: bool, context: Context) -> Hypothesis: ...

    async def forget(self, utterance_id: str) -> None: ...


class Router:
    """Starts the engines, knows how they do, and gives every session its own `Route`.

    `hosts` makes the host of each role. `on_change` is called at every change of an engine and at every switch.
    `sample` is sound (s16le, 16 kHz) by which the engine for short utterances is measured when it has loaded; it is
    asked for in a thread, and only where there is a choice. `clock` counts seconds.
    """

    def __init__(
        self,
        hosts: Mapping[Role, Callable[[OnChange], Host]],
        metrics: Metrics,
        *,
        rules: Rules | None = None,
        wish: Role | None = None,
        on_change: Callable[[], None] = lambda: None,
        sample: Callable[[], bytes] = bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules or Rules()
        self.wish = wish
        self.clock = clock
        self._metrics = metrics
        self._on_change = on_change
        self._sample = sample
        self._hearing: set[Route] = set()  # a call of theirs is under way
        self._unmeasured = {Role.SHORT} if len(hosts) > 1 else set()
        self.vitals = {role: Vitals(self.rules) for role in hosts}
        self.hosts = {role: make(self._watching(role)) for role, make in hosts.items()}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def state(self) -> State:
        """That of the engine that is best off."""
        states: tuple[State, ...] = ("ready", "starting", "respawning", "failed")
        return next((state for state in states if self._is_any(state)), "closed")

    @property
    def name(self) -> str:
        """Of the engine that is best off."""
        return next(host.name for host in self.hosts.values() if host.state == self.state)

    def session(self, name: str) -> Route:
        """The recogniser of one session."""
        return Route(self, name)

    async def start(self) -> None:
        """Start the engines, the lighter one first. Raises UnavailableError if none can be loaded."""
        errors = []
        for role in (Role.LONG, Role.SHORT):
            if role in self.hosts:
                try:
                    await self._start(role)
                except UnavailableError as error:
                    errors.append(error)
        if len(errors) == len(self.hosts):
            raise errors[0] if len(errors) == 1 else UnavailableError("; ".join(map(str, errors)))
        for fault in errors:
            _log.warning("%s hears everything: %s", self.name, fault)

    async def close(self) -> None:
        """End the engines. No process is left."""
        await asyncio.gather(*(host.close() for host in self.hosts.values()))

    def health(self, role: Role, now_s: float) -> Health:
        """The facts about an engine; absent if nobody fills that role."""
        return self.vitals[role].health(now_s) if role in self.vitals else Health()

    def begun(self, route: Route) -> None:
        """A call of this route is under way."""
        self._hearing.add(route)

    def ended(self, route: Route) -> None:
        self._hearing.discard(route)

    def switched(self, session: str, role: Role, reason: Reason, note: str) -> None:
        """Another engine hears this session from now on."""
        _log.info("engine session=%s: %s", session, note)
        self._metrics.switches.labels(self.hosts[role].name, reason.value).inc()
        self._on_change()

    def note(self, role: Role, reason: Reason) -> str:
        """What readers are told of a choice."""
        other = self.hosts.get(role.other)
        return _NOTES[reason].format(name=self.hosts[role].name, other=other.name if other else "")

    def _is_any(self, state: State) -> bool:
        return any(host.state == state for host in self.hosts.values())

    def _watching(self, role: Role) -> OnChange:
        def changed(state: State, _detail: str) -> None:
            if role not in self._unmeasured or state != "ready":
                self.vitals[role].changed(state, self.clock())
            for route in self._hearing:
                route.reconsider()
            self._on_change()

        return changed

    async def _start(self, role: Role) -> None:
        await self.hosts[role].start()
        if role in self._unmeasured:
            await self._measure(role)
            self._unmeasured.remove(role)
            self.vitals[role].changed(self.hosts[role].state, self.clock())
            self._on_change()

    async def _measure(self, role: Role) -> None:
        """How quick an engine is that has just loaded, with a caption for every second of the sample."""
        host, vitals = self.hosts[role], self.vitals[role]
        pcm = await in_thread(self._sample)
        ends = range(BYTES_A_SECOND, len(pcm) + 1, BYTES_A_SECOND)
        try:
            for end in ends:
                began_s = self.clock()
                await host.advance("sample", pcm[:end], end == ends[-1], Context())
                vitals.worked(self.clock() - began_s, 1.0, self.clock())
        except EngineFailed as error:
            vitals.failed(self.clock())
            _log.warning("%s failed when it was tried: %s", host.name, error)
        vitals.loaded()
        speed = vitals.health(self.clock()).speed
        if speed is not None:
            _log.info("engine %s takes %.2f s for a second of sound", host.name, speed)


class Route:
    """One session's recogniser, see transcriber.Recogniser. Its calls come one at a time."""

    def __init__(self, router: Router, session: str) -> None:
        self._router = router
        self._session = session
        self._talk = Talk(router.rules.break_s)
        self._last: Choice | None = None
        self._utterance = ""
        self._heard_bytes = 0  # of the utterance, by the engine that hears it
        self._call: asyncio.Future[Hypothesis] | None = None
        self._stays = False  # the call may not be moved to another engine
        self._moves = False

    @property
    def name(self) -> str:
        """Of the engine that hears, or would hear now."""
        role = self._choice.role
        return self._router.name if role is None else self._router.hosts[role].name

    @property
    def state(self) -> State:
        """Of the engine that hears, or would hear now."""
        role = self._choice.role
        return self._router.state if role is None else self._router.hosts[role].state

    @property
    def note(self) -> str | None:
        """Why it is this engine, where that is news or not as it should be."""
        choice = self._choice
        if choice.role is None or not (choice.fresh or choice.fallback):
            return None
        return self._router.note(choice.role, choice.reason)

    async def advance(self, utterance_id: str, pcm: bytes, last: bool, context: Context) -> Hypothesis:
        """The guess of the engine that hears now. One that fails is replaced within the call.

        Raises EngineFailed if no engine answers.
        """
        self._talk.hear(context.start_s, context.start_s + len(pcm) / BYTES_A_SECOND, continues=context.continues)
        opening, self._utterance = utterance_id != self._utterance, utterance_id
        if opening:
            self._heard_bytes = 0
        left: set[Role] = set()
        unanswered: dict[Role, EngineFailed] = {}
        while True:
            choice = await self._decide(context, unanswered, opening=opening)
            opening = False
            if choice.role is None:
                raise EngineFailed(self._why(unanswered))
            self._stays = choice.role in left
            try:
                hypothesis = await self._ask(choice.role, utterance_id, pcm, last, context)
            except EngineFailed as error:
                self._router.vitals[choice.role].failed(self._router.clock())
                unanswered[choice.role] = error
                continue
            if hypothesis is not None:
                return replace(hypothesis, fallback=choice.fallback)
            left.add(choice.role)

    async def forget(self, utterance_id: str) -> None:
        """Free an utterance that gets no last call."""
        for host in self._router.hosts.values():
            await host.forget(utterance_id)

    def reconsider(self) -> None:
        """An engine has come or gone: is the call under way still where it belongs? A worker at work is left alone."""
        last, call = self._last, self._call
        if call is None or last is None or last.role is None or self._stays:
            return
        if self._router.hosts[last.role].state != "ready" and self._choice.role not in (None, last.role):
            self._moves = True
            call.cancel()

    @property
    def _choice(self) -> Choice:
        return choose(self._facts(), self._last, self._router.rules)

    def _facts(self, waiting: int = 0, unanswered: frozenset[Role] = frozenset(), *, opening: bool = False) -> Facts:
        now_s = self._router.clock()
        return Facts(
            now_s,
            short=self._router.health(Role.SHORT, now_s),
            long=self._router.health(Role.LONG, now_s),
            wish=self._router.wish,
            opening=opening,
            age_s=self._talk.age_s,
            unbroken_s=self._talk.unbroken_s,
            waiting=waiting,
            unanswered=unanswered,
        )

    async def _decide(self, context: Context, unanswered: Mapping[Role, object], *, opening: bool) -> Choice:
        facts = self._facts(context.waiting, frozenset(unanswered), opening=opening)
        before, choice = self._last, choose(facts, self._last, self._router.rules)
        self._last = choice
        if before and before.role and choice.role and before.role is not choice.role:
            self._heard_bytes = 0
            self._router.switched(
                self._session, choice.role, choice.reason, self._router.note(choice.role, choice.reason)
            )
            await self._router.hosts[before.role].forget(self._utterance)
        return choice

    async def _ask(self, role: Role, utterance_id: str, pcm: bytes, last: bool, context: Context) -> Hypothesis | None:
        """One engine's answer; None if its worker went and another engine can hear."""
        began_s = self._router.clock()
        self._moves = False
        self._call = asyncio.ensure_future(self._router.hosts[role].advance(utterance_id, pcm, last, context))
        self._router.begun(self)
        try:
            hypothesis = await self._call
        except asyncio.CancelledError:
            if not self._moves or _is_cancelled():
                raise
            return None
        finally:
            self._call = None
            self._router.ended(self)
        now_s = self._router.clock()
        new_bytes, self._heard_bytes = len(pcm) - self._heard_bytes, len(pcm)
        self._router.vitals[role].worked(now_s - began_s, new_bytes / BYTES_A_SECOND, now_s)
        return hypothesis

    def _why(self, unanswered: Mapping[Role, EngineFailed]) -> str:
        reasons = (unanswered.get(role) or host.detail for role, host in self._router.hosts.items())
        return "; ".join(str(reason) for reason in reasons)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
