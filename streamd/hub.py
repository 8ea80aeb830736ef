"""All sessions of one daemon: opened on demand, brought back from the journal, closed when nobody needs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Protocol, Self
from uuid import uuid4

from streamd.bridge import OneThread
from streamd.core.commands.definition import Scalar
from streamd.core.events import Event, Final, Partial
from streamd.core.log import Log
from streamd.feed import now_ms
from streamd.metrics import Metrics
from streamd.orders import Orders
from streamd.reviser import Reader
from streamd.server.hub import SessionLimit
from streamd.session import Session
from streamd.settings import Settings
from streamd.store import Journal, Loaded, keep
from streamd.transcriber import Recogniser

IDLE_S = 5.0
"""A session that nobody feeds or reads for so long makes room for a new one: the journal has what it said."""

IDLE_UNJOURNALLED_S = 600.0
"""The same where nothing is journalled, so that closing it forgets what it said."""

_log = logging.getLogger(__name__)


class Engines(Protocol):
    """What the hub needs of router.Router."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> str: ...

    def session(self, name: str) -> Recogniser: ...


class Hub:
    """The daemon's sessions by name. Use as an async context manager; leaving it flushes the journal."""

    def __init__(
        self,
        settings: Settings,
        engines: Engines,
        metrics: Metrics,
        journal: Journal | None,
        thread: OneThread,
        second: Reader | None = None,
        orders: Orders | None = None,
    ) -> None:
        self._settings = settings
        self._orders = orders
        self._engines = engines
        self._second = second  # of the second pass
        self._metrics = metrics
        self._journal = journal
        self._thread = thread
        self._sessions: dict[str, Session] = {}
        self._running: dict[str, list[asyncio.Task[None]]] = {}
        self._opening = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self.stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for name in self.names():
                    await self._close(name)
        finally:
            await self._tasks.__aexit__(kind, error, trace)

    def names(self) -> list[str]:
        """Sessions that are open now: first the daemon's own one, where readers land that name none."""
        return sorted(self._sessions, key=lambda name: (name != self._settings.session, name))

    def now_ms(self) -> int:
        """Wall-clock milliseconds since 1970."""
        return now_ms()

    def ready(self) -> str | None:
        """None: captions can be made. Otherwise why not."""
        return None if self._engines.state == "ready" else f"the engine {self._engines.name} is {self._engines.state}"

    def state(self) -> list[dict[str, object]]:
        """A summary of each session for /v1/sessions."""
        return [self._sessions[name].summary() for name in self.names()]

    def states(self, told: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
        """What is known of the plant after it was told these; None where nobody takes commands."""
        if self._orders is None:
            return None
        now = self._orders.now_ms()
        self._orders.states.tell(told, now)
        return self._orders.states.current(now)

    def engine_changed(self) -> None:
        """Tell the readers of every session how the engine is."""
        for session in self._sessions.values():
            session.show()

    async def get(self, name: str) -> Session | None:
        """The session of that name, open or in the journal; None if there never was one."""
        if name in self._sessions:
            self._sessions[name].touch()
            return self._sessions[name]
        return await self.open(name) if await self._is_journalled(name) else None

    async def history(self, name: str) -> list[Event] | None:
        """Every durable event of a session, without opening it; None if there never was one of that name."""
        if self._journal is None:
            session = self._sessions.get(name)
            return None if session is None else session.history()
        return await self._past(self._journal, name) if await self._is_journalled(name) else None

    async def _is_journalled(self, name: str) -> bool:
        return self._journal is not None and await self._thread.run(self._journal.knows, name)

    async def _past(self, journal: Journal, name: str) -> list[Event]:
        """In pages, so that finals are journalled in between."""
        events: list[Event] = []
        while page := await self._thread.run(journal.page, name, events[-1].seq if events else 0):
            events += page
        return events

    async def open(self, name: str) -> Session:
        """The session of that name, made if need be. Raises SessionLimit if there are too many."""
        async with self._opening:
            if name not in self._sessions:
                await self._make_room()
                self._sessions[name] = await self._begin(name)
                self._metrics.sessions.set(len(self._sessions))
            self._sessions[name].touch()
            return self._sessions[name]

    async def expect(self, name: str, terms: tuple[str, ...]) -> tuple[str, ...]:
        """Names and jargon for the session of that name, also after a restart. Raises ValueError and SessionLimit."""
        session = await self.open(name)
        session.check_vocabulary(terms)
        if self._journal is not None:
            await self._thread.run(self._journal.expect, name, terms)
        session.expect(terms)
        return session.vocabulary

    async def settle(self) -> None:
        """Stop every source and wait until what it said is finalised."""
        for session in list(self._sessions.values()):
            session.stop()
        for session in list(self._sessions.values()):
            await session.settled()

    def give_up(self) -> None:
        """Wait for the engine no longer: what has no final gets what readers were shown for good."""
        for session in self._sessions.values():
            session.give_up()

    async def _make_room(self) -> None:
        if len(self._sessions) < self._settings.server.max_sessions:
            return
        session = max(self._sessions.values(), key=lambda session: session.idle_s)
        if session.idle_s < (IDLE_S if self._journal else IDLE_UNJOURNALLED_S):
            raise SessionLimit(
                f"{len(self._sessions)} sessions are open: {', '.join(self.names())}; "
                "end one, or raise server.max_sessions"
            )
        await self._close(session.name)

    async def _begin(self, name: str) -> Session:
        if self._journal is None:
            session = Session(
                Log(name, uuid4().hex),
                self._engines.session(name),
                self._settings,
                self._metrics,
                second=self._second,
            )
        else:
            loaded = await self._thread.run(self._journal.load, name, now_ms())
            session = self._restore(loaded, name)
        self._running[name] = [self._tasks.create_task(session.run(), name=f"session {name}")]
        if self._journal is not None:
            work = keep(session.feed, self._journal, self._thread.run, self._metrics, now_ms)
            self._running[name].append(self._tasks.create_task(work, name=f"journal {name}"))
        _log.info("session open name=%s seq=%d", name, session.log.next_seq)
        return session

    def _restore(self, loaded: Loaded, name: str) -> Session:
        """Go on where the journal ends: what was interrupted gets its final, the time since then its gap."""
        log = Log(
            name,
            loaded.epoch,
            next_seq=loaded.next_seq,
            history=loaded.history,
            dropped=loaded.dropped,
            write_ahead=True,
        )
        resumes = bool(loaded.history or loaded.interrupted)
        session = Session(
            log,
            self._engines.session(name),
            self._settings,
            self._metrics,
            position_ms=loaded.last_end_ms,
            unheard=(lambda: loaded.unheard(now_ms())) if resumes else None,
            second=self._second,
            orders=self._orders,
            account=self._account(name),
        )
        if loaded.vocabulary:
            try:
                session.expect(loaded.vocabulary)
            except ValueError as error:  # the pipeline's has grown
                _log.warning("session %s expects only what its pipeline does: %s", name, error)
        for event in loaded.interrupted:
            if isinstance(event.body, Partial):
                session.feed.append(_rescued(event.body))
        if loaded.interrupted:
            session.resume()
        return session

    def _account(self, name: str) -> Callable[[str], Awaitable[None]]:
        """Writes into the audit how long commands were listened for in a session."""

        async def account(note: str) -> None:
            if self._journal is not None:
                await self._thread.run(self._journal.listened, name, note, now_ms())

        return account

    async def _close(self, name: str) -> None:
        """End a session's tasks in the order of the pipe; its last events are in the journal then."""
        session = self._sessions.pop(name)
        for task in self._running.pop(name):
            task.cancel()
            await asyncio.wait([task])
        if self._journal is not None:
            await self._thread.run(self._journal.release, name, session.log.next_seq)
        self._metrics.forget_session(name)
        _log.info("session closed name=%s", name)


def _rescued(partial: Partial) -> Final:
    """What readers had been shown for good when the daemon died in the middle of an utterance."""
    return Final(
        utterance=partial.utterance,
        start_ms=partial.start_ms,
        end_ms=partial.end_ms,
        text=partial.text[: partial.committed],
        engine="journal",
        fallback=True,
    )
