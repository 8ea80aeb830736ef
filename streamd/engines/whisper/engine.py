"""faster-whisper's weights on CTranslate2, heard again and again while someone speaks.

Each call encodes the open utterance with a few seconds of silence behind it instead of the usual 30 s window, decodes
on from what readers were already shown for good, and aligns the words with the sound by cross-attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from streamd.core.audio import Pcm
from streamd.core.commands.hearing import Choices, Comparison
from streamd.core.languages import Evidence, likeliest, weigh
from streamd.core.words import join, spelled
from streamd.engines.base import Context, Hypothesis, HypothesisWord, Task, UnknownUtterance
from streamd.engines.batcher import Batcher
from streamd.engines.stopwatch import Stopwatch
from streamd.engines.whisper import window as trim
from streamd.engines.whisper.compare import Comparer
from streamd.engines.whisper.evidence import is_sure
from streamd.engines.whisper.languages import check, check_target
from streamd.engines.whisper.mel import LogMel
from streamd.engines.whisper.model import Encoded, Model, Window

PADDING_S = 2.0
"""Silence behind the sound, instead of what fills 30 s. Measured with tiny.en int8 on a minute of clean speech and
on the same in babble at 10 dB: WER 2.6 and 14.4 % with 5 s, 2.0 and 13.7 % with 2 s, 2.6 and 13.1 % with 1 s; words
settle 0.2 s earlier at the median with 2 s than with 5 s. Without `evidence`, guesses repeat themselves below 5 s."""

MIN_SOUND_S = 0.1  # less than this holds no word
LONGEST_WORD_S = 2.0  # pause behind it included
DETECT_S = 5.0  # the language is detected in so much sound, no more


@dataclass(frozen=True, slots=True)
class Options:
    """See streamd.settings.Whisper."""

    model_path: str
    compute_type: str = "int8"
    device: str = "cpu"
    threads: int = 1
    beam_size: int = 5
    partial_beam_size: int = 3
    batch: int = 4  # four windows take 32 ms of processor time each instead of 56, eight 28, but all wait for the last
    task: Task = "transcribe"  # what will be asked of it …
    target_language: str = "en"
    languages: tuple[str, ...] = ()  # … and in which languages, where that is known


@dataclass(slots=True)
class _State:
    """What is known of an open utterance."""

    mel: LogMel
    language: str | None = None
    evidence: Evidence = field(default_factory=Evidence)
    words: tuple[HypothesisWord, ...] = ()  # of the last guess
    empty_s: float = 0.0  # so much at the start held no word when it was heard


@dataclass(frozen=True, slots=True)
class _Job:
    """One guess that is asked for."""

    state: _State
    context: Context
    thorough: bool
    watch: Stopwatch
    before: tuple[HypothesisWord, ...]  # words that are not heard again …
    start_s: float  # … and where the window begins that is
    window: Window


class WhisperEngine:
    """Implements streamd.engines.base.Engine. Different utterances may be advanced from different threads.

    Partials that come while all of the model's threads are busy are heard together.

    `Context.previous` is not used: as a prompt it raised the WER (2.6 → 3.9 % clean, 14.4 → 17.0 % in babble).
    """

    def __init__(self, options: Options) -> None:
        folder = Path(options.model_path)
        self.name = f"whisper {folder.name} {options.compute_type}"
        self._options = options
        self._model = Model(folder, options.compute_type, options.device, options.threads)
        check_target(options.task, options.target_language)
        check(folder, self._model.tokens, self._model.is_multilingual, options.task, options.languages)
        self._open: dict[str, _State] = {}
        self.batcher = Batcher(self._guess, _may_share, options.threads, options.batch)
        self._comparer = Comparer(folder, self._model.whisper, self._model.tokens, self.name)

    def advance(self, utterance_id: str, new_pcm: Pcm, last: bool, context: Context, *, first: bool) -> Hypothesis:
        """See Engine.advance."""
        if first:
            self._open[utterance_id] = _State(LogMel(self._model.bands))
        state = self._open.get(utterance_id)
        if state is None:
            raise UnknownUtterance(utterance_id)
        if last:
            del self._open[utterance_id]
        watch, thorough = Stopwatch(), last or context.thorough
        state.mel.feed(new_pcm)
        heard_s = state.mel.seconds
        words: tuple[HypothesisWord, ...] = ()
        if heard_s >= MIN_SOUND_S:
            state.language = (context.language if self._model.is_multilingual else "en") or state.language
            job = _job(state, context, watch, thorough=thorough)
            found = self.batcher.call(job, urgent=last)
            if not (found or job.before or context.committed or thorough):
                state.empty_s = trim.empty_s(heard_s, state.empty_s)
            words = state.words = (*job.before, *_later(found, job.start_s))
        return Hypothesis(words, self.name, state.language, heard_s, watch.ms, state.evidence, thorough=thorough)

    def speaks(self, language: str) -> bool:
        """Does the model know this language?"""
        return self._model.speaks(language)

    def compare(self, pcm: Pcm, choices: Choices) -> Comparison:
        """Which of some sentences a whole sound is. Raises ValueError if it is too long to be a command."""
        mel = LogMel(self._model.bands)
        mel.feed(pcm)
        return self._comparer.compare(mel, choices)

    def forget(self, utterance_id: str) -> None:
        """See Engine.forget."""
        self._open.pop(utterance_id, None)

    def warm_up(self) -> None:
        """See Engine.warm_up. A second of noise goes through every stage."""
        noise = np.random.default_rng(0).integers(-500, 500, 16_000, np.int16)
        for last in (False, True):
            self.advance("warm-up", noise, last, Context(), first=not last)

    def _guess(self, jobs: Sequence[_Job]) -> list[tuple[HypothesisWord, ...]]:
        """One final, or partials. Of the time that they take together each is told its share."""
        for job in jobs:
            job.watch.lap("batch")
        watch = Stopwatch()
        encoded = self._encode(jobs, watch)
        if jobs[0].thorough:
            guesses = [self._final(jobs[0], encoded, watch)]
        else:
            windows = [replace(job.window, language=job.state.language) for job in jobs]
            guesses = self._model.words(encoded, windows, self._options.partial_beam_size, watch)
        for job in jobs:
            job.watch.ms.update({stage: took_ms / len(jobs) for stage, took_ms in watch.ms.items()})
        return guesses

    def _encode(self, jobs: Sequence[_Job], watch: Stopwatch) -> Encoded:
        """And detects in which language each goes on, where that is not given."""
        encoded = self._model.encode([job.window.mel for job in jobs])
        watch.lap("encoder")
        if self._model.is_multilingual and any(map(_wants_evidence, jobs)):
            found = self._model.detect(encoded, [job.state.mel.seconds for job in jobs])
            for job, evidence in zip(jobs, found, strict=True):
                if _wants_evidence(job):
                    job.state.evidence = evidence
                    if job.context.language is None:
                        job.state.language = likeliest(weigh(job.context.languages, evidence))
            watch.lap("language")
        return encoded

    def _final(self, job: _Job, encoded: Encoded, watch: Stopwatch) -> tuple[HypothesisWord, ...]:
        window, heard_s = replace(job.window, language=job.state.language), job.window.seconds
        words = self._last_words(encoded, window, watch)
        while words and words[-1].start_s + LONGEST_WORD_S < heard_s:
            # No word is so long: Whisper likes to stop at a pause and leave the rest unheard.
            start_s = words[-1].start_s + LONGEST_WORD_S / 2
            rest = replace(
                window, mel=job.state.mel.window(PADDING_S, start_s), seconds=heard_s - start_s, committed=""
            )
            more = self._words(self._model.encode([rest.mel]), rest, watch)
            if not is_sure(more):  # it may be silence, in which Whisper likes to thank
                break
            words = (*words[:-1], replace(words[-1], end_s=start_s), *_later(more, start_s))
        return words

    def _last_words(self, encoded: Encoded, window: Window, watch: Stopwatch) -> tuple[HypothesisWord, ...]:
        """Words for the final. They begin with what was committed."""
        if window.committed:
            # Forced to go on from words whose punctuation was left open, the decoder likes to say more than was said.
            free = self._words(encoded, replace(window, committed=""), watch)
            if (words := spelled(free, window.committed)) is not None:
                return words
        return self._words(encoded, window, watch)

    def _words(self, encoded: Encoded, window: Window, watch: Stopwatch) -> tuple[HypothesisWord, ...]:
        return self._model.words(encoded, [window], self._options.beam_size, watch)[0]


def _job(state: _State, context: Context, watch: Stopwatch, *, thorough: bool) -> _Job:
    """A final hears everything, a partial leaves out what was committed long ago."""
    before = () if thorough else state.words[: trim.settled(state.words, context.committed)]
    start_s = 0.0 if thorough else trim.start_s(state.words, len(before)) or state.empty_s
    asked = Window(
        mel=state.mel.window(PADDING_S, start_s),
        seconds=state.mel.seconds - start_s,
        committed=context.committed[len(join(before)) :].lstrip(),
        vocabulary=context.vocabulary,
        task=context.task,
    )
    watch.lap("features")
    return _Job(state, context, thorough, watch, before, start_s, asked)


def _wants_evidence(job: _Job) -> bool:
    """Of its language. Committed words settle it, but finals still tell what to expect of the next utterance."""
    asked = job.context.language is None or (job.thorough and bool(job.context.languages))
    return asked and job.state.evidence.heard_s < min(DETECT_S, job.state.mel.seconds)


def _may_share(job: _Job, other: _Job) -> bool:
    """A final is heard by itself: it takes several goes."""
    return not job.thorough and not other.thorough and job.window.is_like(other.window)


def _later(words: Sequence[HypothesisWord], by_s: float) -> Iterator[HypothesisWord]:
    return (replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s) for word in words)
