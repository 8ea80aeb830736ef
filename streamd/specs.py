"""Which engines a configuration asks for, and with what their workers build them. Looks for weights: it blocks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from streamd import models
from streamd.core.route import Role, Rules
from streamd.engines.base import EngineSpec
from streamd.errors import ConfigError, UnavailableError
from streamd.settings import Gemma, RecogniseStage, RouteStage, Settings

ENGLISH = "en"  # what Whisper translates into
SECOND_NICENESS = 10  # the second pass takes what the first one leaves
MOST_THREADS = 4  # utterances do not divide further


_MIXED_UP: Mapping[models.Kind, str] = {
    "gemma": "these are Gemma's graphs, no weights of Whisper's: set engines.gemma.model to them, and "
    'pipeline.recognise.engine to "auto" or "gemma"',
    "whisper": "these are weights of Whisper's, no graphs of Gemma's: set engines.whisper.model to them",
    "checkpoint": "this is a checkpoint of transformers: `streamd models export` makes graphs of a Gemma 4's",
}
"""Weights that an engine does not take → how they are used."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """The engines that hear, by what they are there for."""

    specs: Mapping[Role, EngineSpec]
    told: str  # which they are, for the user
    models: tuple[str, ...] = ()  # names or folders of their weights
    wish: Role | None = None
    without: str = ""  # why Gemma does not hear, though there is one that was meant to

    @property
    def threads(self) -> int:
        """Calls that are served at a time."""
        return max(spec.threads for spec in self.specs.values())


def hearing(settings: Settings) -> Hearing:
    """Who hears. Raises UnavailableError if a model isn't there without which nobody can."""
    match settings.pipeline.recognise.engine:
        case "scripted":
            return Hearing({Role.LONG: _scripted(settings)}, "scripted")
        case "whisper":
            return _whisper_alone(settings)
        case "gemma":
            return replace(_both(settings, _gemma(settings)), wish=Role.SHORT)
        case "auto":
            return _best(settings)


def _best(settings: Settings) -> Hearing:
    """Gemma and Whisper where both are installed, otherwise the one that is."""
    try:
        gemma = _gemma(settings)
    except UnavailableError as error:
        alone = _whisper_alone(settings)
        if not is_gemma_wanted(settings):
            return replace(alone, told=f"{alone.told} ({settings.engines.gemma.model} is not installed)")
        return replace(alone, told=f"{alone.told} (Gemma can't be used: {error})", without=str(error))
    return _both(settings, gemma)


def is_gemma_wanted(settings: Settings) -> bool:
    """Has somebody put Gemma's weights in place, or set where they are? Captions can do without."""
    name = settings.engines.gemma.model
    return name != Gemma().model or (settings.models.directory / name).exists()


def _whisper_alone(settings: Settings) -> Hearing:
    model = settings.engines.whisper.model
    return Hearing({Role.LONG: _whisper(settings)}, f"whisper {model}", (model,))


def _both(settings: Settings, gemma: EngineSpec) -> Hearing:
    """Gemma, and Whisper where that is installed and can do what is asked."""
    model = settings.engines.gemma.model
    alone = Hearing({Role.SHORT: gemma}, model, (model,))
    if settings.pipeline.recognise.task == "translate" and settings.pipeline.recognise.target_language != ENGLISH:
        return alone
    try:
        other = _whisper_alone(settings)
    except UnavailableError:
        return replace(alone, told=f"{model} (whisper {settings.engines.whisper.model} is not installed)")
    return Hearing({**alone.specs, **other.specs}, f"{model} and {other.told}", alone.models + other.models)


def second_spec(settings: Settings) -> EngineSpec | None:
    """What the worker of the second pass builds; None where there is none. Raises as hearing."""
    stage, engines = settings.pipeline.revise, settings.engines
    if not stage.model:
        return None
    options = engines.whisper.model_dump(include={"compute_type", "device"}) | {
        "model_path": str(_folder("pipeline.revise.model", stage.model, "whisper", settings)),
        "threads": stage.threads,
        "beam_size": stage.beam_size,
    }
    return EngineSpec("whisper", options | _asked(settings.pipeline.recognise), stage.threads, niceness=SECOND_NICENESS)


def ear_spec(settings: Settings) -> EngineSpec | None:
    """What the worker builds that compares sentences with the sound; None: commands go by the captions' text."""
    by, engine = settings.pipeline.commands.by, settings.pipeline.recognise.engine
    if by == "text" or (by == "auto" and engine not in ("auto", "whisper")):
        return None
    return replace(_whisper(settings), threads=1, batch=1)


def rules(stage: RouteStage) -> Rules:
    """When another engine takes over."""
    return Rules(**stage.model_dump())


def _threads(settings: Settings) -> int:
    return settings.engines.whisper.threads or min(MOST_THREADS, os.cpu_count() or 1)


def _scripted(settings: Settings) -> EngineSpec:
    options = settings.engines.scripted.model_dump(mode="json", exclude_none=True)
    return EngineSpec("scripted", options, _threads(settings))


def _gemma(settings: Settings) -> EngineSpec:
    """One call at a time: a call has all the threads that there are."""
    gemma = settings.engines.gemma
    folder = _folder("engines.gemma.model", gemma.model, "gemma", settings)
    return EngineSpec("gemma", gemma.model_dump(exclude={"model"}) | {"model_path": str(folder)})


def _whisper(settings: Settings) -> EngineSpec:
    whisper, threads = settings.engines.whisper, _threads(settings)
    options = whisper.model_dump(include={"compute_type", "device", "beam_size", "partial_beam_size", "batch"}) | {
        "model_path": str(_folder("engines.whisper.model", whisper.model, "whisper", settings)),
        "threads": threads,
    }
    return EngineSpec("whisper", options | _asked(settings.pipeline.recognise), threads, whisper.batch)


def _folder(key: str, name: str, wanted: models.Kind, settings: Settings) -> Path:
    """Where the weights are that `key` names. Raises ConfigError if they are another engine's, and as models.locate."""
    kind = models.kind(name, settings.models)
    if kind is not None and kind != wanted:
        raise ConfigError(f"{key} = {name}: {_MIXED_UP[kind]}")
    return models.locate(name, settings.models, key)


def _asked(recognise: RecogniseStage) -> dict[str, object]:
    """What a model must be able to do."""
    fixed = () if recognise.language == "auto" else (recognise.language,)
    return {
        "task": recognise.task,
        "target_language": recognise.target_language,
        "languages": (*recognise.languages, *fixed),
    }
