"""Recordings of commands, tried with a real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamd.commands.hear import recordings, sound, try_recordings
from streamd.core.audio import SAMPLE_RATE
from streamd.core.commands import lattice
from streamd.core.commands.decide import Verdict
from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar
from streamd.core.commands.hearing import LONGEST_S
from streamd.errors import UnavailableError, UsageError
from tests.sound_files import tone, write_media

DATA = Path(__file__).parent / "data"
ROBOT: dict[str, Any] = {
    "commands": {
        "go": {
            "name": "go",
            "sentences": {"en": ["(go|move) {way} {metres} (meter|meters)"]},
            "params": {
                "way": {"enum": ["forward", "backward"]},
                "metres": {"type": "integer", "minimum": 1, "maximum": 20},
            },
            "safety": {"risk": "low"},
        },
    }
}


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar(Pack.model_validate(ROBOT))


@pytest.mark.parametrize("weights", ["tiny_en", "base"])
def test_an_order_is_understood_and_other_speech_is_not(
    grammar: Grammar, weights: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(weights)
    order, speech = try_recordings(grammar, [DATA / "goforward.flac", DATA / "jfk.flac"], str(folder))
    assert order.decision is Verdict.ACCEPT
    assert (order.name, order.params) == ("go", {"way": "forward", "metres": 10})
    assert order.nearest == "go forward 10 meters"
    assert speech.decision is Verdict.REJECT
    assert order.scores["certainty"] > 0.98
    assert order.limits == ()
    assert (speech.scores, speech.limits) == ({}, ())
    assert "ask not what your country can do" in (speech.heard or "").lower()


def test_a_value_that_there_is_not_is_named_and_so_are_the_limits_that_decided(base: Path) -> None:
    go = ROBOT["commands"]["go"]
    there = {**go, "params": {**go["params"], "metres": {"enum": [1, 5, 20]}}}
    grammar = Grammar(Pack.model_validate({"commands": {"go": there}}))
    (order,) = try_recordings(grammar, [DATA / "goforward.flac"], str(base))
    assert order.decision is Verdict.REJECT
    assert ": “10” is none of the values of metres: " in order.reason
    assert [limit.split(" ")[0] for limit in order.limits] == ["certainty", "gap"]


def test_a_very_large_grammar_is_asked_about(grammar: Grammar, tiny_en: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the daemon does: the text counts."""
    monkeypatch.setattr(lattice, "MOST_LISTED", 1)
    order, speech = try_recordings(grammar, [DATA / "goforward.flac", DATA / "jfk.flac"], str(tiny_en))
    assert (order.decision, order.reason) == (Verdict.CONFIRM, "it was only read as text")
    assert (order.name, order.params) == ("go", {"way": "forward", "metres": 10})
    assert (order.input, order.scores) == (str(DATA / "goforward.flac"), {})
    assert order.heard is not None
    assert order.heard.startswith("Go forward")
    assert speech.decision is Verdict.REJECT


def test_what_is_too_long_is_rejected_without_being_heard(grammar: Grammar, tiny_en: Path, tmp_path: Path) -> None:
    long = write_media(tmp_path / "long.wav", "pcm_s16le", tone(LONGEST_S + 1, SAMPLE_RATE), SAMPLE_RATE)
    (told,) = try_recordings(grammar, [long], str(tiny_en))
    assert told.decision is Verdict.REJECT
    assert "too long" in told.reason


def test_a_model_that_does_not_know_the_language_says_so(tiny_en: Path) -> None:
    german = Grammar(Pack.model_validate({"commands": {"halt": {"name": "halt", "sentences": {"de": ["stopp"]}}}}))
    with pytest.raises(UnavailableError, match=r"does not know de.*base"):
        next(try_recordings(german, [DATA / "goforward.flac"], str(tiny_en)))


def test_folders_stand_for_the_recordings_in_them(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    names = ["b.wav", "deep/a.FLAC", "notes.txt"]
    for name in names:
        (tmp_path / name).touch()
    assert recordings([tmp_path, Path("x.mp3")]) == [tmp_path / "b.wav", tmp_path / "deep/a.FLAC", Path("x.mp3")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no recording in it"):
        recordings([tmp_path / "empty"])


def test_the_whole_sound_is_read(tmp_path: Path) -> None:
    file = write_media(tmp_path / "second.flac", "flac", tone(1.0, SAMPLE_RATE), SAMPLE_RATE)
    assert len(sound(file)) == SAMPLE_RATE
