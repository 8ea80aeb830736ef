"""The daemon's life: start, serve, drain, stop; and the same pipe for one file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import uvloop

from streamd.bridge import EngineHost, OneThread, in_thread
from streamd.core.events import Event
from streamd.core.log import Log
from streamd.engines.base import EngineSpec
from streamd.errors import StreamdError
from streamd.feed import now_ms
from streamd.hub import Hub
from streamd.metrics import Metrics
from streamd.orders import Orders, Seconded, orders
from streamd.resources import resource
from streamd.router import BYTES_A_SECOND, OnChange, Outlook, Router
from streamd.server import serve
from streamd.session import Session
from streamd.settings import Engines, Settings
from streamd.sources import MediaFile, Missing, Source, open_source
from streamd.sources.decode import decode
from streamd.specs import Hearing, hearing, rules, second_spec
from streamd.store import Journal, retain

LOOP_PROBE_S = 0.25
GIVE_UP_S = 1.0  # a source that does not even close in this time is left
FILE_HANGOVER_MS = 1_200  # more context makes fewer errors
SAMPLE_S = 3  # of speech, with which an engine is measured

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """What `streamd run` tells its user once it listens."""

    url: str
    source: str | None
    session: str
    engines: str


def run(settings: Settings, announce: Callable[[Running], None]) -> None:
    """Run until SIGTERM or SIGINT, then drain. Raises StreamdError for what makes running impossible."""
    specs = hearing(settings), second_spec(settings)
    metrics = Metrics()
    shared = orders(settings, metrics)
    source = open_source(settings.source, fast=settings.source.fast)
    with _unwrapped():
        uvloop.run(_live(settings, specs, shared, metrics, source, announce))


def transcribe(
    settings: Settings,
    paths: Sequence[Path],
    on_progress: Callable[[Path, int], None],
    on_done: Callable[[Path, list[Event] | StreamdError], None],
) -> Outlook:
    """Files as quick as the machine can, one after the other with one engine. Returns which that was at first, and why.

    `on_progress` is told the milliseconds of sound that are recognised, `on_done` the finals and gaps, or why there are
    none; it may block. Raises StreamdError if the engine isn't there.
    """
    specs = hearing(settings)
    with _unwrapped():
        return uvloop.run(_transcribe(settings, specs, paths, on_progress, on_done))


async def _live(
    settings: Settings,
    specs: tuple[Hearing, EngineSpec | None],
    shared: Orders | None,
    metrics: Metrics,
    source: Source | None,
    announce: Callable[[Running], None],
) -> None:
    """Parts stop in the reverse of the order in which they start."""
    stopping = _on_signal()
    async with contextlib.AsyncExitStack() as stack:
        thread = stack.enter_context(contextlib.closing(OneThread()))
        journal = await stack.enter_async_context(_journal(settings, thread))
        heard_by = _told_of_tools(specs[0], shared)
        router = _router(heard_by, settings, metrics, lambda: hub.engine_changed())
        stack.push_async_callback(router.close)
        _read_orders_twice(shared, heard_by, router)
        second = _second(specs[1], settings) if specs[1] else None
        if second is not None:
            stack.push_async_callback(second.close)
        if shared is not None and shared.ear is not None:
            stack.push_async_callback(shared.ear.close)
        hub = await stack.enter_async_context(Hub(settings, router, metrics, journal, thread, second, shared))
        server = await stack.enter_async_context(serve(settings.server, hub, metrics))
        session = await hub.open(settings.session)
        announce(Running(server.url, source.name if source else None, session.name, specs[0].told))
        async with asyncio.TaskGroup() as tasks:
            chores = [tasks.create_task(router.start()), tasks.create_task(_probe_loop(metrics))]
            if second is not None:
                chores.append(tasks.create_task(second.start()))
            if shared is not None and shared.ear is not None:
                chores.append(tasks.create_task(shared.ear.start()))
            if source is not None:
                chores.append(tasks.create_task(_listen(session, source)))
            if journal is not None:
                chores.append(tasks.create_task(retain(journal, thread.run, settings.store.retention_days, now_ms)))
            await stopping.wait()
            hub.stopping.set()
            await _drain(hub, router, settings.server.drain_s)
            for chore in chores:
                chore.cancel()


def _on_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second one kills."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # SIGINT as well: KeyboardInterrupt would be tidied up after
        stopping.set()
        _log.info("stopping: what was said is being finished")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping


@contextlib.asynccontextmanager
async def _journal(settings: Settings, thread: OneThread) -> AsyncIterator[Journal | None]:
    if settings.store.path is None:
        yield None
        return
    journal = await thread.run(Journal.open, settings.store.path)
    try:
        yield journal
    finally:
        await thread.run(journal.close)


def _told_of_tools(wanted: Hearing, shared: Orders | None) -> Hearing:
    """The same engines; those that call tools know from their start which commands there are."""
    if shared is None:
        return wanted
    tools = shared.tools
    specs = {role: replace(spec, tools=tools) if spec.kind == "gemma" else spec for role, spec in wanted.specs.items()}
    return replace(wanted, specs=specs)


def _read_orders_twice(shared: Orders | None, wanted: Hearing, router: Router) -> None:
    """Where an engine that calls tools is among those that hear, risky commands need its agreement."""
    for role, spec in wanted.specs.items():
        host = router.hosts[role]
        if shared is not None and spec.tools and isinstance(host, EngineHost):
            shared.understand = Seconded(shared.understand, host, shared.tools)


def _router(
    wanted: Hearing, settings: Settings, metrics: Metrics, on_change: Callable[[], None] = lambda: None
) -> Router:
    return Router(
        {role: partial(_host, spec, metrics, settings.engines) for role, spec in wanted.specs.items()},
        metrics,
        rules=rules(settings.pipeline.route),
        wish=wanted.wish,
        without=wanted.without,
        on_change=on_change,
        sample=_sample,
    )


def _host(spec: EngineSpec, metrics: Metrics, limits: Engines, on_change: OnChange) -> EngineHost:
    return EngineHost(
        spec,
        deadline_s=limits.deadline_s,
        start_deadline_s=limits.start_deadline_s,
        metrics=metrics,
        on_change=on_change,
    )


def _sample() -> bytes:
    """The beginning of the demonstration."""
    pieces = (piece for piece in decode(resource("demo/demo.flac")) if not isinstance(piece, Missing))
    return b"".join(pieces)[: SAMPLE_S * BYTES_A_SECOND]


def _second(spec: EngineSpec, settings: Settings) -> EngineHost:
    """Without metrics: its calls are none that anybody waits for."""
    stage, engines = settings.pipeline.revise, settings.engines
    return EngineHost(
        spec, deadline_s=stage.deadline_s, start_deadline_s=engines.start_deadline_s, task="the second pass"
    )


async def _listen(session: Session, source: Source) -> None:
    """Feed the source to its end; the daemon goes on serving what it said.

    A source that fails before its first sound ends the daemon; one that fails later is logged: others may be reading.
    """
    try:
        await session.hear(source)
    except StreamdError as error:
        if not session.was_heard:
            raise
        _log.error("source failed: %s", error)
    else:
        _log.info("source ended name=%s; %s", source.name, _what_now(session))


def _what_now(session: Session) -> str:
    """How it goes on where a source has ended."""
    if session.status().state == "stopping":
        return "the daemon stops"
    return "another source took over" if session.cut_short else "readers are served until Ctrl-C"


async def _drain(hub: Hub, engines: Router, limit_s: float) -> None:
    """Wait for the last words, but not for an engine that has yet to load."""
    if engines.state == "starting":
        limit_s = 0.0
    if not await _settled(hub, limit_s):
        _log.warning(
            "not everything that was said is recognised after %g s (server.drain_s); the engine is %s",
            limit_s,
            engines.state,
        )
        hub.give_up()
        await _settled(hub, GIVE_UP_S)


async def _settled(hub: Hub, limit_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await hub.settle()
            return True
    return False


async def _probe_loop(metrics: Metrics) -> None:
    """How late timers are: a blocked loop delays everybody's captions."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOP_PROBE_S
        await asyncio.sleep(LOOP_PROBE_S)
        metrics.loop_delay_seconds.observe(max(0.0, loop.time() - due))


def _unhurried(settings: Settings) -> Settings:
    """Nobody waits for the words of a file: no partials, and pauses that end an utterance only where it is over."""
    pipeline = settings.pipeline
    endpoint = pipeline.endpoint.model_copy(
        update={"hangover_ms": max(pipeline.endpoint.hangover_ms, FILE_HANGOVER_MS)}
    )
    recognise = pipeline.recognise.model_copy(update={"partials": False})
    return settings.model_copy(
        update={"pipeline": pipeline.model_copy(update={"endpoint": endpoint, "recognise": recognise})}
    )


async def _transcribe(
    settings: Settings,
    specs: Hearing,
    paths: Sequence[Path],
    on_progress: Callable[[Path, int], None],
    on_done: Callable[[Path, list[Event] | StreamdError], None],
) -> Outlook:
    metrics = Metrics()
    settings = _unhurried(settings)
    async with _router(specs, settings, metrics) as engines:
        outlook = engines.outlook()
        for path in paths:
            log = Log(settings.session, epoch="file", retain=sys.maxsize)
            session = Session(log, engines.session(settings.session), settings, metrics)
            try:
                with _unwrapped():
                    finals = await _recognise(session, MediaFile(path, fast=True), partial(on_progress, path))
                await in_thread(on_done, path, finals)
            except StreamdError as error:
                await in_thread(on_done, path, error)
    return outlook


async def _recognise(session: Session, source: Source, on_progress: Callable[[int], None]) -> list[Event]:
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(session.run())
        watch = tasks.create_task(_report(session, on_progress))
        try:
            await session.hear(source)
        finally:
            work.cancel()
            watch.cancel()
    return session.history()


async def _report(session: Session, on_progress: Callable[[int], None]) -> None:
    """Tell how far recognition has come. An utterance begins before the sound that announces it: never go back."""
    seq = done_ms = 0
    while True:
        await session.wait_newer(seq)
        seq = session.log.newest
        done_ms = max(done_ms, session.position_ms - session.status().lag_ms)
        on_progress(done_ms)


@contextlib.contextmanager
def _unwrapped() -> Iterator[None]:
    """A fault in a task group as the one error that it is."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group
