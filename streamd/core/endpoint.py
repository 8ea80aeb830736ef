"""Where an utterance starts and ends: speech probabilities in, Started and Ended out.

Rules, in frames of 40 ms:
- Speech starts once `min_speech` frames in a row reach `threshold`. The utterance then begins `pre_roll` frames before
  the first of them, but never before the end of the one before it.
- Within an utterance a frame counts as speech while it reaches `release` (lower than `threshold`: hysteresis).
- A pause of `hangover` frames ends it. Beyond `soft_max` frames the pause that is asked for shrinks, down to one frame
  at `maximum`: the first decent pause is taken before a bad place must be.
- At `maximum` the utterance is split at its quietest place in the last third that lies behind what readers were
  already shown for good (`protect`); the rest opens the next utterance at once.
- Sound that passes for speech, but in which the recogniser has found no word for `wordless` frames (`heard`), is no
  speech: babble, music, a machine. The utterance is split soon after its last word. An utterance without any word yet
  is left alone: there is nothing to finish.
- The end of the source ends what is open. Nothing else does: every Started has exactly one Ended.

    state     input      next      action
    SILENCE   quiet      SILENCE   -
    SILENCE   voiced     ONSET     mark
    SILENCE   enough     SPEECH    start       (min_speech of one frame)
    ONSET     quiet      SILENCE   -
    ONSET     voiced     ONSET     -
    ONSET     enough     SPEECH    start
    SPEECH    voiced     SPEECH    -
    SPEECH    quiet      PAUSE     -
    SPEECH    over       SILENCE   end         (a pause of one frame is enough)
    SPEECH    wordless   SPEECH    cut
    SPEECH    full       SPEECH    split
    PAUSE     voiced     SPEECH    -
    PAUSE     quiet      PAUSE     -
    PAUSE     over       SILENCE   end
    PAUSE     wordless   PAUSE     cut
    PAUSE     full       PAUSE     split
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

Reason = Literal["pause", "split", "gap", "end"]


@dataclass(frozen=True, slots=True)
class Rules:
    """Lengths in frames, probabilities in 0 … 1."""

    pre_roll: int = 10
    min_speech: int = 2
    hangover: int = 18
    wordless: int = 50
    soft_max: int = 375
    maximum: int = 625
    threshold: float = 0.5
    release: float = 0.35


@dataclass(frozen=True, slots=True)
class Started:
    """An utterance begins with this frame."""

    frame: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The utterance ends before this frame."""

    frame: int
    reason: Reason


_AFTER_WORDS = 10
"""Frames that stay with a word before a cut: its end is known less exactly than its start."""


class State(Enum):
    SILENCE = auto()
    ONSET = auto()
    SPEECH = auto()
    PAUSE = auto()


class Input(Enum):
    QUIET = auto()
    VOICED = auto()
    ENOUGH = auto()
    OVER = auto()
    WORDLESS = auto()
    FULL = auto()


class Action(Enum):
    NONE = auto()
    MARK = auto()
    START = auto()
    END = auto()
    CUT = auto()
    SPLIT = auto()


TABLE: dict[tuple[State, Input], tuple[State, Action]] = {
    (State.SILENCE, Input.QUIET): (State.SILENCE, Action.NONE),
    (State.SILENCE, Input.VOICED): (State.ONSET, Action.MARK),
    (State.SILENCE, Input.ENOUGH): (State.SPEECH, Action.START),
    (State.ONSET, Input.QUIET): (State.SILENCE, Action.NONE),
    (State.ONSET, Input.VOICED): (State.ONSET, Action.NONE),
    (State.ONSET, Input.ENOUGH): (State.SPEECH, Action.START),
    (State.SPEECH, Input.VOICED): (State.SPEECH, Action.NONE),
    (State.SPEECH, Input.QUIET): (State.PAUSE, Action.NONE),
    (State.SPEECH, Input.OVER): (State.SILENCE, Action.END),
    (State.SPEECH, Input.WORDLESS): (State.SPEECH, Action.CUT),
    (State.SPEECH, Input.FULL): (State.SPEECH, Action.SPLIT),
    (State.PAUSE, Input.VOICED): (State.SPEECH, Action.NONE),
    (State.PAUSE, Input.QUIET): (State.PAUSE, Action.NONE),
    (State.PAUSE, Input.OVER): (State.SILENCE, Action.END),
    (State.PAUSE, Input.WORDLESS): (State.PAUSE, Action.CUT),
    (State.PAUSE, Input.FULL): (State.PAUSE, Action.SPLIT),
}


class Endpointer:
    """Feed one probability a frame, in order; take the events it answers."""

    def __init__(self, rules: Rules, first_frame: int = 0) -> None:
        self._rules = rules
        self.state = State.SILENCE
        self._next = first_frame
        self._floor = first_frame  # no utterance may begin before this frame
        self._onset = first_frame  # first frame of the run that may become speech
        self._pause = 0  # quiet frames at the end of the open utterance
        self._start = first_frame
        self._protected = first_frame
        self._words_end: int | None = None  # frame after the last word of the open utterance, if it has any …
        self._heard = first_frame  # … as far as the recogniser has heard it
        self._probabilities: list[float] = []  # of the open utterance, one a frame

    @property
    def is_open(self) -> bool:
        return self.state in (State.SPEECH, State.PAUSE)

    @property
    def next_frame(self) -> int:
        return self._next

    def protect(self, frame: int) -> None:
        """What lies before `frame` has been shown for good: a split comes after it."""
        self._protected = max(self._protected, frame)

    def heard(self, words_end: int, upto: int) -> None:
        """The recogniser has heard the open utterance up to a frame, and found its last word to end before another."""
        self._words_end, self._heard = words_end, upto

    @property
    def pause(self) -> int:
        """Quiet frames at the end of the utterance that is open, or was last."""
        return self._pause

    def feed(self, probability: float) -> list[Started | Ended]:
        """The next frame is speech with this probability."""
        frame = self._next
        self._next += 1
        self._probabilities.append(probability)
        symbol = self._classify(probability, frame)
        self.state, action = TABLE[self.state, symbol]
        return self._act(action, frame)

    def end(self, reason: Reason = "end") -> list[Started | Ended]:
        """The source is at its end, or sound is missing: close what is open."""
        was_open = self.is_open
        self.state = State.SILENCE
        if was_open:
            return [self._close(self._next, reason)]
        self._floor = self._next
        self._probabilities.clear()
        return []

    def skip_to(self, frame: int) -> None:
        """Frames before `frame` are missing. Only between utterances."""
        if self.is_open:
            raise RuntimeError("an utterance is open: end it first")
        self.state = State.SILENCE
        self._next = self._floor = self._protected = frame
        self._probabilities.clear()

    def _classify(self, probability: float, frame: int) -> Input:
        if not self.is_open:
            if probability < self._rules.threshold:
                return Input.QUIET
            run = 1 if self.state is State.SILENCE else frame - self._onset + 1
            return Input.ENOUGH if run >= self._rules.min_speech else Input.VOICED
        voiced = probability >= self._rules.release
        self._pause = 0 if voiced else self._pause + 1
        length = frame + 1 - self._start
        if not voiced and self._pause >= self._wanted_pause(length):
            return Input.OVER
        if self._words_end is not None and self._heard - self._words_end >= self._rules.wordless:
            return Input.WORDLESS
        if length >= self._rules.maximum:
            return Input.FULL
        return Input.VOICED if voiced else Input.QUIET

    def _wanted_pause(self, length: int) -> int:
        """Frames of quiet that end an utterance of this length."""
        rules = self._rules
        if length <= rules.soft_max:
            return rules.hangover
        left = (rules.maximum - length) / max(1, rules.maximum - rules.soft_max)
        return max(1, round(rules.hangover * left))

    def _act(self, action: Action, frame: int) -> list[Started | Ended]:
        match action:
            case Action.MARK:
                self._onset = frame
            case Action.START:
                onset = frame + 1 - max(1, self._rules.min_speech)
                return [self._open(max(self._floor, onset - self._rules.pre_roll))]
            case Action.END:
                return [self._close(frame + 1, "pause")]
            case Action.CUT:
                return self._split(self._place_after_words(frame + 1))
            case Action.SPLIT:
                return self._split(self._quietest_place(frame + 1))
            case _ if not self.is_open:
                self._forget_old()
            case _:
                pass  # the probabilities of an open utterance are kept for a split
        return []

    def _open(self, start: int) -> Started:
        del self._probabilities[: len(self._probabilities) - (self._next - start)]
        self._start = self._protected = start
        self._pause = 0
        self._words_end = None
        return Started(start)

    def _close(self, end: int, reason: Reason) -> Ended:
        self._floor = end
        del self._probabilities[: end - self._start]
        return Ended(end, reason)

    def _split(self, place: int) -> list[Started | Ended]:
        pause, end = self._pause, self._next
        events: list[Started | Ended] = [self._close(place, "split"), self._open(place)]
        self._pause = min(pause, end - place)
        return events

    def _place_after_words(self, end: int) -> int:
        assert self._words_end is not None, "there are words"
        return min(max(self._words_end + _AFTER_WORDS, self._protected, self._start + 1), end)

    def _quietest_place(self, end: int) -> int:
        """Boundary before the quietest three frames of the last third; `end` where nothing else is allowed."""
        first = max(self._start + 1, end - self._rules.maximum // 3, self._protected)
        candidates = range(first, end - 1)
        if not candidates:
            return end

        def loudness(frame: int) -> float:
            at = frame - self._start
            around = self._probabilities[max(0, at - 1) : at + 2]
            return sum(around) / len(around)

        return min(candidates, key=lambda frame: (loudness(frame), -frame))

    def _forget_old(self) -> None:
        surplus = len(self._probabilities) - self._rules.pre_roll - self._rules.min_speech
        if surplus > 0:
            del self._probabilities[:surplus]
