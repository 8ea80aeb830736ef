"""What several sessions that ran at once measured together. benchmarks/README.md defines the figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import pairwise

import numpy as np

from streamd.core.measure import Delays, Errors, Measured, Times

Figures = dict[str, float | None]
"""Name of a figure → its value; None where there is nothing that could be measured."""

RANKS = (50, 95, 99)  # of percentiles
FIFTHS = 5


def summary(measured: Sequence[Measured], duration_s: float) -> Figures:
    """The figures of sessions that ran at once: rates over all words, percentiles over all delays.

    `duration_s` is the length of the sound, whose fifths are compared.
    """
    delays = _joined([one.delays for one in measured if one.delays])
    lasts = _joined([one.utterances for one in measured if one.utterances])
    said = [one.wer.words for one in measured if one.wer]
    figures: Figures = {
        "wer": _rate([one.wer for one in measured]),
        "raw_wer": _rate([one.raw_wer for one in measured]),
        "words_shown": float(sum(one.unrest.words for one in measured)),
        "words_said": float(sum(said)) if said else None,
        "first_text_s": _median([one.first_text_s for one in measured]),
    }
    for name in ("seen", "stays", "committed", "final"):
        figures |= {f"{name}_p{rank}_s": percentile(getattr(delays, name), rank) for rank in RANKS}
    for name in ("committed", "final"):
        values = getattr(lasts, name)
        figures |= {f"utterance_{name}_p{rank}_s": percentile(values, rank) for rank in RANKS[:2]}
    figures["utterances_lost"] = float(np.isnan(lasts.final).mean()) if len(lasts.final) else None
    for prefix, unrests in (("", [one.unrest for one in measured]), ("raw_", [one.raw_unrest for one in measured])):
        words = sum(unrest.words for unrest in unrests)
        figures[f"{prefix}erasure"] = sum(unrest.erased for unrest in unrests) / words if words else None
        figures[f"{prefix}upwr"] = sum(unrest.changed for unrest in unrests) / words if words else None
    first, *_, last = by_fifths(measured, duration_s)[50]
    return figures | {
        "behind_s": _most([one.behind_s for one in measured]),
        "worst_session_p95_s": _most([percentile(one.delays.stays, 95) for one in measured if one.delays]),
        "stays_growth_s": None if first is None or last is None else last - first,
        "covered": float(np.mean([one.covered for one in measured])) if len(delays.ends_s) else None,
    }


def by_fifths(measured: Sequence[Measured], duration_s: float) -> dict[int, tuple[float | None, ...]]:
    """Rank → delay until words stay, for each fifth of the sound."""
    delays = _joined([one.delays for one in measured if one.delays])
    edges = np.linspace(0, duration_s, FIFTHS + 1)
    edges[-1] = np.inf
    parts = [delays.stays[(delays.ends_s >= start) & (delays.ends_s < end)] for start, end in pairwise(edges)]
    return {rank: tuple(percentile(part, rank) for part in parts) for rank in RANKS}


def percentile(values: Times, rank: float) -> float | None:
    """Of those that happened, linearly interpolated; None if none did."""
    known = values[~np.isnan(values)]
    return float(np.percentile(known, rank)) if len(known) else None


def _joined(parts: Sequence[Delays]) -> Delays:
    if not parts:
        return Delays()
    names = [each.name for each in fields(Delays)]
    return Delays(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _rate(errors: Sequence[Errors | None]) -> float | None:
    known = [one for one in errors if one]
    sums = Errors(*(sum(getattr(one, each.name) for one in known) for each in fields(Errors)))
    return sums.rate


def _median(values: Iterable[float | None]) -> float | None:
    return percentile(np.array([value for value in values if value is not None], float), 50)


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
