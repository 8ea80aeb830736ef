"""The engines of one daemon: started, measured, watched, closed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from weakref import WeakSet

from streamd.bridge import EngineFailed, in_thread
from streamd.core.audio import SAMPLE_RATE
from streamd.core.route import Facts, Health, Reason, Role, Rules, State, choose
from streamd.core.vitals import Vitals
from streamd.engines.base import Context, Hypothesis
from streamd.errors import UnavailableError
from streamd.metrics import Metrics

OnChange = Callable[[State, str], None]
"""Told an engine's state and what there is to say about it."""

BYTES_A_SECOND = 2 * SAMPLE_RATE

_NOTES = {
    Reason.SHORT: "{name} hears short utterances",
    Reason.ONLY: "{name} hears everything",
    Reason.WISH: "{name} is what the pipeline asks for",
    Reason.SESSION: "{name} hears long sessions",
    Reason.SPEECH: "{name} hears long speech without a pause",
    Reason.SLOW: "{name} instead of {other}, which can't keep up",
    Reason.LOADING: "{name} until {other} has loaded",
    Reason.LOST: "{name} until {other} is steady again",
    Reason.FAILED: "{name} instead of {other}, which failed",
    Reason.BACK: "{name} until {other} takes over",
}
_EXPLAINED = frozenset({Reason.ONLY, Reason.LOST, Reason.FAILED})
_WHY_CHARACTERS = 160  # of a fault, in what readers are told

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outlook:
    """Who will hear what is said first."""

    told: str  # and why, and how quick the engine is that was measured
    is_fallback: bool  # it is not the engine that the sound asks for


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


class Watcher(Protocol):
    """Told when an engine has come or gone, for as long as it lives."""

    def reconsider(self) -> None: ...


class Engines:
    """Starts the engines and knows how they do.

    `hosts` makes the host of each role. `on_change` is called at every change of an engine and at every switch.
    `sample` is sound (s16le, 16 kHz) by which the engine for short utterances is measured when it has loaded; it is
    asked for in a thread, and only where there is a choice. `without`: why there is no host for a role that somebody
    wants filled. `clock` counts seconds.
    """

    def __init__(
        self,
        hosts: Mapping[Role, Callable[[OnChange], Host]],
        metrics: Metrics,
        *,
        rules: Rules | None = None,
        wish: Role | None = None,
        without: str = "",
        on_change: Callable[[], None] = lambda: None,
        sample: Callable[[], bytes] = bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules or Rules()
        self.wish = wish
        self.without = without
        self._faults: dict[Role, str] = {}  # the last one of each engine
        self.clock = clock
        self._metrics = metrics
        self._on_change = on_change
        self._sample = sample
        self.watchers: WeakSet[Watcher] = WeakSet()
        self._unmeasured = {Role.SHORT} if len(hosts) > 1 else set()
        self.vitals = {role: Vitals(self.rules) for role in hosts}
        self.hosts = {role: make(self._watching(role)) for role, make in hosts.items()}

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
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

    async def start(self) -> None:
        """Start the engines, the lighter one first.

        Raises UnavailableError if none can be loaded, or not the one that is wished for.
        """
        errors: dict[Role, UnavailableError] = {}
        for role in (Role.LONG, Role.SHORT):
            if role in self.hosts:
                try:
                    await self._start(role)
                except UnavailableError as error:
                    errors[role] = error
        if len(errors) == len(self.hosts) > 1:
            raise UnavailableError("; ".join(map(str, errors.values())))
        for role, fault in errors.items():
            if role is self.wish or len(self.hosts) == 1:
                raise fault
            _log.warning("%s hears everything: %s", self.name, fault)
        if self.without:
            _log.warning("%s", self.outlook().told)

    async def close(self) -> None:
        """End the engines. No process is left."""
        await asyncio.gather(*(host.close() for host in self.hosts.values()))

    def health(self, role: Role, now_s: float) -> Health:
        """The facts about an engine; absent if nobody fills that role."""
        return self.vitals[role].health(now_s) if role in self.vitals else Health()

    def forgive(self, now_s: float) -> None:
        """Engines that have rested may be tried again: see Vitals."""
        for vitals in self.vitals.values():
            vitals.forgive(now_s)

    def failed(self, role: Role, error: EngineFailed) -> None:
        """An engine gave no answer to a call."""
        self._faults[role] = str(error)
        self.vitals[role].failed(self.clock())

    def switched(self, session: str, role: Role, reason: Reason) -> None:
        """Another engine hears this session from now on."""
        self.tell(session, role, reason)
        self._metrics.switches.labels(self.hosts[role].name, reason.value).inc()
        self._on_change()

    def tell(self, session: str, role: Role, reason: Reason) -> None:
        """Log a choice."""
        _log.info("engine session=%s: %s", session, self.note(role, reason))

    def note(self, role: Role, reason: Reason) -> str:
        """What readers are told of a choice."""
        other = self.hosts.get(role.other)
        note = _NOTES[reason].format(name=self.hosts[role].name, other=other.name if other else "")
        why = self.without if reason is Reason.ONLY else self._faults.get(role.other, "")
        return f"{note}: {shortened(why)}" if why and reason in _EXPLAINED else note

    def outlook(self) -> Outlook:
        """Who will hear what is said first, after the engines have started."""
        now_s = self.clock()
        short, long = self.health(Role.SHORT, now_s), self.health(Role.LONG, now_s)
        choice = choose(Facts(now_s, short, long, self.wish), None, self.rules)
        told = self.note(choice.role, choice.reason) if choice.role else "nobody hears"
        if short.speed is not None:
            limit = f" ({self.rules.quick:g} are too many)" if choice.reason is Reason.SLOW else ""
            told = f"{self.hosts[Role.SHORT].name} takes {short.speed:.2f} s{limit} for a second of sound: {told}"
        return Outlook(told, choice.fallback or bool(self.without))

    def _is_any(self, state: State) -> bool:
        return any(host.state == state for host in self.hosts.values())

    def _watching(self, role: Role) -> OnChange:
        def changed(state: State, detail: str) -> None:
            if state in ("respawning", "failed"):
                self._faults[role] = detail if state == "failed" else f"its worker {detail}"
            if role not in self._unmeasured or state != "ready":
                self.vitals[role].changed(state, self.clock())
            self._changed(state)

        return changed

    def _changed(self, state: State) -> None:
        if state != "closed":  # all of them are closed together
            for watcher in self.watchers:
                watcher.reconsider()
        self._on_change()

    async def _start(self, role: Role) -> None:
        await self.hosts[role].start()
        if role in self._unmeasured:
            await self._measure(role)
            self._unmeasured.remove(role)
            state = self.hosts[role].state
            self.vitals[role].changed(state, self.clock())
            self._changed(state)
            if self.health(role, self.clock()).speed is not None:
                outlook = self.outlook()
                _log.log(logging.WARNING if outlook.is_fallback else logging.INFO, "engine %s", outlook.told)

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
            self.failed(role, error)
            _log.warning("%s failed when it was tried: %s", host.name, error)
        vitals.loaded()


def shortened(why: str) -> str:
    """A fault in so many words as fit on a line."""
    line = why.partition("\n")[0]
    return line if len(line) <= _WHY_CHARACTERS else f"{line[: _WHY_CHARACTERS - 1]}…"
