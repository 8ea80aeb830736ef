"""faster-whisper's weights on CTranslate2, heard again and again while someone speaks.

Each call encodes the open utterance with a few seconds of silence behind it instead of the usual 30 s window, decodes
on from what readers were already shown for good, and aligns the words with the sound by cross-attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import ctranslate2
import numpy as np

from streamd.core.audio import Pcm
from streamd.core.commands.hearing import Choices, Comparison
from streamd.core.languages import Evidence, likeliest, weigh
from streamd.core.words import join, spelled
from streamd.engines.base import Context, Hypothesis, HypothesisWord, Task, UnknownUtterance
from streamd.engines.spans import TokenSpan, without_loop
from streamd.engines.stopwatch import Stopwatch
from streamd.engines.whisper import hotwords, window
from streamd.engines.whisper.compare import Comparer
from streamd.engines.whisper.evidence import believable
from streamd.engines.whisper.languages import check, check_target, detect, tokens_per_s
from streamd.engines.whisper.mel import FRAMES_PER_S, LogMel
from streamd.engines.whisper.text import Tokens
from streamd.errors import UnavailableError

PADDING_S = 2.0
"""Silence behind the sound, instead of what fills 30 s. Measured with tiny.en int8 on a minute of clean speech and
on the same in babble at 10 dB: WER 2.6 and 14.4 % with 5 s, 2.0 and 13.7 % with 2 s, 2.6 and 13.1 % with 1 s; words
settle 0.2 s earlier at the median with 2 s than with 5 s. Without `evidence`, guesses repeat themselves below 5 s."""

SPARE_TOKENS = 12
MAX_TOKENS = 224
MIN_SOUND_S = 0.1  # less than this holds no word
ENCODER_FRAME_S = 0.02
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
class _Heard:
    """The sound of one call, encoded."""

    encoded: ctranslate2.StorageView
    mel_frames: int  # padding included
    seconds: float  # padding not included
    language: str | None


class WhisperEngine:
    """Implements streamd.engines.base.Engine. Different utterances may be advanced from different threads.

    `Context.previous` is not used: as a prompt it raised the WER (2.6 → 3.9 % clean, 14.4 → 17.0 % in babble).
    """

    def __init__(self, options: Options) -> None:
        folder = Path(options.model_path)
        self.name = f"whisper {folder.name} {options.compute_type}"
        self._options = options
        self._tokens = Tokens(folder / "tokenizer.json")
        self._model = _load(folder, options)
        check_target(options.task, options.target_language)
        check(folder, self._tokens, self._model.is_multilingual, options.task, options.languages)
        self._bands = int(self._model.n_mels)
        self._open: dict[str, _State] = {}
        self._comparer = Comparer(folder, self._model, self._tokens, self.name)

    def advance(self, utterance_id: str, new_pcm: Pcm, last: bool, context: Context, *, first: bool) -> Hypothesis:
        """See Engine.advance."""
        if first:
            self._open[utterance_id] = _State(LogMel(self._bands))
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
            words = self._final(state, context, watch) if thorough else self._partial(state, context, watch)
            state.words = words
        return Hypothesis(words, self.name, state.language, heard_s, watch.ms, state.evidence, thorough=thorough)

    def speaks(self, language: str) -> bool:
        """Does the model know this language?"""
        return self._tokens.is_language(language) if self._model.is_multilingual else language == "en"

    def compare(self, pcm: Pcm, choices: Choices) -> Comparison:
        """Which of some sentences a whole sound is. Raises ValueError if it is too long to be a command."""
        mel = LogMel(self._bands)
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

    def _partial(self, state: _State, context: Context, watch: Stopwatch) -> tuple[HypothesisWord, ...]:
        """What was committed long ago is not heard again."""
        before = state.words[: window.settled(state.words, context.committed)]
        start_s = window.start_s(state.words, len(before)) or state.empty_s
        committed = context.committed[len(join(before)) :].lstrip()
        heard = self._encode(state, context, watch, start_s)
        words = self._words(heard, replace(context, committed=committed), False, watch)
        if not before and not words and not context.committed:
            state.empty_s = window.empty_s(state.mel.seconds, state.empty_s)
        return (*before, *(_later(word, start_s) for word in words))

    def _final(self, state: _State, context: Context, watch: Stopwatch) -> tuple[HypothesisWord, ...]:
        words = self._last_words(self._encode(state, context, watch), context, watch)
        while words and words[-1].start_s + LONGEST_WORD_S < state.mel.seconds:
            # No word is so long: Whisper likes to stop at a pause and leave the rest unheard.
            start_s = words[-1].start_s + LONGEST_WORD_S / 2
            heard = self._encode(state, context, watch, start_s)
            rest = self._words(heard, replace(context, committed=""), True, watch)
            if not rest:
                break
            words = (*words[:-1], replace(words[-1], end_s=start_s), *(_later(word, start_s) for word in rest))
        return words

    def _encode(self, state: _State, context: Context, watch: Stopwatch, start_s: float = 0.0) -> _Heard:
        mel = state.mel.window(PADDING_S, start_s)
        watch.lap("features")
        encoded = self._model.encode(ctranslate2.StorageView.from_array(mel[np.newaxis]))
        watch.lap("encoder")
        self._settle_language(state, encoded, context)
        return _Heard(encoded, mel.shape[1], state.mel.seconds - start_s, state.language)

    def _last_words(self, heard: _Heard, context: Context, watch: Stopwatch) -> tuple[HypothesisWord, ...]:
        """Words for the final. They begin with what was committed."""
        if context.committed:
            # Forced to go on from words whose punctuation was left open, the decoder likes to say more than was said.
            free = self._words(heard, replace(context, committed=""), True, watch)
            if (words := spelled(free, context.committed)) is not None:
                return words
        return self._words(heard, context, True, watch)

    def _words(self, heard: _Heard, context: Context, last: bool, watch: Stopwatch) -> tuple[HypothesisWord, ...]:
        """One decoding that goes on from `context.committed`, aligned with the sound."""
        start = self._tokens.start_sequence(heard.language if self._model.is_multilingual else None, context.task)
        decoded = self._decode(heard, start, context, last)
        watch.lap("decoder")
        words = self._align(heard, start, decoded.tokens)
        watch.lap("align")
        guess = believable(words, heard.seconds, decoded.no_speech, context.committed)
        if hotwords.is_doubtful(guess, context.vocabulary, context.committed):
            free = self._words(heard, replace(context, vocabulary=()), last, watch)
            return guess if hotwords.is_borne_out(guess, free, context.vocabulary) else free
        return guess

    def _settle_language(self, state: _State, encoded: ctranslate2.StorageView, context: Context) -> None:
        if not self._model.is_multilingual:
            state.language = "en"
        elif context.language is not None:
            state.language = context.language
        elif state.evidence.heard_s < min(DETECT_S, state.mel.seconds):
            state.evidence = detect(self._model, encoded, state.mel.seconds)
            state.language = likeliest(weigh(context.languages, state.evidence))

    def _decode(self, heard: _Heard, start: Sequence[int], context: Context, last: bool) -> _Decoded:
        committed = self._tokens.encode(context.committed)
        prompt = self._tokens.prompt(start, committed, hotwords.prompt(self._tokens, context.vocabulary))
        room = min(MAX_TOKENS, int(heard.seconds * tokens_per_s(heard.language)) + SPARE_TOKENS)
        result = self._model.generate(
            heard.encoded,
            [prompt],
            beam_size=self._options.beam_size if last else self._options.partial_beam_size,
            max_length=min(448, len(prompt) + max(SPARE_TOKENS, room - len(committed))),
            return_no_speech_prob=True,
            suppress_blank=not committed,
        )[0]
        tokens = [token for token in result.sequences_ids[0] if token < self._tokens.end]
        if tokens[: len(committed)] == list(committed):  # CTranslate2 repeats what was forced
            tokens = tokens[len(committed) :]
        return _Decoded([*committed, *without_loop(tokens)], result.no_speech_prob)

    def _align(self, heard: _Heard, start: Sequence[int], tokens: Sequence[int]) -> list[HypothesisWord]:
        """Words with their times: where the attention of the alignment heads jumps on to the next token."""
        spans = self._tokens.words(tokens)
        if not spans:
            return []
        result = self._model.align(heard.encoded, list(start), [list(tokens)], heard.mel_frames)[0]
        jumps: dict[int, float] = {}
        for token, frame in result.alignments:
            jumps.setdefault(token, frame * ENCODER_FRAME_S)
        probabilities = result.text_token_probs
        return [_timed(span, jumps, probabilities, heard.mel_frames / FRAMES_PER_S) for span in spans]


@dataclass(frozen=True, slots=True)
class _Decoded:
    tokens: list[int]  # the committed ones included
    no_speech: float  # probability that nobody spoke


def _timed(span: TokenSpan, jumps: dict[int, float], probabilities: Sequence[float], end_s: float) -> HypothesisWord:
    start_s = jumps.get(span.start, end_s)
    stop_s = jumps.get(span.stop, end_s)
    chances = probabilities[span.start : span.stop]
    confidence = float(np.exp(np.mean(np.log(np.maximum(chances, 1e-6))))) if len(chances) else 0.0
    return HypothesisWord(span.text, start_s, max(start_s, stop_s), min(1.0, confidence))


def _later(word: HypothesisWord, by_s: float) -> HypothesisWord:
    return replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s)


def _load(folder: Path, options: Options) -> ctranslate2.models.Whisper:
    try:
        return ctranslate2.models.Whisper(
            str(folder),
            device=options.device,
            compute_type=options.compute_type,
            inter_threads=options.threads,
            intra_threads=1,
        )
    except (RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"the Whisper model in {folder} does not load as {options.compute_type} on {options.device}: {error}; "
            'try `streamd models verify`, or engines.whisper.compute_type = "int8"'
        ) from error
