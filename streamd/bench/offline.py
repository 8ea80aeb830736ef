"""When words were said, where a reference does not tell: from the words that the same model hears in the whole file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from streamd import daemon
from streamd.bench.reference import Recording
from streamd.core.align import align
from streamd.core.events import Event, Final
from streamd.core.measure import Reference, SpokenWord, last_words, tokens
from streamd.errors import StreamdError
from streamd.settings import Settings

TimedWord = tuple[str, float, float]
"""Text, start and end in seconds."""


def with_times(recording: Recording, settings: Settings) -> Recording:
    """The recording, with word times. Raises StreamdError."""
    heard = _heard([path for path, _ in recording.parts], settings)
    words = [
        (text, start_s + offset_s, end_s + offset_s)
        for (_, offset_s), part in zip(recording.parts, heard, strict=True)
        for text, start_s, end_s in part
    ]
    return replace(recording, reference=timed(recording.reference, words))


def timed(reference: Reference, heard: Sequence[TimedWord]) -> Reference:
    """A reference with the times of the words that were heard; a word that was not heard has none."""
    if reference.text is None:
        words = tuple(SpokenWord(text, end_s) for text, _, end_s in heard)
        return replace(reference, words=words, last_words=last_words([(start_s, end_s) for _, start_s, end_s in heard]))
    said = reference.text.split()
    left = [(token, number) for number, word in enumerate(said) for token in tokens(word)]
    right = [(token, number) for number, (word, _, _) in enumerate(heard) for token in tokens(word)]
    same = align([token for token, _ in left], [token for token, _ in right]).same
    found = {left[i][1]: heard[right[j][1]] for i, j in same}
    words = tuple(SpokenWord(word, found[n][2] if n in found else None) for n, word in enumerate(said))
    known = sorted(found)
    lasts = last_words([found[n][1:] for n in known])
    return replace(reference, words=words, last_words=tuple(known[n] for n in lasts))


def _heard(paths: Sequence[Path], settings: Settings) -> list[list[TimedWord]]:
    outcomes: list[list[Event] | StreamdError] = []
    daemon.transcribe(settings, paths, lambda _path, _ms: None, lambda _path, outcome: outcomes.append(outcome))
    return [_words(outcome) for outcome in outcomes]


def _words(outcome: list[Event] | StreamdError) -> list[TimedWord]:
    if isinstance(outcome, StreamdError):
        raise outcome
    finals = [event.body for event in outcome if isinstance(event.body, Final)]
    return [(word.text, word.start_ms / 1_000, word.end_ms / 1_000) for final in finals for word in final.words]
