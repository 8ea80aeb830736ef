"""Speech is told from silence and from noise, cheaply."""

from __future__ import annotations

import numpy as np

from streamd.core.audio import FRAME_BYTES, Frame, Framer, Pcm
from streamd.vad import VoiceActivity
from tests.speech import recording


def probabilities(pcm: Pcm, vad: VoiceActivity | None = None) -> list[float]:
    vad = vad or VoiceActivity()
    return [vad.probability(frame) for frame in Framer().feed(pcm.tobytes())]


def test_speech_is_speech() -> None:
    heard = probabilities(recording("jfk").pcm)
    assert max(heard) > 0.9
    assert np.mean(np.array(heard) > 0.5) > 0.5


def test_digital_silence_is_none() -> None:
    assert set(probabilities(np.zeros(16_000 * 3, np.int16))) == {0.0}


def test_noise_is_not_speech() -> None:
    noise = np.random.default_rng(1).normal(0, 1_000, 16_000 * 5).astype(np.int16)
    assert np.mean(np.array(probabilities(noise)) > 0.5) < 0.02


def test_speech_after_silence_is_noticed_as_soon_as_speech_alone() -> None:
    speech = recording("goforward").pcm
    alone = next(n for n, p in enumerate(probabilities(speech)) if p > 0.5)
    silence_frames = 100
    after = probabilities(np.concatenate([np.zeros(640 * silence_frames, np.int16), speech]))
    assert abs(next(n for n, p in enumerate(after) if p > 0.5) - silence_frames - alone) <= 1


def test_a_reset_forgets() -> None:
    vad = VoiceActivity()
    first = probabilities(recording("goforward").pcm, vad)
    vad.reset()
    assert probabilities(recording("goforward").pcm, vad) == first
    vad.reset()
    assert vad.probability(Frame(0, bytes(FRAME_BYTES))) == 0.0
