"""Gemma 4 on ONNX Runtime, heard again and again while someone speaks, without reading any sound twice.

The instruction is read once and shared by all utterances. Sound goes through the encoder as it comes in, and what the
language model makes of it is kept. A guess then costs one pass over the few tokens that end the question and over the
earlier guess, which is checked in that pass, and one more for each word that is new. A long utterance is heard in
pieces, each behind the instruction and what was said before, so that a guess costs the same however long it is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from streamd.core.audio import FRAME_SAMPLES, SAMPLE_RATE, Pcm
from streamd.core.tools.tool import Tool, ToolDecision
from streamd.core.words import HypothesisWord, is_unspaced, join, spelled_along
from streamd.engines.base import Context, Hypothesis, UnknownUtterance
from streamd.engines.gemma import encoder, folder, graphs, pieces
from streamd.engines.gemma.captions import FRAME_S, QUIET, Caption, Captions, Sound
from streamd.engines.gemma.choice import Choice
from streamd.engines.gemma.decoder import Cache, Decoder
from streamd.engines.gemma.hearing import Hearing, Lap
from streamd.engines.gemma.prompt import Ask, Prompt
from streamd.engines.gemma.providers import providers
from streamd.engines.gemma.text import Tokens
from streamd.engines.stopwatch import Stopwatch
from streamd.errors import UnavailableError

LONGEST_S = 30.0
"""More sound at a time than this the model was not trained on; utterances end at 28 s (streamd.settings)."""

PREVIOUS_CHARACTERS = 200  # of what was said before a piece
PROMPTS = 8  # of different languages and tasks that are kept at a time


@dataclass(frozen=True, slots=True)
class Options:
    """See streamd.settings.Gemma."""

    model_path: str
    dtype: str = "auto"
    provider: str = "auto"
    threads: int = 0
    frames_per_call: int = 0  # 0: measured at load
    piece_s: float = 8.0
    carry_over: bool = True  # what was said before goes into the prompt
    tool_margin: float = 0.0  # by which a call must be likelier than anything else, in nats


@dataclass(slots=True)
class _State:
    """What is known of an open utterance."""

    ask: Ask
    hearing: Hearing  # of the piece that is heard now
    sound: Pcm = field(default_factory=lambda: np.zeros(0, np.int16))  # of that piece
    caption: Caption = field(default_factory=Caption)  # of that piece
    searched: int = 0  # frames of that piece in which no pause was found that ends it
    start_s: float = 0.0  # of that piece, in the utterance
    settled: tuple[HypothesisWord, ...] = ()  # of the pieces before

    @property
    def words(self) -> tuple[HypothesisWord, ...]:
        """Of the whole utterance."""
        said = [
            replace(word, start_s=word.start_s + self.start_s, end_s=word.end_s + self.start_s)
            for word in self.caption.words
        ]
        if self.settled and said and not (is_unspaced(self.settled[-1].text[-1]) or is_unspaced(said[0].text[0])):
            said[0] = replace(said[0], text=" " + said[0].text.lstrip())
        return (*self.settled, *said)

    @property
    def heard(self) -> Sound:
        """What was read of that piece."""
        return Sound(self.hearing.cache, self.hearing.loudness)

    def left(self, committed: str) -> str:
        """What of the committed text is not settled yet."""
        along = spelled_along(self.settled, committed)
        return along[1].lstrip() if along else ""

    def go_on(self, frames: int, hearing: Hearing) -> None:
        """The piece ends after so many frames, and another one begins."""
        self.settled = self.words
        self.start_s += frames * FRAME_S
        self.sound = self.sound[frames * FRAME_SAMPLES :]
        self.hearing, self.caption, self.searched = hearing, Caption(), 0
        hearing.feed(self.sound)


class GemmaEngine:
    """Implements Engine and CallsTools of streamd.engines.base. Threads may call it for different utterances at a time.

    The prompt of an utterance is that of its first call: what its language turned out to be is for the next one.
    """

    def __init__(self, options: Options) -> None:
        path = Path(options.model_path)
        opened = graphs.Options(providers(options.provider), options.threads, options.dtype)
        self._options = options
        self._tokens = Tokens(path)
        loaded = folder.load(path, opened)
        self._decoder = Decoder(loaded.embed, loaded.decoder, loaded.prefill)
        _check_vocabulary(self._decoder, self._tokens, loaded.decoder.file)
        self._encoder = encoder.encoder(loaded.encoder)
        self._prompt = Prompt(self._tokens)
        self._captions = Captions(self._decoder, self._tokens, self._prompt)
        self._choice = Choice(path / "tokenizer.json", self._encoder, self._decoder, self._tokens, self._prompt)
        self._prompts: dict[Ask, tuple[list[int], Cache]] = {}
        self._reading = threading.Lock()
        self._at_least = options.frames_per_call
        self._open: dict[str, _State] = {}
        self.name = f"gemma {path.name} {loaded.dtype}"

    def advance(self, utterance_id: str, new_pcm: Pcm, last: bool, context: Context, *, first: bool) -> Hypothesis:
        """See Engine.advance. Raises UnavailableError where the model gives no numbers or the utterance is too long."""
        watch = Stopwatch()
        if first:
            ask = Ask(context.task, context.language, context.target_language)
            self._open[utterance_id] = _State(ask, self._hearing(ask, context, context.previous))
            watch.lap("prompt")
        state = self._open.get(utterance_id)
        if state is None:
            raise UnknownUtterance(utterance_id)
        if last:
            del self._open[utterance_id]
        state.sound = np.concatenate([state.sound, new_pcm])
        state.hearing.feed(new_pcm)
        watch.lap("features")
        self._settle(state, context, watch.lap, ahead=first)
        _check_length(state.hearing.seconds)
        if last:
            state.hearing.finish(watch.lap)
            if not state.settled:
                self._choice.remember(utterance_id, state.hearing)
        else:
            state.hearing.catch_up(1 if context.thorough else self._frames_per_call, watch.lap)
        state.caption = self._captions.write(state.heard, state.ask, state.caption, state.left(context.committed))
        watch.lap("decoder")
        covered_s = state.start_s + (state.hearing.seconds if last else state.hearing.frames * FRAME_S)
        thorough = last or context.thorough
        return Hypothesis(state.words, self.name, state.ask.language, covered_s, watch.ms, thorough=thorough)

    def prepare(self, tools: Sequence[Tool]) -> None:
        """See CallsTools.prepare."""
        self._choice.prepare(tools)

    def decide(
        self,
        utterance_id: str,
        pcm: Pcm,
        tools: Sequence[Tool],
        context: Context,  # noqa: ARG002 - the tools' declarations are all that is needed
    ) -> ToolDecision:
        """See CallsTools.decide. Raises UnavailableError as `advance` does."""
        _check_length(len(pcm) / SAMPLE_RATE)
        margin = self._options.tool_margin
        return self._choice.decide(utterance_id, pcm, tools, least_margin=margin, quiet=QUIET)

    def forget(self, utterance_id: str) -> None:
        """See Engine.forget."""
        self._open.pop(utterance_id, None)

    def warm_up(self) -> None:
        """See Engine.warm_up. The encoder is measured, and a second of noise goes through every stage."""
        self._at_least = self._frames_per_call
        noise = np.random.default_rng(0).integers(-3_000, 3_000, 16_000, np.int16)
        for last in (False, True):
            self.advance("warm-up", noise, last, Context(), first=not last)

    @property
    def _frames_per_call(self) -> int:
        return self._at_least or encoder.frames_per_call(self._encoder)

    def _hearing(self, ask: Ask, context: Context, previous: str) -> Hearing:
        """Ready for sound, behind the prompt."""
        with self._reading:
            if ask not in self._prompts:
                while len(self._prompts) >= PROMPTS:
                    del self._prompts[next(iter(self._prompts))]
                common = self._prompt.before(ask)
                self._prompts[ask] = common, self._decoder.read(self._decoder.empty, common)[1]
            common, cache = self._prompts[ask]
        own = self._prompt.before(ask, context.vocabulary, previous if self._options.carry_over else "")
        same = _common_length(common, own)
        if same < len(own):
            _, cache = self._decoder.read(cache.crop(same), own[same:])
        return Hearing(self._encoder, self._decoder, cache)

    def _settle(self, state: _State, context: Context, lap: Lap, *, ahead: bool) -> None:
        """End pieces at pauses. `ahead`: what was committed may be about sound behind them."""
        write = self._captions.write_ahead if ahead else self._captions.write
        least = round(self._options.piece_s / FRAME_S)
        while (frames := pieces.pause(state.hearing.all_loudness, least, state.searched)) is not None:
            state.hearing.catch_up(1, lap, frames)
            caption = write(state.heard, state.ask, state.caption, state.left(context.committed))
            if caption is None:  # what was committed is not what Gemma hears: only later sound can tell how long it is
                break
            state.caption = caption
            lap("decoder")
            previous = f"{context.previous} {join(state.words)}"[-PREVIOUS_CHARACTERS:]
            state.go_on(frames, self._hearing(state.ask, context, previous))
            lap("prompt")
        state.searched = len(state.hearing.all_loudness)


def _check_length(seconds: float) -> None:
    if seconds > LONGEST_S:
        raise UnavailableError(
            f"{seconds:.1f} s without a pause are more than Gemma hears at a time ({LONGEST_S:g} s): "
            "lower endpoint.max_utterance_s"
        )


def _common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _check_vocabulary(decoder: Decoder, tokens: Tokens, decoder_file: Path) -> None:
    """Raises UnavailableError if the tokenizer has tokens that the model does not."""
    if decoder.vocabulary is not None and tokens.size > decoder.vocabulary:
        raise UnavailableError(
            f"{decoder_file} writes {decoder.vocabulary} tokens, tokenizer.json has {tokens.size}: "
            "they are not of one model"
        )
