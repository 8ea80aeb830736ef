"""Gemma 4 on ONNX Runtime, heard again and again while someone speaks, without reading any sound twice.

The instruction is read once and shared by all utterances. Sound goes through the encoder as it comes in, and what the
language model makes of it is kept. A guess then costs one pass over the few tokens that end the question and over the
earlier guess, which is checked in that pass, and one more for each word that is new: however long the utterance is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from streamd.core.audio import SAMPLE_RATE, Pcm
from streamd.core.tools.tool import Tool, ToolDecision
from streamd.engines.base import Context, Hypothesis, UnknownUtterance
from streamd.engines.gemma import encoder, graphs
from streamd.engines.gemma.captions import FRAME_S, Caption, Captions, Sound, in_words, timed
from streamd.engines.gemma.choice import Choice
from streamd.engines.gemma.decoder import Cache, Decoder
from streamd.engines.gemma.hearing import Hearing
from streamd.engines.gemma.prompt import Ask, Prompt
from streamd.engines.gemma.providers import providers
from streamd.engines.gemma.text import Tokens
from streamd.engines.stopwatch import Stopwatch
from streamd.errors import UnavailableError

LONGEST_S = 30.0
"""More sound at a time than this the model was not trained on; utterances end at 28 s (streamd.settings)."""

QUIET = -5.0
"""Mean log-mel of the loudest frame below which nothing was said. White noise of -68 dBFS has -5.0, speech of -60 dBFS
has -4.5, silence -6.9. Asked about nothing, the model makes something up."""

PROMPTS = 8  # of different languages and tasks that are kept at a time


@dataclass(frozen=True, slots=True)
class Options:
    """See streamd.settings.Gemma."""

    model_path: str
    dtype: str = "auto"
    provider: str = "auto"
    threads: int = 0
    frames_per_call: int = 0  # 0: measured at load
    carry_over: bool = True  # what was said before goes into the prompt
    tool_margin: float = 0.0  # by which a call must be likelier than anything else, in nats


@dataclass(slots=True)
class _State:
    """What is known of an open utterance."""

    ask: Ask
    hearing: Hearing
    caption: Caption = field(default_factory=Caption)


class GemmaEngine:
    """Implements Engine and CallsTools of streamd.engines.base. Threads may call it for different utterances at a time.

    The prompt of an utterance is that of its first call: what its language turned out to be is for the next one.
    """

    def __init__(self, options: Options) -> None:
        folder = Path(options.model_path)
        opened = graphs.Options(providers(options.provider), options.threads, options.dtype)
        self._options = options
        self._tokens = Tokens(folder)
        loaded = graphs.load(folder, opened)
        self._decoder = Decoder(loaded.embed, loaded.decoder, loaded.prefill)
        _check_vocabulary(self._decoder, self._tokens, loaded.decoder.file)
        self._encoder = encoder.encoder(loaded.encoder)
        self._prompt = Prompt(self._tokens)
        self._captions = Captions(self._decoder, self._tokens, self._prompt)
        self._choice = Choice(folder / "tokenizer.json", self._encoder, self._decoder, self._tokens, self._prompt)
        self._prompts: dict[Ask, tuple[list[int], Cache]] = {}
        self._reading = threading.Lock()
        self._at_least = options.frames_per_call
        self._open: dict[str, _State] = {}
        self.name = f"gemma {folder.name} {loaded.dtype}"
        self.provider = loaded.decoder.provider

    def advance(self, utterance_id: str, new_pcm: Pcm, last: bool, context: Context, *, first: bool) -> Hypothesis:
        """See Engine.advance. Raises UnavailableError where the model gives no numbers or the utterance is too long."""
        watch = Stopwatch()
        if first:
            self._open[utterance_id] = self._begin(context)
            watch.lap("prompt")
        state = self._open.get(utterance_id)
        if state is None:
            raise UnknownUtterance(utterance_id)
        if last:
            del self._open[utterance_id]
        hearing = state.hearing
        hearing.feed(new_pcm)
        watch.lap("features")
        _check_length(hearing.seconds)
        if last:
            hearing.finish(watch.lap)
            self._choice.remember(utterance_id, hearing)
        else:
            hearing.catch_up(self._frames_per_call, watch.lap)
        state.caption = self._guess(state, context.committed)
        watch.lap("decoder")
        covered_s = hearing.seconds if last else hearing.frames * FRAME_S
        return Hypothesis(state.caption.words, self.name, state.ask.language, covered_s, watch.ms)

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

    def _begin(self, context: Context) -> _State:
        ask = Ask(context.task, context.language, context.target_language)
        with self._reading:
            if ask not in self._prompts:
                while len(self._prompts) >= PROMPTS:
                    del self._prompts[next(iter(self._prompts))]
                common = self._prompt.before(ask)
                self._prompts[ask] = common, self._decoder.read(self._decoder.empty, common)[1]
            common, cache = self._prompts[ask]
        own = self._prompt.before(ask, context.vocabulary, context.previous if self._options.carry_over else "")
        same = _common_length(common, own)
        if same < len(own):
            _, cache = self._decoder.read(cache.crop(same), own[same:])
        return _State(ask, Hearing(self._encoder, self._decoder, cache))

    def _guess(self, state: _State, committed: str) -> Caption:
        """What was said so far. Where nothing can be heard the model is not asked."""
        sound = Sound(state.hearing.cache, state.hearing.loudness)
        if not len(sound.loudness) or sound.loudness.max() < QUIET:
            return replace(state.caption, words=timed(in_words(committed), sound))
        return self._captions.write(sound, state.ask, state.caption, committed)


def _check_length(seconds: float) -> None:
    if seconds > LONGEST_S:
        raise UnavailableError(
            f"an utterance of {seconds:.1f} s is longer than Gemma hears at a time ({LONGEST_S:g} s): "
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
