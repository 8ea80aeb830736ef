"""Which of some sentences a sound is, by a whole engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamd.core.audio import SAMPLE_RATE
from streamd.core.commands.hearing import LONGEST_S, Choices
from streamd.engines.whisper import build
from streamd.engines.whisper.compare import KEPT
from streamd.engines.whisper.engine import WhisperEngine
from tests.speech import recording
from tests.test_engines_whisper_search import STEPS, chain, plain

MOVES = Choices("moves", chain(*STEPS), "Go forward ten meters. Turn left two miles.", "en")


@pytest.fixture(scope="module", params=["tiny_en", "base"])
def engine(request: pytest.FixtureRequest) -> WhisperEngine:
    folder: Path = request.getfixturevalue(request.param)
    return build({"model_path": str(folder)})


def test_a_command_is_borne_out_as_well_as_what_is_heard_freely(engine: WhisperEngine) -> None:
    pcm = recording("goforward").pcm
    heard = engine.compare(pcm, MOVES)
    assert plain(heard.sentences[0].text) in ("go forward ten meters", "go forward 10 meters")
    assert heard.sentences[0].log_probability > heard.free[0].log_probability - 2
    assert heard.heard_s == len(pcm) / SAMPLE_RATE
    assert heard.engine == engine.name
    assert heard.timings_ms.keys() == {"encoder", "decoder", "search", "score"}


def test_in_other_speech_no_sentence_is_found(engine: WhisperEngine) -> None:
    heard = engine.compare(recording("jfk").pcm, MOVES)
    assert heard.sentences == ()
    assert "country" in heard.free[0].text


def test_what_is_too_long_for_a_command_is_refused(engine: WhisperEngine) -> None:
    with pytest.raises(ValueError, match="too long for a command"):
        engine.compare(np.zeros(int((LONGEST_S + 1) * SAMPLE_RATE), np.int16), MOVES)


def test_grammars_are_told_apart_by_their_names_and_only_the_last_are_kept(tiny_en: Path) -> None:
    engine = build({"model_path": str(tiny_en)})
    pcm = recording("goforward").pcm
    numbers = ("ten", "10", "then", "ten more", "tan")
    assert len(numbers) > KEPT
    for number in numbers:
        sentence = f"go forward {number} meters"
        heard = engine.compare(pcm, Choices(number, chain(*((word,) for word in sentence.split())), language="en"))
        assert {plain(reading.text) for reading in heard.sentences} == {sentence}
    again = engine.compare(pcm, Choices(numbers[0], chain(("go",), ("forward",)), language="en"))
    assert {plain(reading.text) for reading in again.sentences} == {"go forward"}  # it had been forgotten
