"""Frames and their speech probabilities → utterances with their sound.

No sample lies in two utterances, and none is lost between an utterance's pre-roll and its end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from streamd.core.audio import FRAME_BYTES, FRAME_MS, Frame
from streamd.core.endpoint import Ended, Endpointer, Reason, Rules, Started

BRIDGED_FRAMES = 5
"""Missing sound up to this length (200 ms) becomes silence within the utterance; more ends the utterance."""

_SILENCE = bytes(FRAME_BYTES)


@dataclass(slots=True, eq=False)
class Utterance:
    """Sound that belongs together. It grows until `ended` says why it ended."""

    start_frame: int
    pcm: bytearray = field(default_factory=bytearray, repr=False)  # s16le, whole frames
    ended: Reason | None = None
    pause_frames: int = 0  # quiet ones at its end

    @property
    def end_frame(self) -> int:
        return self.start_frame + len(self.pcm) // FRAME_BYTES

    @property
    def pause_ms(self) -> int:
        return self.pause_frames * FRAME_MS

    @property
    def start_ms(self) -> int:
        return self.start_frame * FRAME_MS

    @property
    def end_ms(self) -> int:
        return self.end_frame * FRAME_MS


class Segmenter:
    """Feed every frame with its probability, in order; take the utterances that this opens."""

    def __init__(self, rules: Rules, first_frame: int = 0) -> None:
        self._endpointer = Endpointer(rules, first_frame)
        self._recent: deque[bytes] = deque(maxlen=rules.pre_roll + max(1, rules.min_speech))
        self._open: Utterance | None = None

    @property
    def open(self) -> Utterance | None:
        return self._open

    def protect(self, end_ms: int) -> None:
        """Words up to here on the session's timeline are shown for good: no split before."""
        self._endpointer.protect(-(-end_ms // FRAME_MS))

    def heard(self, words_end_ms: int, upto_ms: int) -> None:
        """The recogniser has heard the open utterance up to a time, and found its last word to end before another."""
        if self._open is not None:
            self._endpointer.heard(-(-words_end_ms // FRAME_MS), upto_ms // FRAME_MS)

    def feed(self, frame: Frame, probability: float) -> list[Utterance]:
        """Utterances that open with this frame. Those that end are marked so by `ended`."""
        opened = self._bridge(frame.index)
        return opened + self._push(frame.pcm, probability)

    def end(self, reason: Reason = "end") -> None:
        """Close what is open: the source is at its end, or sound is missing."""
        self._apply(self._endpointer.end(reason))
        self._recent.clear()

    def _bridge(self, index: int) -> list[Utterance]:
        missing = index - self._endpointer.next_frame
        if missing < 0:
            raise ValueError(f"frame {index} comes after frame {self._endpointer.next_frame - 1}")
        if missing > BRIDGED_FRAMES:
            self.end("gap")
            self._endpointer.skip_to(index)
            return []
        return [utterance for _ in range(missing) for utterance in self._push(_SILENCE, 0.0)]

    def _push(self, pcm: bytes, probability: float) -> list[Utterance]:
        self._recent.append(pcm)
        if self._open is not None:
            self._open.pcm += pcm
        utterance = self._open
        opened = self._apply(self._endpointer.feed(probability))
        if utterance is not None and utterance.ended != "split":
            utterance.pause_frames = self._endpointer.pause
        return opened

    def _apply(self, events: list[Started | Ended]) -> list[Utterance]:
        opened: list[Utterance] = []
        rest: bytes | None = None
        for event in events:
            if isinstance(event, Ended):
                rest = self._close(event.frame, event.reason)
            else:
                pcm = self._latest(event.frame) if rest is None else rest
                self._open = Utterance(event.frame, bytearray(pcm))
                opened.append(self._open)
        return opened

    def _latest(self, frame: int) -> bytes:
        """The sound from `frame` on."""
        frames = list(self._recent)
        return b"".join(frames[len(frames) - (self._endpointer.next_frame - frame) :])

    def _close(self, frame: int, reason: Reason) -> bytes:
        """End the open utterance before `frame`; what it held beyond belongs to the next one."""
        utterance = self._open
        assert utterance is not None, "the endpointer ends only what it started"
        keep = (frame - utterance.start_frame) * FRAME_BYTES
        rest = bytes(utterance.pcm[keep:])
        del utterance.pcm[keep:]
        utterance.ended = reason
        self._open = None
        return rest
