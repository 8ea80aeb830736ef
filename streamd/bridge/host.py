"""An engine that survives its process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Self

from streamd.bridge.keeper import Keeper, State
from streamd.bridge.link import WorkerGone, WorkerLink
from streamd.bridge.turns import Ticket, Turns
from streamd.core.commands.hearing import Choices, Comparisons
from streamd.core.tools.tool import Tool, ToolDecision
from streamd.engines.base import Context, EngineSpec, Hypothesis
from streamd.engines.pipe import Advance, Compare, Compared, Decide, Decided, Failed, PipeError, Reply, Result, Unknown
from streamd.errors import StreamdError
from streamd.metrics import Metrics

log = logging.getLogger(__name__)

MAX_REPLAYS = 2

_Answer = Hypothesis | ToolDecision | Comparisons


class EngineFailed(StreamdError):  # noqa: N818 - callers read it as what happened
    """The engine gave no answer, and was asked often enough."""


@dataclass(slots=True)
class _Utterance:
    """What the present worker has heard of an utterance."""

    worker: WorkerLink | None = None
    samples: int = 0
    given_up: str | None = None  # why; only its final is tried once more
    users: int = 0  # calls that are under way or wait
    closed: bool = False
    waiting: Ticket | None = None  # of the call that has no turn yet
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class _Call:
    utterance_id: str
    pcm: bytes  # of the whole utterance
    last: bool
    context: Context
    tools: tuple[Tool, ...] | None = None  # to choose from; None: a guess is wanted
    choices: tuple[Choices, ...] | None = None  # sentences to compare it with

    @property
    def kind(self) -> str:
        if self.choices is not None:
            return "comparison"
        if self.tools is not None:
            return "decision"
        return "final" if self.last else "partial"

    @property
    def single(self) -> bool:
        """Is it as careful as a final, so that the engine hears it by itself?"""
        return self.last or self.context.thorough

    def request(self, number: int, heard_bytes: int, *, first: bool) -> Advance | Decide | Compare:
        """What a worker is sent that has `heard_bytes` of the utterance."""
        if self.choices is not None:
            return Compare(number, self.pcm, self.choices)
        if self.tools is not None:
            return Decide(number, self.utterance_id, self.pcm, self.tools, self.context)
        return Advance(number, self.utterance_id, self.pcm[heard_bytes:], self.last, first, self.context)


class _TryError(Exception):
    """One try failed. `outcome` is its name among the metrics."""

    def __init__(self, outcome: str, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome


class EngineHost:
    """Keeps a worker running and calls it: `async with EngineHost(spec, …) as engine: await engine.advance(…)`.

    As many calls are under way at a time as `Turns` admits. Those that wait go in order of arrival, finals before
    partials; calls of one utterance never overlap. Every call has a deadline. A worker that dies, is late or has a call
    cancelled is replaced, and what it had not answered is replayed from the utterance's start, so that callers
    notice nothing but the time. A call is tried 1 + MAX_REPLAYS times. One beside which a worker died of its own
    accord is tried again alone: then it is certain which call it dies of, and the others don't pay for it.

    A call can't be interrupted: cancelling one that the worker has begun kills the worker, and everyone else waits
    for the next one. Cancelling one that waits for its turn costs nothing.

    An engine whose workers end again and again without an answer has failed: calls raise EngineFailed at once, and
    a new worker is tried every `retry_s`. `on_change(state, detail)` is told of every change of `state`. `task` is
    what the engine does beside captions, for the log.
    """

    def __init__(
        self,
        spec: EngineSpec,
        *,
        deadline_s: float,
        start_deadline_s: float,
        retry_s: float = 30.0,
        metrics: Metrics | None = None,
        on_change: Callable[[State, str], None] | None = None,
        task: str | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        self._metrics = metrics
        self._on_change = on_change
        self._keeper = Keeper(
            spec,
            start_deadline_s=start_deadline_s,
            retry_s=retry_s,
            metrics=metrics,
            on_change=self._changed,
            task=task,
        )
        self._turns = Turns(spec.threads, spec.batch)
        self._granted: dict[Ticket, asyncio.Future[None]] = {}
        self._utterances: dict[str, _Utterance] = {}
        self._numbers = count(1)

    @property
    def name(self) -> str:
        """The engine's own name, or its kind before it has told."""
        return self._keeper.name

    @property
    def state(self) -> State:
        return self._keeper.state

    @property
    def detail(self) -> str:
        """What there is to say about the state: while it is not ready, why."""
        return self._keeper.detail

    @property
    def respawns(self) -> int:
        """Workers started after the first."""
        return self._keeper.respawns

    @property
    def pid(self) -> int | None:
        """The present worker's process id; None while there is no worker."""
        return link.pid if (link := self._keeper.usable) else None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start the first worker. Raises UnavailableError with its reason if the engine can't be loaded."""
        await self._keeper.start()

    async def close(self) -> None:
        """End the worker; no process is left. Calls that are under way raise EngineFailed."""
        await self._keeper.close()

    async def advance(
        self, utterance_id: str, pcm: bytes | bytearray | memoryview, last: bool, context: Context
    ) -> Hypothesis:
        """The engine's guess for a whole utterance.

        `pcm` is ALL the sound of the utterance so far (s16le, 16 kHz, mono); only what the worker has not heard
        is sent. `last` closes the utterance. Raises EngineFailed when no try succeeded.
        """
        call = _Call(utterance_id, bytes(pcm), last, context)
        if len(call.pcm) % 2:
            raise ValueError(f"{len(call.pcm)} bytes are no whole number of s16le samples")
        async with self._serialised(utterance_id, last=last) as utterance:
            answered = False
            try:
                hypothesis = await self._persist(call, utterance)
                assert isinstance(hypothesis, Hypothesis)
                answered = True
                return hypothesis
            finally:
                utterance.closed = last
                if last and not answered:
                    self._free(utterance_id)

    async def decide(
        self, utterance_id: str, pcm: bytes | bytearray | memoryview, tools: Sequence[Tool], context: Context
    ) -> ToolDecision:
        """Which of `tools` a whole utterance asks for, if any. It comes in turn with finals.

        `pcm` is as in `advance`; the engine makes use of what it knows of an utterance whose last call was just
        answered. Raises EngineFailed when no try succeeded, and where the engine can't call tools.
        """
        call = _Call(utterance_id, bytes(pcm), True, context, tuple(tools))
        unknown = utterance_id not in self._utterances
        async with self._serialised(utterance_id) as utterance:
            try:
                decision = await self._persist(call, utterance)
                assert isinstance(decision, ToolDecision)
                return decision
            finally:
                utterance.closed = utterance.closed or unknown

    async def compare(self, utterance_id: str, pcm: bytes, choices: Sequence[Choices]) -> Comparisons:
        """How well a whole utterance bears out given sentences, in each language that the engine speaks.

        It comes in turn with finals. Raises EngineFailed when no try succeeded, and where the engine can't compare.
        """
        call = _Call(utterance_id, pcm, True, Context(), choices=tuple(choices))
        async with self._serialised(utterance_id) as utterance:
            try:
                comparisons = await self._persist(call, utterance)
                assert isinstance(comparisons, Comparisons)
                return comparisons
            finally:
                utterance.closed = True

    async def forget(self, utterance_id: str) -> None:
        """Free an utterance that gets no last call. Waits for its calls; unknown ones are ignored."""
        if utterance_id in self._utterances:
            async with self._serialised(utterance_id) as utterance:
                utterance.closed = True
                utterance.worker = None
                self._free(utterance_id)

    def _free(self, utterance_id: str) -> None:
        if link := self._keeper.usable:
            link.forget(utterance_id)

    @asynccontextmanager
    async def _serialised(self, utterance_id: str, *, last: bool = False) -> AsyncIterator[_Utterance]:
        """One call at a time for an utterance; its record goes with the last of them."""
        utterance = self._utterances.setdefault(utterance_id, _Utterance())
        if last and utterance.waiting:
            utterance.waiting.last = True  # a final waits for this partial: other finals must not overtake it
        utterance.users += 1
        try:
            async with utterance.lock:
                yield utterance
        finally:
            utterance.users -= 1
            if utterance.closed and not utterance.users:
                del self._utterances[utterance_id]

    async def _persist(self, call: _Call, utterance: _Utterance) -> _Answer:
        """Try until there is an answer, or no more tries."""
        if utterance.given_up and not call.last:
            raise EngineFailed(utterance.given_up)
        replays = 0 if utterance.given_up else MAX_REPLAYS
        alone = utterance.given_up is not None
        replay = 0
        while True:
            try:
                answer = await self._try(call, utterance, alone=alone)
            except _TryError as error:
                log.info("a %s failed: %s", call.kind, error)
                alone = alone or error.outcome == "died"
                if replay == replays:
                    self._count(call, error.outcome)
                    utterance.given_up = f"engine {self.name} gave up on an utterance: {error}"
                    raise EngineFailed(utterance.given_up) from error
                replay += 1
            else:
                self._count(call, "replayed" if replay else "ok")
                return answer

    async def _try(self, call: _Call, utterance: _Utterance, *, alone: bool) -> _Answer:
        """One answer. A worker that was killed for another call's sake doesn't count as a try."""
        while True:
            async with self._turn(call, utterance, alone=alone) as link:
                try:
                    return await self._ask(link, call, utterance)
                except WorkerGone as gone:
                    if not gone.killed:
                        raise _TryError("died", f"the worker {gone}") from gone

    async def _ask(self, link: WorkerLink, call: _Call, utterance: _Utterance) -> _Answer:
        heard_bytes = 2 * utterance.samples
        first = utterance.worker is not link or heard_bytes > len(call.pcm)
        utterance.worker = None  # until it has answered
        started = time.perf_counter()
        request = call.request(next(self._numbers), 0 if first else heard_bytes, first=first)
        match await self._in_time(link, request):
            case Result(_, answer) | Decided(_, answer) | Compared(_, answer):
                self._keeper.praise()
                self._observe(call, answer.timings_ms, time.perf_counter() - started)
                utterance.worker, utterance.samples = None if call.last else link, len(call.pcm) // 2
                return answer
            case Unknown():
                raise _TryError("failed", "the worker does not know the utterance")
            case Failed(_, kind, message):
                raise _TryError("failed", f"{kind}: {message}")

    async def _in_time(self, link: WorkerLink, request: Advance | Decide | Compare) -> Reply:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await link.call(request)
        except TimeoutError as error:
            why = f"took longer than {self._deadline_s:g} s for a call"
            link.kill(why)
            raise _TryError("deadline", f"the worker {why}") from error
        except asyncio.CancelledError:
            link.kill("was killed with a call that was cancelled", dismissed=True)
            raise
        except PipeError as error:
            raise _TryError("failed", str(error)) from error

    @asynccontextmanager
    async def _turn(self, call: _Call, utterance: _Utterance, *, alone: bool) -> AsyncIterator[WorkerLink]:
        """Wait for a worker that is ready, and for those who come before."""
        if self.state in ("failed", "closed"):
            raise EngineFailed(self._keeper.detail)
        started = time.perf_counter()
        ticket = utterance.waiting = self._turns.enter(last=call.last, alone=alone, single=call.single)
        granted = self._granted[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._admit()
            await granted
            utterance.waiting = None
            self._observe_stage("queue", time.perf_counter() - started)
            assert self._keeper.link
            yield self._keeper.link
        finally:
            utterance.waiting = None
            del self._granted[ticket]
            self._turns.leave(ticket)
            self._admit()

    def _admit(self) -> None:
        if not self._keeper.usable:
            return
        for ticket in self._turns.admit():
            if not (granted := self._granted[ticket]).done():
                granted.set_result(None)

    def _changed(self, state: State, detail: str) -> None:
        if state in ("failed", "closed"):
            for granted in self._granted.values():
                if not granted.done():
                    granted.set_exception(EngineFailed(detail))
        self._admit()
        if self._on_change is not None:
            self._on_change(state, detail)

    def _count(self, call: _Call, outcome: str) -> None:
        if self._metrics:
            self._metrics.engine_calls.labels(call.kind, outcome).inc()

    def _observe(self, call: _Call, timings_ms: Mapping[str, float], took_s: float) -> None:
        self._observe_stage(f"engine_{call.kind}", took_s)
        for stage, took_ms in timings_ms.items():
            self._observe_stage(stage, took_ms / 1000)

    def _observe_stage(self, stage: str, took_s: float) -> None:
        if self._metrics:
            self._metrics.stage_seconds.labels(stage).observe(took_s)
