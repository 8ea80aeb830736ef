"""One worker at all times: a new one for each that ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from streamd.bridge.link import WorkerLink
from streamd.engines.base import EngineSpec
from streamd.errors import UnavailableError
from streamd.metrics import Metrics

log = logging.getLogger(__name__)

MAX_BARREN = 5  # workers in a row that ended by themselves without an answer; one more, and the engine has failed
BACKOFF_S = 0.25  # before the second barren worker's successor, doubled for each further one

State = Literal["starting", "ready", "respawning", "failed", "closed"]


class Keeper:
    """Starts workers. `on_change(state, detail)` is told of every change, after `link` has been renewed."""

    def __init__(
        self,
        spec: EngineSpec,
        *,
        start_deadline_s: float,
        retry_s: float,
        metrics: Metrics | None,
        on_change: Callable[[State, str], None],
        task: str | None = None,
    ) -> None:
        self.name = spec.kind  # the engine's own name once it is ready
        self.state: State = "starting"
        self.detail = ""
        self.respawns = 0
        self.link: WorkerLink | None = None
        self._spec = spec
        self._task_name = f" for {task}" if task else ""
        self._start_deadline_s = start_deadline_s
        self._retry_s = retry_s
        self._metrics = metrics
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None
        self._barren = 0

    @property
    def usable(self) -> WorkerLink | None:
        """The worker, if it can be called."""
        return self.link if self.state == "ready" and self.link and self.link.alive else None

    async def start(self) -> None:
        """Start the first worker. Raises UnavailableError with its reason if the engine can't be loaded."""
        self._change("starting", f"loading {self.name}")
        try:
            self.link = await self._launch()
        except UnavailableError as error:
            self._change("failed", str(error))  # calls that wait already are refused
            raise
        self._change("ready", self.name)
        self._task = asyncio.create_task(self._keep(self.link))

    async def close(self) -> None:
        """End the worker. No process is left."""
        try:
            if self._task:
                self._task.cancel()
                await asyncio.wait([self._task])
        finally:
            self._change("closed", "the engine is closed")
            if self.link:
                await self.link.close()

    def praise(self) -> None:
        """The worker has answered."""
        self._barren = 0

    async def _keep(self, link: WorkerLink) -> None:
        try:
            while True:
                await link.ended.wait()
                link = self.link = await self._replace(link)
                self._change("ready", self.name)
        finally:
            self._change("closed", "the engine is closed")

    async def _replace(self, old: WorkerLink) -> WorkerLink:
        severity = logging.INFO if old.dismissed else logging.WARNING
        log.log(severity, "the worker of engine %s%s is gone: it %s", self.name, self._task_name, old.why)
        self._change("respawning", old.why)
        await old.close()
        self._barren += not old.killed and not old.answers
        why = old.why
        while True:
            await asyncio.sleep(self._patience(why))
            self.respawns += 1
            if self._metrics:
                self._metrics.respawns.labels(self._spec.kind).inc()
            try:
                return await self._launch()
            except UnavailableError as error:
                log.warning("engine %s%s does not come back: %s", self.name, self._task_name, error)
                why = str(error)
                self._barren += 1

    async def _launch(self) -> WorkerLink:
        try:
            link = await WorkerLink.spawn(self._spec)
        except OSError as error:
            raise UnavailableError(f"no process can be started for engine {self.name}: {error}") from error
        try:
            ready = await link.load(self._start_deadline_s)
        except BaseException:
            link.kill("did not load")
            await link.close()
            raise
        self.name = ready.engine
        about = ready.engine, self._task_name, ready.load_ms, link.pid
        log.info("engine %s%s is ready after %.0f ms in process %d", *about)
        return link

    def _patience(self, why: str) -> float:
        """Seconds before the next worker is started: the more useless the last ones were, the longer."""
        if self._barren > MAX_BARREN:
            self._change("failed", f"engine {self.name} failed {self._barren} times in a row: {why}")
            return self._retry_s
        return BACKOFF_S * 2.0 ** (self._barren - 2) if self._barren > 1 else 0.0

    def _change(self, state: State, detail: str) -> None:
        if (state, detail) != (self.state, self.detail):
            self.state, self.detail = state, detail
            self._on_change(state, detail)
