"""Sound that tempts a recogniser to invent words or to lose some: half an hour of it, without a pause, fast or slow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from streamd.core.audio import SAMPLE_RATE, Pcm
from streamd.core.events import Ended, Final
from tests.e2e.clients import reading
from tests.e2e.daemon import WHOLE, Daemon, streamd
from tests.sound_files import write_media
from tests.speech import MOST_ERRORS, recording, word_error_rate

pytestmark = pytest.mark.model

HALF_AN_HOUR_S = 1_800
FIVE_MINUTES_S = 300
VOICES = 16  # that talk at once in babble: nobody can be understood
QUIET = 300  # of 32,768: less than this, for longer than a consonant, is a pause

Sound = NDArray[np.float64]


def silence(seconds: int) -> Sound:
    """The noise of a microphone's amplifier, with a hum of the mains."""
    random = np.random.default_rng(1)
    at_s = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    noise = random.normal(0, 4, len(at_s))
    return np.asarray(noise + 6 * np.sin(2 * np.pi * 50 * at_s), np.float64)


def music(seconds: int) -> Sound:
    """Chords of plucked strings over a bass and a beat, a chord of its own for each half second."""
    random = np.random.default_rng(2)
    at_s = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    pluck, beat = np.exp(-4 * at_s), np.exp(-60 * at_s)
    beats = []
    for root in random.integers(0, 12, seconds * 2):
        chord = sum(_string(220 * 2 ** ((root + step) / 12), at_s) for step in (0, 4, 7, 12))
        bass = np.sin(2 * np.pi * 55 * 2 ** (root / 12) * at_s)
        beats.append(1_500 * pluck * chord + 2_500 * bass + 4_000 * beat * random.normal(0, 1, len(at_s)))
    return np.concatenate(beats)


def _string(hz: float, at_s: Sound) -> Sound:
    overtones = np.arange(1, 9)[:, None]
    return np.asarray((np.sin(2 * np.pi * hz * overtones * at_s) / overtones).sum(axis=0), np.float64)


def babble(seconds: int) -> Sound:
    """Many people talk at once, each somewhere else in what there is to say."""
    random = np.random.default_rng(3)
    speech = without_pauses().astype(np.float64)
    wanted = seconds * SAMPLE_RATE
    voices = np.zeros(wanted)
    for start in random.integers(len(speech), size=VOICES):
        voices += np.resize(np.roll(speech, start), wanted)
    return np.asarray(voices / VOICES**0.5, np.float64)


def without_pauses(names: tuple[str, ...] = ("austen_0870", "austen_0890")) -> Pcm:
    """Recordings one after the other, without the quiet in and between them."""
    pcm = np.concatenate([recording(name).pcm for name in names])
    blocks = pcm[: len(pcm) // 320 * 320].reshape(-1, 320)
    loud = np.abs(blocks).max(axis=1) >= QUIET
    near = np.convolve(loud, np.ones(5), "same") > 0  # 40 ms around it stay
    return np.asarray(blocks[near].reshape(-1))


def at_speed(pcm: Pcm, tempo: float) -> Pcm:
    """Spoken so many times as fast, at the same pitch."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=SAMPLE_RATE, format="s16", layout="mono", time_base=Fraction(1, SAMPLE_RATE))
    graph.link_nodes(source, graph.add("atempo", str(tempo)), graph.add("abuffersink")).configure()
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
    graph.push(frame)
    graph.push(None)
    blocks = []
    with contextlib.suppress(av.error.EOFError):
        while True:
            blocks.append(graph.pull().to_ndarray().reshape(-1))
    return np.concatenate(blocks)


async def heard(folder: Path, model: Path, pcm: Pcm, *arguments: str) -> list[Final]:
    """Finals of a daemon that hears it as quickly as it can."""
    path = write_media(folder / "sound.wav", "pcm_s16le", pcm, SAMPLE_RATE)
    with Daemon(folder, "--source", path, "--fast", *arguments, model=model) as daemon:
        daemon.start(ready=False)
        async with reading(daemon) as reader:
            await reader.until(lambda: reader.bodies(Ended))
    assert [ended.audio_ms for ended in reader.bodies(Ended)] == [len(pcm) * 1000 // SAMPLE_RATE]
    return reader.bodies(Final)


@pytest.mark.parametrize("sound", [silence, music, babble])
def test_half_an_hour_without_a_word_has_none(tmp_path: Path, tiny_en: Path, sound: Callable[[int], Sound]) -> None:
    pcm = sound(HALF_AN_HOUR_S).clip(-32_768, 32_767).astype(np.int16)
    path = write_media(tmp_path / "sound.wav", "pcm_s16le", pcm, SAMPLE_RATE)
    done = streamd(tmp_path, "transcribe", path, *WHOLE, model=tiny_en, patience_s=HALF_AN_HOUR_S)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


async def test_who_never_pauses_is_heard_whole(tmp_path: Path, tiny_en: Path) -> None:
    once = without_pauses()
    times = FIVE_MINUTES_S * SAMPLE_RATE // len(once) + 1
    finals = await heard(tmp_path, tiny_en, np.tile(once, times), *WHOLE)
    said = " ".join([recording("austen_0870").text, recording("austen_0890").text] * times)
    assert word_error_rate(said, " ".join(final.text for final in finals)) <= MOST_ERRORS
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(finals))


@pytest.mark.parametrize("tempo", [0.5, 1.5])
async def test_slow_and_fast_speech_are_heard(tmp_path: Path, tiny_en: Path, tempo: float) -> None:
    read = recording("austen_0890")
    finals = await heard(tmp_path, tiny_en, at_speed(read.pcm, tempo))
    assert word_error_rate(read.text, " ".join(final.text for final in finals)) <= MOST_ERRORS
