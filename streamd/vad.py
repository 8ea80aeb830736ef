"""Is this frame speech? webrtcvad is the cheap gate, Silero the judge; one probability a frame.

Silero is recurrent: it must hear sound without holes. So the gate decides whether it listens at all: while nothing has
passed the gate for a second, Silero rests; when something passes, it first hears the sound just before.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import webrtcvad

from streamd.core.audio import FRAME_BYTES, SAMPLE_RATE, Frame
from streamd.silero import WINDOW, Silero

_HALF = FRAME_BYTES // 2  # 20 ms, what webrtcvad takes
_WINDOW_BYTES = 2 * WINDOW
_WARM_UP_FRAMES = 8  # 320 ms: ten of Silero's windows
_GATE_HOLD_FRAMES = 25  # 1 s


class VoiceActivity:
    """Stateful; one a session. `probability` takes about 0.15 ms while the gate is open."""

    def __init__(self, gate: int = 1) -> None:
        self._aggressiveness = gate
        self._gate = webrtcvad.Vad(gate)
        self._judge = Silero()
        self._recent: deque[bytes] = deque(maxlen=_WARM_UP_FRAMES)
        self._pending = bytearray()  # sound that does not fill a window yet
        self._open_frames = 0  # frames for which the gate stays open
        self._last = 0.0

    def probability(self, frame: Frame) -> float:
        """0 … 1 for one frame; call it for every frame in order."""
        was_open = self._open_frames > 0
        if self._passes(frame.pcm):
            self._open_frames = _GATE_HOLD_FRAMES
        elif was_open:
            self._open_frames -= 1
        if not self._open_frames:
            self._recent.append(frame.pcm)
            self._last = 0.0
            return 0.0
        if not was_open:
            self._wake()
        return self._judged(frame.pcm)

    def reset(self) -> None:
        """Forget everything: the next frame does not follow the last one."""
        self._gate = webrtcvad.Vad(self._aggressiveness)
        self._recent.clear()
        self._open_frames = 0
        self._last = 0.0

    def _passes(self, pcm: bytes) -> bool:
        return any(self._gate.is_speech(half, SAMPLE_RATE) for half in (pcm[:_HALF], pcm[_HALF:]))

    def _wake(self) -> None:
        self._judge.reset()
        self._pending.clear()
        for pcm in self._recent:
            self._judged(pcm)
        self._recent.clear()

    def _judged(self, pcm: bytes) -> float:
        """The highest probability of the windows that end in this frame; most frames end one, some two."""
        self._pending += pcm
        heard = []
        while len(self._pending) >= _WINDOW_BYTES:
            heard.append(self._judge.probability(np.frombuffer(bytes(self._pending[:_WINDOW_BYTES]), "<i2")))
            del self._pending[:_WINDOW_BYTES]
        self._last = max(heard, default=self._last)
        return self._last
