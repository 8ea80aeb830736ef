"""Which engines a configuration asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamd.core.route import Role, Rules
from streamd.errors import ConfigError, UnavailableError
from streamd.settings import (
    Engines,
    Gemma,
    Models,
    Pipeline,
    RecogniseStage,
    ReviseStage,
    RouteStage,
    Scripted,
    Settings,
    Whisper,
)
from streamd.specs import MOST_THREADS, SECOND_NICENESS, hearing, rules, second_spec
from tests.gemma_data import MODEL


def test_the_scripted_engine_needs_no_weights(tmp_path: Path) -> None:
    engines = Engines(scripted=Scripted(script=tmp_path / "script.toml"))
    wanted = hearing(Settings(engines=engines, pipeline=Pipeline(recognise=RecogniseStage(engine="scripted"))))
    spec = wanted.specs[Role.LONG]
    assert (list(wanted.specs), wanted.told, wanted.wish) == ([Role.LONG], "scripted", None)
    assert (spec.kind, spec.options) == ("scripted", {"script": str(tmp_path / "script.toml")})
    assert 1 <= spec.calls == spec.threads == wanted.threads <= MOST_THREADS


def test_whisper_gets_its_folder_and_threads(tiny_en: Path) -> None:
    wanted = hearing(Settings(engines=Engines(whisper=Whisper(model=str(tiny_en), threads=3, beam_size=2, batch=5))))
    assert list(wanted.specs) == [Role.LONG]
    assert wanted.told.startswith(f"whisper {tiny_en}")
    spec = wanted.specs[Role.LONG]
    assert (spec.kind, spec.threads, spec.calls) == ("whisper", 3, 18)
    assert spec.options == {
        "model_path": str(tiny_en),
        "compute_type": "int8",
        "device": "cpu",
        "beam_size": 2,
        "partial_beam_size": 3,
        "batch": 5,
        "threads": 3,
        "task": "transcribe",
        "target_language": "en",
        "languages": (),
    }


def test_whisper_is_told_what_will_be_asked_of_it(tiny_en: Path) -> None:
    stage = RecogniseStage(language="de", languages=("fr",), task="translate")
    whisper = Engines(whisper=Whisper(model=str(tiny_en)))
    spec = hearing(Settings(engines=whisper, pipeline=Pipeline(recognise=stage))).specs[Role.LONG]
    assert (spec.options["task"], spec.options["languages"]) == ("translate", ("fr", "de"))


def both(tmp_path: Path, *, gemma: bool = True, whisper: Path | None = None, **recognise: Any) -> Settings:
    """Gemma, Whisper or both are installed."""
    engines = Engines(
        gemma=Gemma(model=str(MODEL if gemma else tmp_path / "no-gemma"), provider="cpu", threads=3),
        whisper=Whisper(model=str(whisper or tmp_path / "no-whisper")),
    )
    return Settings(engines=engines, pipeline=Pipeline(recognise=RecogniseStage(**recognise)))


def test_gemma_gets_its_folder_and_options(tmp_path: Path) -> None:
    wanted = hearing(both(tmp_path, engine="gemma"))
    spec = wanted.specs[Role.SHORT]
    assert (list(wanted.specs), spec.kind, wanted.models) == ([Role.SHORT], "gemma", (str(MODEL),))
    assert spec.options == {
        "model_path": str(MODEL),
        "dtype": "auto",
        "provider": "cpu",
        "threads": 3,
        "frames_per_call": 0,
        "carry_over": True,
        "piece_s": 8.0,
        "tool_margin": 0.0,
    }


@pytest.mark.parametrize("engine", ["auto", "gemma"])
def test_whisper_helps_gemma_out_where_it_is_installed(engine: str, tiny_en: Path, tmp_path: Path) -> None:
    wanted = hearing(both(tmp_path, whisper=tiny_en, engine=engine))
    assert {role: spec.kind for role, spec in wanted.specs.items()} == {Role.SHORT: "gemma", Role.LONG: "whisper"}
    assert wanted.told == f"{MODEL} and whisper {tiny_en}"
    assert wanted.models == (str(MODEL), str(tiny_en))
    assert wanted.wish is (Role.SHORT if engine == "gemma" else None)
    alone = hearing(both(tmp_path, engine=engine))
    assert list(alone.specs) == [Role.SHORT]
    assert alone.told == f"{MODEL} (whisper {tmp_path / 'no-whisper'} is not installed)"


def test_without_gemma_whisper_hears_unless_gemma_is_asked_for(tiny_en: Path, tmp_path: Path) -> None:
    wanted = hearing(both(tmp_path, gemma=False, whisper=tiny_en))
    assert (list(wanted.specs), wanted.models) == ([Role.LONG], (str(tiny_en),))
    assert wanted.told.startswith(f"whisper {tiny_en} (Gemma can't be used: ")
    assert str(tmp_path / "no-gemma") in wanted.without
    unset = Settings(engines=Engines(whisper=Whisper(model=str(tiny_en))), models=Models(directory=tmp_path))
    nobody_asked = hearing(unset)
    assert nobody_asked.told == f"whisper {tiny_en} (gemma-4-E4B-it-q4 is not installed)"
    assert nobody_asked.without == ""
    (tmp_path / "gemma-4-E4B-it-q4").mkdir()  # somebody has put it there
    assert "is missing" in hearing(unset).without
    with pytest.raises(UnavailableError, match="no-gemma"):
        hearing(both(tmp_path, gemma=False, whisper=tiny_en, engine="gemma"))


def test_whisper_is_no_help_with_a_translation_that_it_can_t_make(tiny_en: Path, tmp_path: Path) -> None:
    wanted = hearing(both(tmp_path, whisper=tiny_en, task="translate", target_language="de"))
    assert (list(wanted.specs), wanted.told) == ([Role.SHORT], str(MODEL))


def test_where_whisper_is_wanted_gemma_is_not_even_looked_for(tiny_en: Path, tmp_path: Path) -> None:
    wanted = hearing(both(tmp_path, whisper=tiny_en, engine="whisper"))
    assert (list(wanted.specs), wanted.told) == ([Role.LONG], f"whisper {tiny_en}")


def test_a_model_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="none"):
        hearing(Settings(engines=Engines(whisper=Whisper(model=str(tmp_path / "none")))))


@pytest.mark.parametrize("engine", ["auto", "gemma", "whisper"])
def test_weights_of_the_other_engine_are_told_apart_with_the_way_to_use_them(
    tiny_en: Path, tmp_path: Path, engine: Any
) -> None:
    recognise = Pipeline(recognise=RecogniseStage(engine=engine))
    for name in (str(MODEL), "gemma-4-E4B-it-q4"):
        gemma = Engines(whisper=Whisper(model=name), gemma=Gemma(model=str(MODEL)))
        with pytest.raises(ConfigError, match=f"engines.whisper.model = {name}: .* set engines.gemma.model to them"):
            hearing(Settings(engines=gemma, pipeline=recognise))
    if engine != "whisper":
        for name in (str(tiny_en), "tiny.en"):
            whisper = Engines(whisper=Whisper(model=str(tiny_en)), gemma=Gemma(model=name))
            with pytest.raises(ConfigError, match=f"engines.gemma.model = {name}: .* set engines.whisper.model to"):
                hearing(Settings(engines=whisper, pipeline=recognise))
        (tmp_path / "model.safetensors").touch()
        whisper = Engines(whisper=Whisper(model=str(tiny_en)), gemma=Gemma(model=str(tmp_path)))
        with pytest.raises(ConfigError, match="this is a checkpoint of transformers: `streamd models export`"):
            hearing(Settings(engines=whisper, pipeline=recognise))


def test_the_second_pass_takes_weights_of_whisper_s_only() -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.revise\.model = .*: these are Gemma's graphs"):
        second_spec(Settings(pipeline=Pipeline(revise=ReviseStage(model=str(MODEL)))))


def test_an_unknown_model_is_told_with_the_setting_that_asked_for_it() -> None:
    with pytest.raises(UnavailableError, match=r"the model 'bas' .*; set pipeline\.revise\.model to one of these"):
        second_spec(Settings(pipeline=Pipeline(revise=ReviseStage(model="bas"))))


def test_the_rules_are_those_of_the_pipeline() -> None:
    assert rules(RouteStage()) == Rules()
    assert rules(RouteStage(speech_s=20, quick=0.1)) == Rules(speech_s=20, quick=0.1)


def test_the_second_pass_has_a_model_of_its_own(tiny_en: Path, base: Path) -> None:
    whisper = Engines(whisper=Whisper(model=str(tiny_en)))
    stage = ReviseStage(model=str(base), threads=2, beam_size=3)
    spec = second_spec(Settings(engines=whisper, pipeline=Pipeline(revise=stage)))
    assert spec is not None
    assert (spec.kind, spec.threads, spec.niceness) == ("whisper", 2, SECOND_NICENESS)
    assert (spec.options["model_path"], spec.options["beam_size"]) == (str(base), 3)
    assert second_spec(Settings()) is None
