"""How well spoken commands are understood: `python -m benchmarks.commands FOLDER [--model NAME]`.

FOLDER holds recordings in `clips/` with `labels.json` (file → intent and slots), a grammar (`*.rhino.yaml`) and
`kitchen.flac`, a noise. Every recording is heard as it is and with the noise mixed in. It is right where the intent and
every slot are. `--other FOLDER` names sound in which nothing is ordered: whatever is done there is wrong.

Comparing takes most of the time; it is kept in `--kept FILE`, one JSON object a line, so that a run can be cut short
and gone on with, done in parts (`--part 1/2`) and judged again.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import yaml
from numpy.typing import NDArray

from streamd.commands.files import load
from streamd.commands.imports import convert
from streamd.core.audio import Pcm
from streamd.core.commands.decide import Decision, Verdict, decide
from streamd.core.commands.grammar import Grammar, Match
from streamd.core.commands.hearing import Comparison, Reading
from streamd.core.commands.lattice import choices
from streamd.core.commands.spoken import words
from streamd.core.commands.weigh import CALIBRATED, Weights, weigh
from streamd.engines.whisper import build
from streamd.models import locate

Sound = NDArray[np.float32]

LEVELS_DB = (None, 24, 18, 12, 6, 0)
PEAK_SAMPLES = 2_048
SEED = 1


@dataclass(frozen=True, slots=True)
class Clip:
    """A sound and what was said in it; nothing where `slots` is None."""

    name: str
    level_db: int | None
    slots: dict[str, str] | None
    pcm: Pcm

    @property
    def key(self) -> str:
        return f"{self.name}@{'clean' if self.level_db is None else self.level_db}"


@dataclass(frozen=True, slots=True)
class Heard:
    """A clip that has been compared."""

    key: str
    slots: dict[str, str] | None
    comparison: Comparison
    took_s: float


@lru_cache(maxsize=200)
def grammar(folder: Path, slot: str = "", lacks: str = "") -> Grammar:
    """The vendor's grammar as a pack, without one value of a slot."""
    (file,) = folder.glob("*.rhino.yaml")
    converted: dict[str, Any] = yaml.safe_load(yaml.safe_dump(convert("rhino", file.read_text(), file.name)))
    for command in converted["commands"].values():
        if slot:
            command["params"][slot]["enum"].remove(lacks)
    with tempfile.TemporaryDirectory() as pack:
        (Path(pack) / "imported.yaml").write_text(yaml.safe_dump(converted))
        return load([pack]).grammar()


def sound(file: Path) -> Sound:
    """A recording in −1 … 1."""
    resampler = av.AudioResampler("flt", "mono", 16_000)
    with av.open(file) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def mixed(speech: Sound, noise: Sound, level_db: int, seed: list[int]) -> Sound:
    """Speech in a stretch of the noise, as github.com/Picovoice/speech-to-intent-benchmark mixes them."""
    start = int(np.random.default_rng(seed).integers(0, len(noise) - len(speech)))
    stretch = noise[start : start + len(speech)]
    scale = np.sqrt(_peak(speech) / (_peak(stretch) * 10 ** (level_db / 10)))
    both = speech + scale * stretch
    return np.asarray(both / (2 * np.abs(both).max()), np.float32)


def _peak(x: Sound) -> float:
    frames = x[: len(x) // PEAK_SAMPLES * PEAK_SAMPLES].reshape(-1, PEAK_SAMPLES)
    return float(np.square(frames).sum(1).max())


def clips(folder: Path, levels: list[int | None]) -> Iterator[Clip]:
    """Every recording at every level."""
    labels = json.loads((folder / "labels.json").read_text())
    noise = sound(folder / "kitchen.flac")
    for level in levels:
        for number, (name, label) in enumerate(labels.items()):
            speech = sound(folder / "clips" / name)
            if level is not None:
                speech = mixed(speech, noise, level, [SEED, number, level + 1])
            yield Clip(name, level, label["slots"], _pcm(speech))


def others(folder: Path) -> Iterator[Clip]:
    """Sound without commands."""
    for file in sorted(folder.rglob("*.flac")):
        yield Clip(f"other/{file.name}", None, None, _pcm(sound(file)))


def _pcm(x: Sound) -> Pcm:
    return np.asarray(np.clip(x, -1, 1) * 32_767, np.int16)


def heard(todo: list[Clip], model: str, of: Grammar, kept: Path) -> None:
    """Compare the clips with the grammar; what each gives is added to `kept`."""
    engine = build({"model_path": str(locate(model))})
    (sentences,) = choices(of, ["en"])
    for clip in todo:
        started = time.perf_counter()
        comparison = engine.compare(clip.pcm, sentences)
        took_s = time.perf_counter() - started
        with kept.open("a") as file:
            file.write(json.dumps(asdict(Heard(clip.key, clip.slots, comparison, took_s))) + "\n")


def read(kept: Path) -> dict[str, Heard]:
    """What was compared before."""
    found: dict[str, Heard] = {}
    for line in kept.read_text().splitlines() if kept.exists() else ():
        data: dict[str, Any] = json.loads(line)
        compared = data["comparison"]
        for kind in ("sentences", "free"):
            compared[kind] = tuple(Reading(**reading) for reading in compared[kind])
        found[data["key"]] = Heard(**{**data, "comparison": Comparison(**compared)})
    return found


# --- what becomes of it ---------------------------------------------------------------------------------------------

Judge = Callable[[Comparison, Grammar], Decision]


def strict(comparison: Comparison, of: Grammar) -> Decision:
    """The grammar alone, on the best transcript."""
    text = comparison.free[0].text if comparison.free else ""
    found = of.match(text, "en")
    return decide(found, [text], "en")


def spotting(comparison: Comparison, of: Grammar) -> Decision:
    """Words of slots, wherever they stand in the best transcript."""
    said = f" {' '.join(words(comparison.free[0].text if comparison.free else '', 'en'))} "
    (command,) = of.pack.commands.values()
    params: dict[str, Any] = {}
    for name, schema in command.params.items():
        values = sorted(map(str, cast("list[str]", schema["enum"])), key=len, reverse=True)
        spoken = ((value, f" {' '.join(words(value, 'en'))} ") for value in values)
        if (found := next((value for value, text in spoken if text in said), None)) is not None:
            params[name] = found
    match = Match(command, params, said, "", "en")
    return Decision(Verdict.ACCEPT if params else Verdict.REJECT, "words were spotted", match)


def fixed(comparison: Comparison, of: Grammar) -> Decision:
    """Bare log-probabilities, fixed thresholds: 3 nats over the second meaning, 8 at most below what is free."""
    bare = [replace(reading, prior=0.0) for reading in comparison.sentences]
    free = [replace(reading, prior=0.0) for reading in comparison.free]
    signs = replace(comparison, sentences=tuple(bare), free=tuple(free))
    found = weigh(signs, of, "en", replace(CALIBRATED, askable=-1.0, askable_gap=math.inf))
    if found.scores is None or found.scores.margin < 3 or found.scores.gap > 8:
        return Decision(Verdict.REJECT, "not sure", None)
    return decide(found.found, [], "en")


def streamd(comparison: Comparison, of: Grammar, weights: Weights = CALIBRATED) -> Decision:
    """As `streamd commands try --audio` does it."""
    found = weigh(comparison, of, "en", weights)
    return decide(found.found, found.texts, "en", sure=found.sure)


JUDGES: dict[str, Judge] = {"strict": strict, "spotting": spotting, "fixed": fixed, "streamd": streamd}
OUTCOMES = ("right", "asked rightly", "asked wrongly", "rejected", "WRONG")


def outcome(decision: Decision, slots: dict[str, str] | None) -> str:
    """One of OUTCOMES. Where nothing was ordered, to reject is right, and is counted as rejected."""
    if decision.verdict is Verdict.REJECT or decision.match is None:
        return "rejected"
    right = slots is not None and dict(decision.match.params) == slots
    if decision.verdict is Verdict.CONFIRM:
        return "asked rightly" if right else "asked wrongly"
    return "right" if right else "WRONG"


def near(known: Iterable[Heard], folder: Path) -> Iterator[str]:
    """What would become of orders of what cannot be had: each slot's value is taken out of the grammar in turn.

    The sentences with it are left out of what was heard. A search without them might have found a few others.
    """
    found: Counter[tuple[str, str]] = Counter()
    for clip in known:
        for slot, value in (clip.slots or {}).items():
            decision = streamd(clip.comparison, grammar(folder, slot, value))
            found[clip.key.rpartition("@")[2], decision.verdict] += 1
            if decision.verdict is Verdict.ACCEPT and decision.match is not None:
                yield f"{clip.key}: “{decision.match.sentence}” though it was {value}"
    for level in sorted({level for level, _ in found}):
        counts = {verdict: found[level, verdict] for verdict in Verdict}
        yield f"{level}, orders of what is not in the grammar: {', '.join(f'{k} {n}' for k, n in counts.items())}"


def at_most(wrong: int, trials: int) -> float:
    """Upper end of the one-sided 95 % interval of a rate that was never or seldom seen (Clopper and Pearson 1934)."""
    low, high = 0.0, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        tail = sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(wrong + 1))
        low, high = (rate, high) if tail > 0.05 else (low, rate)
    return high


def report(known: Iterable[Heard], of: Grammar, judges: Mapping[str, Judge] = JUDGES) -> Iterator[str]:
    """A table: what became of the clips of each level, by each way to judge."""
    levels: dict[str, list[Heard]] = {}
    for clip in known:
        levels.setdefault("other" if clip.slots is None else clip.key.rpartition("@")[2], []).append(clip)
    yield f"| level | n | judged by | {' | '.join(OUTCOMES)} | wrong at most |"
    yield f"|{'---|' * (len(OUTCOMES) + 4)}"
    for level in sorted(levels, key=lambda level: {"clean": -99, "other": 99}.get(level) or -int(level)):
        for name, judge in judges.items():
            found = Counter(outcome(judge(clip.comparison, of), clip.slots) for clip in levels[level])
            count = len(levels[level])
            cells = " | ".join(str(found[kind]) for kind in OUTCOMES)
            yield f"| {level} | {count} | {name} | {cells} | {at_most(found['WRONG'], count):.1%} |"


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--levels", default="clean,24,18,12,6,0", help="dB, or clean")
    parser.add_argument("--other", type=Path, help="a folder of sound without commands")
    parser.add_argument("--kept", type=Path, default=Path("commands.jsonl"))
    parser.add_argument("--part", default="1/1", help="1/2: the first of two parts")
    parser.add_argument("--only-report", action="store_true", help="judge what was kept")
    parser.add_argument("--near", action="store_true", help="judge also orders of what is not in the grammar")
    arguments = parser.parse_args()
    of = grammar(arguments.folder)
    if not arguments.only_report:
        levels = [None if level == "clean" else int(level) for level in arguments.levels.split(",")]
        todo = [*clips(arguments.folder, levels), *(others(arguments.other) if arguments.other else ())]
        part, parts = map(int, arguments.part.split("/"))
        known = read(arguments.kept)
        heard([clip for clip in todo[part - 1 :: parts] if clip.key not in known], arguments.model, of, arguments.kept)
    known = read(arguments.kept)
    print("\n".join(report(known.values(), of)))
    if arguments.near:
        print("\n".join(near(known.values(), arguments.folder)))
    times = sorted(clip.took_s for clip in known.values())
    if times:
        print(f"\nseconds a recording: p50 {times[len(times) // 2]:.2f}, p95 {times[int(len(times) * 0.95)]:.2f}")


if __name__ == "__main__":
    main()
