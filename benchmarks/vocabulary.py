"""What names and jargon gain and cost: `python -m benchmarks.vocabulary [MODEL…]`.

Sentences with names that Whisper seldom spells right, and as many without, spoken by the voices of flite; and recorded
speech. Each is heard whole, also in babble made of the others, and with every name in the vocabulary. Printed for each
form of the prompt: names that were heard where they were said, names that were written where nobody said them, word
error rates of both kinds of sentences, and the time of a final. `unchecked` leaves out what is done against inventions.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean

import av
import numpy as np

from streamd.core.audio import Pcm
from streamd.core.words import bare
from streamd.engines.base import Context, HypothesisWord
from streamd.engines.whisper import build, hotwords
from streamd.engines.whisper.engine import WhisperEngine
from streamd.models import locate
from tests.needs import need
from tests.speech import recording, word_error_rate

NAMES = (
    *("Lasecki", "Okafor", "Kovacs", "Petrova", "Ibarra", "Moreau", "Zelenka", "Thackeray", "Marwick", "Hennessy"),
    *("Brandt", "Anselm", "Kubernetes", "Grafana", "Postgres", "Kestrel", "Dashwood", "Digium", "Siobhan", "Nguyen"),
)
WITH = (
    "Please welcome doctor {} to the stage.",
    "The next question goes to {}, who sits in the front row.",
    "We moved everything over to {} last month.",
    "I would like to thank {} for the coffee.",
    "According to {}, the numbers went down in March.",
)
WITHOUT = (
    "Please open the window before we begin.",
    "The next question is about the budget for next year.",
    "We moved everything to the new office last month.",
    "I would like some coffee and a piece of cake.",
    "According to the report, the numbers went down in March.",
    "Turn off the lights in the kitchen and lock the door.",
    "He walked along the river until the sun went down.",
    "Can you hear me at the back of the room?",
)
VOICES = ("slt", "rms", "awb")
RECORDED = {"austen_0870": "Dashwood", "austen_0890": "", "jfk": "", "goforward": ""}
NOISES_DB = (None, 10.0, 5.0)
BABBLERS = 4
FORMS = {
    "none": "",
    "terms": "{}",
    "sentence": "We are talking about {}.",
    "glossary": hotwords.FORM,
    "unchecked": hotwords.FORM,
}
HEAD = ("model", "babble", "prompt", "heard", "invented", "WER named", "WER others", "ms a final")


@dataclass(frozen=True, slots=True)
class Clip:
    """A sentence, and the name in it."""

    text: str
    name: str
    pcm: Pcm


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one clip."""

    clip: Clip
    text: str
    took_s: float

    @property
    def written(self) -> list[str]:
        words = [bare(word) for word in self.text.split()]
        return [name for name in NAMES if any(word.startswith(bare(name)) for word in words)]

    @property
    def is_heard(self) -> bool:
        return self.clip.name in self.written

    @property
    def invented(self) -> int:
        return sum(name != self.clip.name for name in self.written)

    @property
    def errors(self) -> float:
        return word_error_rate(self.clip.text, self.text)


@cache
def spoken(text: str, voice: str) -> Pcm:
    """16 kHz mono int16 of a sentence that flite reads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run([need("flite"), "-voice", voice, "-t", text, "-o", str(path)], check=True)
        with av.open(str(path)) as container:
            resampler = av.AudioResampler("s16", "mono", 16_000)
            frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            pcm: Pcm = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16)
            return pcm


def clips() -> list[Clip]:
    """Every name in two sentences, sentences without names, and recorded speech."""
    found = []
    for number, name in enumerate((*NAMES, *NAMES)):
        text = WITH[(number + number // len(NAMES)) % len(WITH)].format(name)
        found.append(Clip(text, name, spoken(text, VOICES[(number + number // len(NAMES)) % len(VOICES)])))
    for text in WITHOUT:
        found += [Clip(text, "", spoken(text, voice)) for voice in VOICES]
    return found + [Clip(recording(file).text, name, recording(file).pcm) for file, name in RECORDED.items()]


def in_babble(clip: Clip, others: list[Clip], ratio_db: float | None, seed: int) -> Pcm:
    """The clip beside other voices that are `ratio_db` quieter."""
    if ratio_db is None:
        return clip.pcm
    random = np.random.default_rng(seed)
    voices = [others[n].pcm for n in random.choice(len(others), BABBLERS)]
    babble = np.sum([np.resize(voice, len(clip.pcm)).astype(np.float64) for voice in voices], axis=0)
    gain = np.sqrt(np.mean(clip.pcm.astype(np.float64) ** 2) / np.mean(babble**2) / 10 ** (ratio_db / 10))
    noisy: Pcm = np.clip(clip.pcm + gain * babble, -32_768, 32_767).astype(np.int16)
    return noisy


@contextmanager
def prompted(form: str) -> Iterator[Context]:
    """The context for a form of the prompt, while the engine is made to use it."""
    usual: tuple[str, Callable[..., bool]] = hotwords.FORM, hotwords.is_doubtful
    hotwords.FORM = FORMS[form]
    if form == "unchecked":
        hotwords.is_doubtful = lambda *_: False
    try:
        yield Context(language="en", vocabulary=NAMES if FORMS[form] else ())
    finally:
        hotwords.FORM, hotwords.is_doubtful = usual


def hear(engine: WhisperEngine, clip: Clip, pcm: Pcm, context: Context) -> Outcome:
    began = time.perf_counter()
    words: tuple[HypothesisWord, ...] = engine.advance("clip", pcm, True, context, first=True).words
    return Outcome(clip, "".join(word.text for word in words), time.perf_counter() - began)


def row(outcomes: list[Outcome]) -> tuple[str, ...]:
    """The figures of one line."""
    named = [outcome for outcome in outcomes if outcome.clip.name]
    others = [outcome for outcome in outcomes if not outcome.clip.name]
    return (
        f"{sum(outcome.is_heard for outcome in named)}/{len(named)}",
        f"{sum(outcome.invented for outcome in outcomes)}",
        f"{100 * mean(outcome.errors for outcome in named):.1f} %",
        f"{100 * mean(outcome.errors for outcome in others):.1f} %",
        f"{1000 * mean(outcome.took_s for outcome in outcomes):.0f}",
    )


def show(*cells: str) -> None:
    print("".join(f"{cell:>12}" for cell in cells), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vocabulary", description=__doc__)
    parser.add_argument("models", nargs="*", default=["tiny.en", "base"])
    everything = clips()
    show(*HEAD)
    for model in parser.parse_args().models:
        engine = build({"model_path": str(locate(model))})
        for ratio_db in NOISES_DB:
            sounds = [in_babble(clip, everything, ratio_db, seed) for seed, clip in enumerate(everything)]
            for form in FORMS:
                with prompted(form) as context:
                    outcomes = [hear(engine, clip, pcm, context) for clip, pcm in zip(everything, sounds, strict=True)]
                show(model, "none" if ratio_db is None else f"{ratio_db:g} dB", form, *row(outcomes))


if __name__ == "__main__":
    main()
