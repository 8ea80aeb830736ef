"""One sound: which of a grammar's sentences it is, and what it would be without the grammar."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import numpy as np

from streamd.core.commands.hearing import LONGEST_S, Choices, Comparison
from streamd.engines.stopwatch import Stopwatch
from streamd.engines.whisper.decoder import Decoder
from streamd.engines.whisper.languages import tokens_per_s
from streamd.engines.whisper.mel import LogMel
from streamd.engines.whisper.model import LONGEST_TEXT, SPARE_TOKENS
from streamd.engines.whisper.search import Scorer, Speller
from streamd.engines.whisper.text import Tokens

KEPT = 4  # grammars whose spelling is kept
HOPELESS = 16.0  # nats: a sentence that is so far behind what is heard freely was not said
PADDING_S = 2.0
BEAM = 5
MOST_PRIMER_TOKENS = 120
_ECHO = re.compile(r"(.{8,}?)(?: \1)+")


class Comparer:
    """Compares with one model's weights. Sounds may be compared from different threads."""

    def __init__(self, folder: Path, model: ctranslate2.models.Whisper, tokens: Tokens, name: str) -> None:
        self._folder = folder
        self._model = model
        self._tokens = tokens
        self._name = name
        self._lock = threading.Lock()
        self._decoder: Decoder | None = None
        self._spellers: OrderedDict[str, Speller] = OrderedDict()

    def compare(self, mel: LogMel, choices: Choices) -> Comparison:
        """Raises ValueError if the sound is longer than LONGEST_S."""
        if mel.seconds > LONGEST_S:
            raise ValueError(f"{mel.seconds:.1f} s of sound are too long for a command: {LONGEST_S:g} s at most")
        decoder, speller = self._prepared(choices)
        watch = Stopwatch()
        window = ctranslate2.StorageView.from_array(mel.window(PADDING_S)[np.newaxis])
        encoded = self._model.encode(window)
        watch.lap("encoder")
        start = self._tokens.start_sequence(choices.language if self._model.is_multilingual else None)
        primer = self._tokens.encode(choices.primer)[:MOST_PRIMER_TOKENS]
        prompts = [self._tokens.prompt(start, (), bias) for bias in ((), primer)]
        room = int(mel.seconds * tokens_per_s(choices.language)) + SPARE_TOKENS
        texts, no_speech = self._free(encoded, prompts, room)
        watch.lap("decoder")
        heard = decoder.hear(np.array(encoded)[0])
        scorer = Scorer(decoder, self._tokens, heard, prompts)
        free = sorted(scorer.score(texts), key=lambda reading: -reading.log_probability)
        watch.lap("score")
        sentences = scorer.search(speller, free[0].log_probability - HOPELESS)
        watch.lap("search")
        return Comparison(tuple(sentences), tuple(free), no_speech, mel.seconds, self._name, watch.ms)

    def _prepared(self, choices: Choices) -> tuple[Decoder, Speller]:
        """The decoder's weights are read when they are first needed."""
        with self._lock:
            if self._decoder is None:
                self._decoder = Decoder(self._folder)
            speller = self._spellers.pop(choices.name, None) or Speller(choices.lattice, self._tokens)
            self._spellers[choices.name] = speller
            while len(self._spellers) > KEPT:
                self._spellers.popitem(last=False)
            return self._decoder, speller

    def _free(
        self, encoded: ctranslate2.StorageView, prompts: Sequence[Sequence[int]], room: int
    ) -> tuple[list[str], float]:
        """What the model writes behind each prompt, and how probable it thinks that nobody spoke."""
        texts: dict[str, None] = {}
        no_speech = 0.0
        for prompt in reversed(prompts):  # the last one is the bare one: the primer hides that nobody spoke
            result = self._model.generate(
                encoded,
                [list(prompt)],
                beam_size=BEAM,
                max_length=min(LONGEST_TEXT, len(prompt) + room),
                return_no_speech_prob=True,
            )[0]
            no_speech = result.no_speech_prob
            text = self._tokens.decode([token for token in result.sequences_ids[0] if token < self._tokens.end])
            texts[_once(text)] = None
        return list(texts), no_speech


def _once(text: str) -> str:
    """What Whisper says twice in a row, in noise, was said once."""
    echo = _ECHO.fullmatch(text.strip())
    return f" {echo[1]}" if echo else text
