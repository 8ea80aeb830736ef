"""Windows of sound → guesses of their words: what CTranslate2 is asked, for several windows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ctranslate2
import numpy as np

from streamd.core.languages import Evidence
from streamd.core.words import HypothesisWord
from streamd.engines.base import Task
from streamd.engines.spans import TokenSpan, without_loop
from streamd.engines.stopwatch import Stopwatch
from streamd.engines.whisper import hotwords, languages
from streamd.engines.whisper.evidence import believable
from streamd.engines.whisper.languages import tokens_per_s
from streamd.engines.whisper.mel import FRAMES_PER_S, Float32
from streamd.engines.whisper.text import Tokens
from streamd.errors import UnavailableError

SPARE_TOKENS = 12
MAX_TOKENS = 224
LONGEST_TEXT = 448  # tokens, prompt included
ENCODER_FRAME_S = 0.02


@dataclass(frozen=True, slots=True)
class Window:
    """Some sound, and what is known of what is said in it."""

    mel: Float32  # (bands, frames), padding included
    seconds: float  # padding not included
    committed: str = ""
    vocabulary: tuple[str, ...] = ()
    language: str | None = None  # not used where the model knows English only
    task: Task = "transcribe"

    def is_like(self, other: Window) -> bool:
        """May the two be decoded together, at little more than the cost of either?"""
        shorter, longer = sorted((self.mel.shape[1], other.mel.shape[1]))
        settings = (bool(self.committed), self.vocabulary) == (bool(other.committed), other.vocabulary)
        return settings and longer <= 1.25 * shorter


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoder made of windows, each as long as the longest."""

    view: ctranslate2.StorageView
    frames: tuple[int, ...]  # of each window's spectrogram


@dataclass(frozen=True, slots=True)
class _Decoded:
    tokens: list[int]  # the committed ones included
    no_speech: float  # probability that nobody spoke


class Model:
    """One model's weights. May be used from several threads."""

    def __init__(self, folder: Path, compute_type: str, device: str, threads: int) -> None:
        self.tokens = Tokens(folder / "tokenizer.json")
        self.whisper = _load(folder, compute_type, device, threads)
        self.is_multilingual = bool(self.whisper.is_multilingual)
        self.bands = int(self.whisper.n_mels)

    def speaks(self, language: str) -> bool:
        return self.tokens.is_language(language) if self.is_multilingual else language == "en"

    def encode(self, mels: Sequence[Float32]) -> Encoded:
        """Shorter windows are filled up with their own silence."""
        frames = tuple(mel.shape[1] for mel in mels)
        longest = max(frames)
        padded = [np.pad(mel, ((0, 0), (0, longest - mel.shape[1])), constant_values=mel.min()) for mel in mels]
        return Encoded(self.whisper.encode(ctranslate2.StorageView.from_array(np.stack(padded))), frames)

    def detect(self, encoded: Encoded, seconds: Sequence[float]) -> list[Evidence]:
        """Of the language of each window, so long."""
        return languages.detect(self.whisper, encoded.view, seconds)

    def words(
        self, encoded: Encoded, windows: Sequence[Window], beam_size: int, watch: Stopwatch
    ) -> list[tuple[HypothesisWord, ...]]:
        """A guess for each window, with times in it. It goes on from what was committed."""
        starts = [self._start(window) for window in windows]
        decoded = self._decode(encoded, starts, windows, beam_size)
        watch.lap("decoder")
        aligned = self._align(encoded, starts, [each.tokens for each in decoded])
        watch.lap("align")
        guesses = []
        for window, words, each in zip(windows, aligned, decoded, strict=True):
            guess = believable(words, window.seconds, each.no_speech, window.committed)
            if hotwords.is_doubtful(guess, window.vocabulary, window.committed):
                alone = encoded if len(windows) == 1 else self.encode([window.mel])
                (free,) = self.words(alone, [replace(window, vocabulary=())], beam_size, watch)
                guess = guess if hotwords.is_borne_out(guess, free, window.vocabulary) else free
            guesses.append(guess)
        return guesses

    def _start(self, window: Window) -> list[int]:
        return self.tokens.start_sequence(window.language if self.is_multilingual else None, window.task)

    def _decode(
        self, encoded: Encoded, starts: Sequence[Sequence[int]], windows: Sequence[Window], beam_size: int
    ) -> list[_Decoded]:
        bias = hotwords.prompt(self.tokens, windows[0].vocabulary)
        committed = [self.tokens.encode(window.committed) for window in windows]
        prompts = [self.tokens.prompt(start, text, bias) for start, text in zip(starts, committed, strict=True)]
        rooms = [_room(window, len(text)) for window, text in zip(windows, committed, strict=True)]
        most = max(len(text) + room for text, room in zip(committed, rooms, strict=True))
        before = len(prompts[0]) - len(committed[0])
        results = self.whisper.generate(
            encoded.view,
            prompts,
            beam_size=beam_size,
            # of which CTranslate2 writes half at most, and no more than the prompt leaves
            max_length=min(LONGEST_TEXT, most + max(most, before)),
            return_no_speech_prob=not committed[0],  # what was committed was spoken
            suppress_blank=not committed[0],
        )
        return [self._decoded(*each) for each in zip(results, committed, rooms, strict=True)]

    def _decoded(
        self, result: ctranslate2.models.WhisperGenerationResult, committed: Sequence[int], room: int
    ) -> _Decoded:
        tokens = [token for token in result.sequences_ids[0] if token < self.tokens.end]
        if tokens[: len(committed)] == list(committed):  # CTranslate2 repeats what was forced
            tokens = tokens[len(committed) :]
        return _Decoded([*committed, *without_loop(tokens[:room])], 0.0 if committed else result.no_speech_prob)

    def _align(
        self, encoded: Encoded, starts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]
    ) -> list[list[HypothesisWord]]:
        """Words with their times: where the attention of the alignment heads jumps on to the next token."""
        found: list[list[HypothesisWord]] = [[] for _ in texts]
        if not any(texts):
            return found
        for start in {tuple(start): start for start in starts}.values():  # one for all of them, as a rule
            results = self.whisper.align(
                encoded.view, list(start), [list(text) for text in texts], list(encoded.frames)
            )
            for number, result in enumerate(results):
                if starts[number] == start:
                    found[number] = self._timed(texts[number], result, encoded.frames[number] / FRAMES_PER_S)
        return found

    def _timed(
        self, tokens: Sequence[int], result: ctranslate2.models.WhisperAlignmentResult, end_s: float
    ) -> list[HypothesisWord]:
        jumps: dict[int, float] = {}
        for token, frame in result.alignments:
            jumps.setdefault(token, frame * ENCODER_FRAME_S)
        return [_word(span, jumps, result.text_token_probs, end_s) for span in self.tokens.words(tokens)]


def _room(window: Window, committed: int) -> int:
    """Tokens that may follow so many committed ones."""
    most = min(MAX_TOKENS, int(window.seconds * tokens_per_s(window.language)) + SPARE_TOKENS)
    return max(SPARE_TOKENS, most - committed)


def _word(span: TokenSpan, jumps: dict[int, float], probabilities: Sequence[float], end_s: float) -> HypothesisWord:
    start_s = jumps.get(span.start, end_s)
    stop_s = jumps.get(span.stop, end_s)
    chances = probabilities[span.start : span.stop]
    confidence = float(np.exp(np.mean(np.log(np.maximum(chances, 1e-6))))) if len(chances) else 0.0
    return HypothesisWord(span.text, start_s, max(start_s, stop_s), min(1.0, confidence))


def _load(folder: Path, compute_type: str, device: str, threads: int) -> ctranslate2.models.Whisper:
    try:
        return ctranslate2.models.Whisper(
            str(folder), device=device, compute_type=compute_type, inter_threads=threads, intra_threads=1
        )
    except (RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"the Whisper model in {folder} does not load as {compute_type} on {device}: {error}; "
            'try `streamd models verify`, or engines.whisper.compute_type = "int8"'
        ) from error
