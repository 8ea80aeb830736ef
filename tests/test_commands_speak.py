"""A voice reads sentences, and the recogniser hears them: a round trip with real programs and a real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamd.commands import speak
from streamd.commands.speak import Voice, read_aloud, round_trip, voice
from streamd.commands.trial import Trial
from streamd.core.commands.decide import Verdict
from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar, Match
from streamd.errors import UnavailableError
from tests.needs import need

LIGHT = {
    "name": "light",
    "sentences": {"en": ["turn {on} the light in the kitchen"]},
    "params": {"on": {"enum": ["on", "off"]}},
    "safety": {"risk": "low"},
}
GRAMMAR = Grammar(Pack.model_validate({"commands": {"light": LIGHT}}))


@pytest.fixture
def _voice() -> None:
    need("espeak-ng", "flite")


@pytest.mark.model
@pytest.mark.usefixtures("_voice")
def test_sentences_are_read_and_heard() -> None:
    findings = list(round_trip(GRAMMAR, "tiny.en"))
    assert findings[-1].message.endswith(" of 2 spoken sentences were understood (en)")
    assert [finding.level for finding in findings] == ["warning"] * (len(findings) - 1) + ["note"]


@pytest.mark.model
@pytest.mark.usefixtures("_voice")
def test_what_is_no_order_is_none_when_it_is_spoken() -> None:
    text = "please do not turn on the light in the kitchen"
    ((said, tried),) = read_aloud(GRAMMAR, [text], "en", "tiny.en")
    assert said == text
    assert (tried.decision, tried.name) == ("reject", None)


def test_what_is_heard_as_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def misheard(
        _grammar: Grammar, texts: dict[str, Match], _language: str, _model: str
    ) -> Iterator[tuple[str, Trial]]:
        for text in texts:
            yield text, Trial("0.wav", Verdict.ACCEPT, "light", {"on": "on"}, "understood", None)

    monkeypatch.setattr(speak, "read_aloud", misheard)
    assert [finding.message for finding in round_trip(GRAMMAR, "tiny.en")] == [
        "“turn off the light in the kitchen” is light(on=off), and is heard as light(on=on) when it is spoken",
        "1 of 2 spoken sentences were understood (en)",
    ]


def test_a_missing_voice_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert voice("en") is None
    with pytest.raises(UnavailableError, match="no voice for en is installed"):
        next(read_aloud(GRAMMAR, ["light"], "en", "tiny.en"))


def test_a_voice_that_can_not_speak_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "flite"
    broken.write_text("#!/bin/sh\necho no such language >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(UnavailableError, match="can't read aloud in en: no such language"):
        Voice(str(broken), "en").read("light", tmp_path / "light.wav")
    broken.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(UnavailableError, match="exit code 3"):
        Voice(str(broken), "en").read("light", tmp_path / "light.wav")
