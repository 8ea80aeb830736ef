"""Utterances → engine calls → partials and finals in the log. One a session.

One call at a time: the oldest utterance without a final is what is worked on. While it is open, it is heard again
whenever the engine is free and enough new sound is there, so only the newest partial request ever exists; once it has
ended, its final is next. Where the speaker pauses, it is heard as carefully as for the final: if the pause turns out to
be the end, the final is there at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from streamd.bridge import EngineFailed
from streamd.core.events import Final, Gap, Partial, Status, Word
from streamd.core.languages import Belief, expecting, onwards, weigh
from streamd.core.log import Log
from streamd.core.policy import PRESETS
from streamd.core.segment import Segmenter, Utterance
from streamd.core.stabilise import Caption, Stabiliser
from streamd.engines.base import Context, Hypothesis, HypothesisWord
from streamd.feed import Feed
from streamd.metrics import Metrics
from streamd.settings import RecogniseStage

WAITING_UTTERANCES = 4
"""Ended utterances that may wait for their final; then the pipe waits."""

PAUSE_MS = 200  # quiet after which the end is made out beforehand
_PREVIOUS_CHARACTERS = 200  # of what was said before, handed to the engine

_log = logging.getLogger(__name__)


class Recogniser(Protocol):
    """Whoever hears a session: router.Route."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def note(self) -> str | None: ...

    async def advance(self, utterance_id: str, pcm: bytes, last: bool, context: Context) -> Hypothesis: ...

    async def forget(self, utterance_id: str) -> None: ...


@dataclass(slots=True, eq=False)
class _Work:
    """An utterance on its way to its final."""

    utterance: Utterance
    number: int  # of the utterance, on the wire
    due_ms: int  # length of its sound at which the next partial is due
    stabiliser: Stabiliser
    rev: int = 0
    covered_ms: int = 0
    shown: tuple[str, int] = ("", 0)
    asked_ms: int = -1  # length of the speech after which a thorough guess was asked for …
    conclusion: Hypothesis | None = None  # … and the guess, if it is one
    language: str | None = None  # of what was committed: it does not change within an utterance
    continues: bool = False  # it was split from the one before

    @property
    def heard_ms(self) -> int:
        return self.utterance.end_ms - self.utterance.start_ms

    @property
    def speech_ms(self) -> int:
        """Length up to the pause at its end."""
        return self.heard_ms - self.utterance.pause_ms

    @property
    def pauses(self) -> bool:
        """Has the speaker paused, and has nobody asked for a thorough guess since?"""
        return self.utterance.pause_ms >= PAUSE_MS and self.asked_ms != self.speech_ms

    @property
    def concluded(self) -> Hypothesis | None:
        """What was guessed in the pause that is still going on."""
        return self.conclusion if self.asked_ms == self.speech_ms else None


@dataclass(frozen=True, slots=True)
class Reading:
    """An utterance that has its final, for whoever reads it again."""

    final: Final
    words: tuple[HypothesisWord, ...]  # of the final, seconds from the utterance's start
    pcm: bytes
    context: Context
    key: str = ""  # by which the engine knows the utterance


class Transcriber:
    """Turns the utterances of one session into events."""

    def __init__(
        self, feed: Feed, segmenter: Segmenter, recogniser: Recogniser, stage: RecogniseStage, metrics: Metrics
    ) -> None:
        self._fill = metrics.queue_fill.labels("utterances", feed.log.session)
        self._feed = feed
        self._segmenter = segmenter
        self._recogniser = recogniser
        self._stage = stage
        self._queue: deque[_Work] = deque()
        self._changed = asyncio.Event()
        self._previous = ""
        self._languages: Belief = _expected(stage, feed.log)
        self._newest: Utterance | None = None
        self._is_over = False  # nobody works any more
        self.vocabulary = stage.vocabulary  # names and jargon to expect; may be replaced at any time
        self.on_final: Callable[[Reading], None] | None = None  # told of what the engine has finished
        self.fault: str | None = None  # why the engine gave no answer lately

    @property
    def waiting(self) -> int:
        """Utterances without a final."""
        return len(self._queue)

    @property
    def _translates(self) -> bool:
        return self._stage.task == "translate"

    def lag_ms(self, position_ms: int) -> int:
        """How far recognition is behind the sound, of which `position_ms` has come in."""
        if not self._queue:
            return 0
        work = self._queue[0]
        if work.utterance.ended is None and (work.concluded or not self._stage.partials):
            return 0  # all is heard, or nothing is due before its end
        return max(0, position_ms - work.utterance.start_ms - work.covered_ms)

    def open(self, utterance: Utterance, announcement: Status) -> None:
        """An utterance has begun. Its number is the seq of the event that announces it."""
        event = self._feed.append(announcement)
        stabiliser = Stabiliser(PRESETS[self._stage.preset])
        due_ms = utterance.end_ms - utterance.start_ms + self._stage.partial_ms
        work = _Work(utterance, event.seq, due_ms, stabiliser)
        work.continues = self._newest is not None and self._newest.ended == "split"
        self._newest = utterance
        if self._is_over:
            self._give_up(work)
        else:
            self._queue.append(work)
        self._notify()

    def grown(self) -> None:
        """The open utterance has grown, or has ended."""
        self._notify()

    async def room(self) -> None:
        """Wait until another utterance may be opened."""
        while len(self._queue) > WAITING_UTTERANCES:
            await self._changed.wait()

    async def finished(self) -> None:
        """Wait until every utterance has its final."""
        while self._queue:
            await self._changed.wait()

    async def run(self) -> None:
        """Work until cancelled. What has no final by then is given up, and readers are told so."""
        try:
            await self._work()
        finally:
            self._is_over = True
            while self._queue:
                self._give_up(self._queue.popleft())
            self._notify()

    async def _work(self) -> None:
        while True:
            work = self._queue[0] if self._queue else None
            if work is not None and work.utterance.ended is not None:
                await self._finish(work)
                self._queue.popleft()
                self._notify()
            elif work is not None and self._wants_partial(work):
                await self._renew(work)
            else:
                await self._changed.wait()

    def _notify(self) -> None:
        self._fill.set(len(self._queue))
        self._changed.set()
        self._changed = asyncio.Event()

    def _wants_partial(self, work: _Work) -> bool:
        if not self._stage.partials or work.concluded:
            return False
        return work.pauses or work.heard_ms >= work.due_ms

    async def _renew(self, work: _Work) -> None:
        thorough, every_ms = work.pauses, self._stage.partial_ms
        # Sound comes in blocks: a partial that had to wait for one brings the next forward, by half its time at most.
        work.due_ms = max(work.due_ms, work.heard_ms - every_ms // 2) + every_ms
        if thorough:
            work.asked_ms, work.conclusion = work.speech_ms, None
        hypothesis = await self._ask(work, last=False, thorough=thorough)
        work.covered_ms = max(
            work.covered_ms, work.heard_ms if hypothesis is None else round(hypothesis.covered_s * 1000)
        )
        if hypothesis is None or work.utterance.ended == "split":  # a split takes sound back that was heard just now
            return
        if thorough and hypothesis.thorough:
            work.conclusion = hypothesis
        self._show(work, hypothesis)

    def _show(self, work: _Work, hypothesis: Hypothesis) -> None:
        caption = work.stabiliser.update(
            hypothesis.words, hypothesis.covered_s, ended=hypothesis.thorough, terms=self.vocabulary
        )
        start_ms = work.utterance.start_ms
        self._segmenter.protect(start_ms + round(work.stabiliser.committed_end_s * 1000))
        if hypothesis.words and work.utterance is self._segmenter.open:
            # a guess that stops early takes nothing back that readers see: it must not end the utterance there either
            words_end_s = max(words[-1].end_s for words in (hypothesis.words, caption.words) if words)
            self._segmenter.heard(start_ms + round(words_end_s * 1000), start_ms + work.covered_ms)
        if caption.committed and work.language is None:
            work.language = hypothesis.language
        if (caption.text, caption.committed) != work.shown:
            work.shown = (caption.text, caption.committed)
            work.rev += 1
            self._feed.append(self._partial(work, caption))

    def _partial(self, work: _Work, caption: Caption) -> Partial:
        return Partial(
            utterance=work.number,
            rev=work.rev,
            start_ms=work.utterance.start_ms,
            end_ms=work.utterance.start_ms + work.covered_ms,
            text=caption.text,
            committed=caption.committed,
        )

    async def _finish(self, work: _Work) -> None:
        hypothesis = work.concluded
        if hypothesis is None:
            hypothesis = await self._ask(work, last=True)
        else:
            await self._recogniser.forget(self._key(work))
        if hypothesis is None:
            self._give_up(work)
            return
        caption = work.stabiliser.finish(hypothesis.words)
        self._previous = f"{self._previous} {caption.text}"[-_PREVIOUS_CHARACTERS:].strip()
        if caption.text:  # noise has no language
            self._languages = onwards(weigh(self._languages, hypothesis.evidence))
        final = self._final(work, caption, hypothesis)
        self._feed.append(final)
        if self.on_final is not None:
            context = replace(self._context(work), committed="", language=hypothesis.language)
            self.on_final(Reading(final, caption.words, bytes(work.utterance.pcm), context, self._key(work)))

    def _give_up(self, work: _Work) -> None:
        """The engine has no answer: what readers were shown for good stays, the rest is said to be missing."""
        utterance, committed = work.utterance, work.stabiliser.committed
        self._feed.append(
            Final(
                utterance=work.number,
                start_ms=utterance.start_ms,
                end_ms=utterance.end_ms,
                text=committed,
                engine=self._recogniser.name,
                fallback=True,
            )
        )
        missing_from_ms = utterance.start_ms + round(work.stabiliser.committed_end_s * 1000)
        self._feed.append(Gap(start_ms=missing_from_ms, end_ms=utterance.end_ms, reason="engine"))

    def _final(self, work: _Work, caption: Caption, hypothesis: Hypothesis) -> Final:
        start_ms, spoken = work.utterance.start_ms, hypothesis.language
        written = self._stage.target_language if self._translates else spoken
        return Final(
            utterance=work.number,
            start_ms=start_ms,
            end_ms=work.utterance.end_ms,
            text=caption.text,
            words=on_the_wire(caption.words, start_ms),
            language=written,
            translated_from=spoken if spoken != written else None,
            engine=hypothesis.engine,
            fallback=hypothesis.fallback,
        )

    def _context(self, work: _Work) -> Context:
        return Context(
            committed=work.stabiliser.committed,
            previous=self._previous,
            language=work.language if self._stage.language == "auto" else self._stage.language,
            vocabulary=self.vocabulary,
            languages=self._languages if self._stage.language == "auto" else {},
            task=self._stage.task,
            start_s=work.utterance.start_ms / 1000,
            continues=work.continues,
            waiting=len(self._queue) - 1,
            target_language=self._stage.target_language,
        )

    def _key(self, work: _Work) -> str:
        return f"{self._feed.log.session}/{work.number}"

    async def _ask(self, work: _Work, *, last: bool, thorough: bool = False) -> Hypothesis | None:
        """One engine call; None where the engine failed for good."""
        context = replace(self._context(work), thorough=thorough)
        key = self._key(work)
        if work.utterance.ended == "split":  # the engine heard more than belongs to it: it hears it afresh
            await self._recogniser.forget(key)
            key += "/split"
        try:
            hypothesis = await self._recogniser.advance(key, bytes(work.utterance.pcm), last, context)
        except EngineFailed as error:
            self.fault = str(error)
            _log.error("no captions for %d ms of speech: %s", work.heard_ms, error)
            return None
        self.fault = None
        _log.debug("%s %s: %r", "final" if last else "partial", key, hypothesis.text)
        return hypothesis


def _expected(stage: RecogniseStage, log: Log) -> Belief:
    """What languages to expect before anything is said: most of all the one that was spoken last in this session."""
    finals = (event.body for event in reversed(log.since(0)) if isinstance(event.body, Final))
    spoken = next((body.translated_from or body.language for body in finals if body.text), None)
    return expecting(stage.languages, spoken)


def on_the_wire(words: Sequence[HypothesisWord], offset_ms: int) -> tuple[Word, ...]:
    """Words of an utterance that begins at `offset_ms`, as readers get them."""
    return tuple(_word(word, offset_ms) for word in words if word.text.strip())


def _word(word: HypothesisWord, offset_ms: int) -> Word:
    return Word(
        text=word.text.strip(),
        start_ms=offset_ms + round(word.start_s * 1000),
        end_ms=offset_ms + round(word.end_s * 1000),
        confidence=round(word.confidence, 3),
    )
