"""One session: source ─ frames ─ VAD ─ endpointer ─ engine ─ stabiliser ─► log. Reads like the picture in DESIGN.md."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from streamd.commander import Commander
from streamd.core.audio import FRAME_MS, FRAME_SAMPLES, SAMPLES_PER_MS, Frame, Framer, Lost, samples_to_ms
from streamd.core.commands.machine import NoAnswer
from streamd.core.commands.request import Person
from streamd.core.endpoint import Rules
from streamd.core.events import DURABLE, Ended, Event, Gap, State, Status, Vocabulary
from streamd.core.level import SignalWatch
from streamd.core.log import Log
from streamd.core.pace import SoundClock
from streamd.core.segment import BRIDGED_FRAMES, Segmenter
from streamd.core.vocabulary import vocabulary
from streamd.core.wire import Answer
from streamd.errors import StreamdError
from streamd.feed import Feed
from streamd.metrics import Metrics
from streamd.orders import Orders, steady_ms
from streamd.reviser import Reader, Reviser
from streamd.server.hub import SourceBusy
from streamd.settings import EndpointStage, Settings
from streamd.sources import Missing, Notice, Source
from streamd.transcriber import Reading, Recogniser, Transcriber
from streamd.vad import VoiceActivity

HEARTBEAT_S = 5.0
"""Readers get a status at least this often; after 12 s without one they look for another connection."""

DEGRADED_LAG_MS = 5_000
"""Recognition this far behind is said to be degraded."""

_log = logging.getLogger(__name__)


class Session:
    """One audio timeline with one log. `run` must be running for anything to happen."""

    def __init__(
        self,
        log: Log,
        recogniser: Recogniser,
        settings: Settings,
        metrics: Metrics,
        *,
        position_ms: int = 0,
        unheard: Callable[[], Gap] | None = None,
        second: Reader | None = None,
        orders: Orders | None = None,
        account: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self.name = log.session
        self.log = log
        self.feed = Feed(log, metrics)
        self.readers = 0
        self._settings = settings
        self._metrics = metrics
        self._recogniser = recogniser
        self._unheard = unheard  # the time in which nobody listened before this run
        self._first_frame = -(-position_ms // FRAME_MS)
        self._position_samples = self._first_frame * FRAME_SAMPLES  # end of the last frame
        self._heard_samples = self._position_samples  # end of the last sample
        self._vad = VoiceActivity(settings.pipeline.vad.gate)
        self._segmenter = Segmenter(rules(settings), self._first_frame)
        self._transcriber = Transcriber(self.feed, self._segmenter, recogniser, settings.pipeline.recognise, metrics)
        self._reviser = None if second is None else Reviser(self.feed, second, metrics)
        self._commander = (
            None
            if orders is None
            else Commander(self.feed, orders, metrics, lambda: self._transcriber.waiting > 0, account)
        )
        if self._reviser is not None or self._commander is not None:
            self._transcriber.on_final = self._finished
        self._speaker: Person | None = None  # of the present source
        self._clock = SoundClock()
        self._signal = SignalWatch(settings.source.no_signal_s)
        self.cut_short = False  # the last source was ended by another one or with the daemon
        self.was_heard = False  # the last source gave sound
        self._source: Source | None = None
        self._pump: asyncio.Task[None] | None = None
        self._free = asyncio.Lock()  # held by whoever feeds the session
        self._recognition: asyncio.Task[None] | None = None
        self._stopping = False
        self._trouble: tuple[State, str] | None = None  # what the source complains of
        self._broken: str | None = None  # why the last source ended before its time
        self._shown: Status | None = None
        self._used_at = time.monotonic()
        if self.vocabulary:
            self.feed.append(Vocabulary(terms=self.vocabulary))

    # what readers and the server see

    async def wait_newer(self, seq: int) -> None:
        await self.feed.wait_newer(seq)

    @property
    def source_name(self) -> str | None:
        return None if self._source is None else self._source.name

    @property
    def position_ms(self) -> int:
        """How much sound the timeline has seen."""
        return samples_to_ms(self._position_samples)

    @property
    def waiting_utterances(self) -> int:
        """Utterances without a final."""
        return self._transcriber.waiting

    @property
    def idle_s(self) -> float:
        """How long nobody has fed or read this session."""
        busy = self._source is not None or self.readers or (self._commander is not None and self._commander.is_busy)
        return 0.0 if busy else time.monotonic() - self._used_at

    def status(self) -> Status:
        """What is happening now, in the words of the wire."""
        state, detail = self._state()
        lag_ms = self._transcriber.lag_ms(self.position_ms)
        return Status(
            state=state, detail=detail, lag_ms=lag_ms, source=self.source_name, engine=self._recogniser.name or None
        )

    def summary(self) -> dict[str, object]:
        """One line of /v1/sessions."""
        status = self.status()
        return {
            "name": self.name,
            "state": status.state,
            "detail": status.detail,
            "source": status.source,
            "engine": status.engine,
            "lag_ms": status.lag_ms,
            "readers": self.readers,
            "audio_ms": self.position_ms,
        }

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Names and jargon that are expected: the pipeline's and the session's own."""
        return self._transcriber.vocabulary

    def check_vocabulary(self, terms: Sequence[str]) -> tuple[str, ...]:
        """These and the pipeline's. Raises ValueError if that is too much."""
        return vocabulary([*self._settings.pipeline.recognise.vocabulary, *terms])

    def expect(self, terms: Sequence[str]) -> None:
        """From now on these names and this jargon, beside the pipeline's. Raises ValueError if that is too much."""
        self._transcriber.vocabulary = self.check_vocabulary(terms)
        self.feed.append(Vocabulary(terms=self.vocabulary))

    def history(self) -> list[Event]:
        """The durable events that are in memory and that readers may see."""
        return [event for event in self.log.since(0) if isinstance(event.body, DURABLE)]

    def delivered(self, event: Event) -> None:
        """A reader has been sent this event."""
        if self._commander is not None:
            self._commander.delivered(event)

    def answer(self, answer: Answer, by: Person) -> None:
        """Somebody answers a question by hand. Raises NoAnswer where that does not count."""
        if self._commander is None:
            raise NoAnswer("this daemon takes no commands")
        self._commander.answer(answer, by)

    # what goes in

    async def hear(self, source: Source, *, take_over: bool = False, speaker: Person | None = None) -> None:
        """Feed `source` to its end, finalise what is open, append `ended`. `speaker`: whose sound it is.

        Raises SourceBusy if another source feeds the session, unless it is taken over; and what the source raises,
        after what it had said is finalised.
        """
        if self._free.locked():
            if not take_over:
                raise SourceBusy(f"session {self.name} listens to {self.source_name} already")
            self.stop_source()
        async with self._free:
            self.resume()
            self._source, self._speaker, self._clock = source, speaker, SoundClock()
            self._trouble = self._broken = None
            self.cut_short = self.was_heard = False
            self._metrics.sources.inc()
            self._pump = asyncio.create_task(self._take_all(source), name=f"source {source.name}")
            try:
                await self._pump
            except asyncio.CancelledError:
                if not self._pump.cancelled() or _is_cancelled():
                    raise
                self.cut_short, self._broken = True, None  # a loop may have told of its file's end
            except StreamdError:  # whoever called logs it; it may hold a path, which is not for readers
                self._broken = f"{source.name} ended before its time; streamd's log says why"
                raise
            finally:
                self._pump.cancel()
                self._metrics.sources.dec()
                await self._drain()

    def resume(self) -> None:
        """Before sound comes in again, tell of the time before this run in which nobody listened. Once."""
        if self._unheard is not None:
            gap = self._unheard()
            self._unheard = None
            self.feed.append(gap)
            self._advance_to(gap.end_ms * SAMPLES_PER_MS)

    def touch(self) -> None:
        """Somebody is about to use this session."""
        self._used_at = time.monotonic()

    def stop_source(self) -> None:
        """The source ends here; `hear` then finalises what is open."""
        if self._pump is not None and not self._pump.cancelling():
            self._pump.cancel()

    def stop(self) -> None:
        """The daemon stops: so does the source, and readers are told."""
        self._stopping = True
        self.show()
        self.stop_source()

    def give_up(self) -> None:
        """Wait for the engine no longer: what has no final yet gets what readers were shown for good."""
        if self._recognition is not None:
            self._recognition.cancel()

    async def settled(self) -> None:
        """Return once no source feeds the session and all it said is final."""
        async with self._free:
            pass
        if self._commander is not None:
            await self._commander.settled()

    async def run(self) -> None:
        """The session's own tasks; cancel to stop."""
        async with asyncio.TaskGroup() as tasks:
            self._recognition = tasks.create_task(self._transcriber.run(), name=f"transcriber {self.name}")
            if self._reviser is not None:
                tasks.create_task(self._reviser.run(), name=f"reviser {self.name}")
            if self._commander is not None:
                tasks.create_task(self._commander.run(), name=f"commander {self.name}")
            tasks.create_task(self._heartbeat(), name=f"heartbeat {self.name}")

    # the pipe

    async def _take_all(self, source: Source) -> None:
        framer = Framer(self._position_samples // FRAME_SAMPLES)
        self.show()
        async with contextlib.aclosing(source.chunks()) as chunks:
            async for item in chunks:
                match item:
                    case Notice(state, detail):
                        self._complain(state, detail)
                    case Missing(samples, reason):
                        for piece in framer.lose(samples, reason):
                            await self._take(piece)
                    case chunk:
                        frames = list(framer.feed(chunk))
                        for frame in frames:
                            await self._take(frame, newest=frame is frames[-1])
                self._heard_samples = framer.position_samples
        for piece in framer.flush():
            await self._take(piece)

    async def _take(self, piece: Frame | Lost, *, newest: bool = True) -> None:
        """One frame through VAD and endpointer, or a loss into the log. `newest`: nothing came together with it."""
        if isinstance(piece, Lost):
            self._lose(piece)
            return
        await self._transcriber.room()
        self.was_heard = True
        self._position_samples = (piece.index + 1) * FRAME_SAMPLES
        self._clock.heard(self.position_ms, steady_ms())
        self._signal.feed(piece)
        began, before = time.perf_counter(), self._segmenter.open
        opened = self._segmenter.feed(piece, self._vad.probability(piece))
        self._metrics.stage_seconds.labels("vad").observe(time.perf_counter() - began)
        self._metrics.frames.labels(self.name).inc()
        if self._commander is not None:
            self._commander.listened(FRAME_MS)
        for utterance in opened:
            engine, note = self._recogniser.name or None, self._recogniser.note
            self._shown = Status(state="speech", source=self.source_name, engine=engine, detail=note)
            self._transcriber.open(utterance, self._shown)
        if newest or self._segmenter.open is not before:  # a guess takes in all that is there
            self._transcriber.grown()
        self.show()
        await asyncio.sleep(0)  # a large chunk is many frames: others go in between

    def _finished(self, reading: Reading) -> None:
        """An utterance has its final: for whoever does more with it."""
        if self._reviser is not None:
            self._reviser.submit(reading)
        if self._commander is not None:
            final = reading.final
            end_ms = final.words[-1].end_ms if final.words else final.end_ms
            self._commander.submit(reading, self._speaker, self._clock.said_ms(end_ms))

    def _lose(self, lost: Lost) -> None:
        start_ms, end_ms = lost.start_sample // SAMPLES_PER_MS, -(-lost.end_sample // SAMPLES_PER_MS)
        self._metrics.lost_samples.labels(self.name, lost.reason).inc(lost.end_sample - lost.start_sample)
        self.feed.append(Gap(start_ms=start_ms, end_ms=end_ms, reason=lost.reason))
        self._advance_to(lost.end_sample)
        if lost.end_sample - lost.start_sample > BRIDGED_FRAMES * FRAME_SAMPLES:
            self._vad.reset()  # it must hear sound without holes
        _log.warning("sound lost session=%s ms=%d reason=%s", self.name, end_ms - start_ms, lost.reason)

    def _advance_to(self, sample: int) -> None:
        """The timeline has come so far, at least; what comes next begins with a whole frame."""
        self._heard_samples = max(self._heard_samples, sample)
        self._position_samples = max(self._position_samples, -(-sample // FRAME_SAMPLES) * FRAME_SAMPLES)

    async def _drain(self) -> None:
        """Finalise what is open, whatever ended the source."""
        self._segmenter.end()
        self._vad.reset()
        self._transcriber.grown()
        try:
            await self._transcriber.finished()
        finally:
            self._source, self._pump, self._trouble = None, None, None
            self._used_at = time.monotonic()
            self.show()
            self.feed.append(Ended(audio_ms=samples_to_ms(self._heard_samples)))  # the last word to who spoke

    # what is happening

    def _complain(self, state: str, detail: str) -> None:
        if state == "broken_off":
            self._broken = detail  # told once all that there is has its final
            return
        self._trouble = ("source_lost", detail) if state == "source_lost" else None
        if self._trouble:
            self._segmenter.end("gap")
            self._vad.reset()
            self._transcriber.grown()
        self.show()

    def _state(self) -> tuple[State, str | None]:
        if self._stopping:
            return "stopping", "what was said is being finished"
        if self._recogniser.state == "starting":
            return "starting", "the recogniser is loading"
        if self._recogniser.state != "ready":
            note = self._recogniser.note
            return "degraded", f"the recogniser is {self._recogniser.state}" + (f": {note}" if note else "")
        if self._source is None:
            return "idle", self._broken or self._recogniser.note
        if self._trouble is not None:
            return self._trouble
        if self._transcriber.fault is not None:
            return "degraded", self._transcriber.fault
        if self._transcriber.lag_ms(self.position_ms) > DEGRADED_LAG_MS:
            return "degraded", "recognition can't keep up with the sound"
        if self._segmenter.open is not None:
            return "speech", self._recogniser.note
        if self._signal.silent:
            return "no_signal", f"nothing but silence from {self.source_name}: muted, unplugged or not permitted?"
        return "listening", self._recogniser.note

    def show(self, *, always: bool = False) -> None:
        """Tell readers what is happening, if that has changed."""
        status = self.status()
        if always or self._shown is None or _news(status) != _news(self._shown):
            self._shown = status
            self.feed.append(status)

    async def _heartbeat(self) -> None:
        while True:
            self.show(always=True)
            self._metrics.lag_seconds.labels(self.name).set(self._transcriber.lag_ms(self.position_ms) / 1000)
            await asyncio.sleep(HEARTBEAT_S)


def rules(settings: Settings) -> Rules:
    """The endpointer's rules in frames."""
    stage: EndpointStage = settings.pipeline.endpoint
    return Rules(
        pre_roll=stage.preroll_ms // FRAME_MS,
        min_speech=max(1, stage.min_speech_ms // FRAME_MS),
        hangover=max(1, stage.hangover_ms // FRAME_MS),
        wordless=stage.wordless_ms // FRAME_MS,
        soft_max=int(stage.soft_max_s * 1000) // FRAME_MS,
        maximum=int(stage.max_utterance_s * 1000) // FRAME_MS,
        threshold=settings.pipeline.vad.threshold,
        release=settings.pipeline.vad.release,
    )


def _news(status: Status) -> tuple[str | None, ...]:
    """What readers are told at once when it changes; figures wait for the next sign of life."""
    return status.state, status.detail, status.source, status.engine


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
