"""The figures of several runs as a table, and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from streamd import __version__
from streamd.bench.run import Run

QUIET_CORES = 0.1  # other programs that keep more of a core busy than this change what is measured
LATE_S = 0.1  # sound that comes later than this is not live any more
GAP = "  "  # between columns

Show = Callable[[float], str]


def _seconds(value: float) -> str:
    return f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `compared`: less of it is better, so that a ratio says something."""

    label: str
    figures: tuple[str, ...]
    show: Show
    compared: bool = True


def _delays(label: str, name: str, ranks: Sequence[int] = (50, 95, 99)) -> Row:
    return Row(label, tuple(f"{name}_p{rank}_s" for rank in ranks), _seconds)


ROWS = (
    Row("word error rate %", ("wer",), _percent),
    Row("  with case and punctuation %", ("raw_wer",), _percent),
    Row("words shown, said", ("words_shown", "words_said"), _whole, compared=False),
    Row("first text s", ("first_text_s",), _seconds),
    _delays("word seen s p50 / p95 / p99", "seen"),
    _delays("word stays s", "stays"),
    Row("  p95 of the worst session", ("worst_session_p95_s",), _seconds),
    _delays("word committed s", "committed"),
    _delays("word final s", "final"),
    _delays("utterance committed s p50 / p95", "utterance_committed", (50, 95)),
    _delays("utterance final s p50 / p95", "utterance_final", (50, 95)),
    Row("  never final %", ("utterances_lost",), _percent, compared=False),
    Row("erasure: words, all characters", ("erasure", "raw_erasure"), _seconds),
    Row("UPWR: words, all characters", ("upwr", "raw_upwr"), _seconds),
    Row("CPU seconds a second of sound", ("cpu_s_per_audio_s",), _seconds),
    Row("cores busy", ("cores",), _seconds),
    Row("peak memory MB", ("peak_mb",), _whole),
    Row("ready after s", ("ready_s",), _seconds),
    Row("behind at the end s", ("behind_s",), _seconds, compared=False),
    Row("growth: stays p50 s", ("stays_growth_s",), _signed, compared=False),
    Row("  CPU cores", ("cpu_growth_cores",), _signed, compared=False),
    Row("  memory MB", ("memory_growth_mb",), _signed, compared=False),
    Row("sound sent late s", ("sent_late_s",), _seconds, compared=False),
    Row("words with a time %", ("covered",), _percent, compared=False),
    Row("other programs, cores", ("other_cores",), _seconds, compared=False),
)


@dataclass(slots=True)
class Report:
    """All runs so far. Runs of the same subject with as many sessions are repeats of each other."""

    sound: str
    settings: dict[str, object]
    notes: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something that a reader of the figures should know, once."""
        if text not in self.notes:
            self.notes.append(text)

    def table(self, width: int | None = None) -> str:
        """Aligned columns, one below the other where they are wider than `width` characters.

        A comparison's column says how many times streamd's figure it is.
        """
        rows = [["", *self._heads()]]
        rows += [[row.label, *self._cells(row)] for row in ROWS]
        rows = [row for row in rows if any(cell != "-" for cell in row[1:])]
        blocks = _blocks([_aligned(column) for column in zip(*rows, strict=True)], width)
        return "\n\n".join(["\n".join(block) for block in blocks]) + "\n" + "".join(f"{it}\n" for it in self._remarks())

    def json(self) -> dict[str, object]:
        """Every run for itself, with what it ran on."""
        return {
            "streamd": __version__,
            "sound": self.sound,
            "settings": {key: str(value) if isinstance(value, Path) else value for key, value in self.settings.items()},
            "machine": machine(),
            "notes": self.notes,
            "runs": [asdict(run) for run in self.runs],
        }

    def _columns(self) -> dict[tuple[str, int], list[Run]]:
        columns: dict[tuple[str, int], list[Run]] = {}
        for run in self.runs:
            columns.setdefault((run.subject, run.sessions), []).append(run)
        return columns

    def _heads(self) -> list[str]:
        heads = []
        for name, sessions in self._columns():
            heads.append(f"{name}, {sessions} session{'s' * (sessions > 1)}")
            if self._base(name, sessions):
                heads.append("times")
        return heads

    def _base(self, name: str, sessions: int) -> list[Run] | None:
        """What a column is compared with."""
        return self._columns().get(("streamd", sessions)) if name != "streamd" else None

    def _cells(self, row: Row) -> list[str]:
        cells = []
        for (name, sessions), runs in self._columns().items():
            cells.append(_cell([_values(runs, figure) for figure in row.figures], row.show))
            if base := self._base(name, sessions):
                ratios = [_ratio(_values(runs, it), _values(base, it)) for it in row.figures]
                cells.append(" / ".join(ratios) if row.compared and set(ratios) != {"-"} else "-")
        return cells

    def _remarks(self) -> list[str]:
        faults = [f"{run.subject}, sessions: {run.sessions}: {fault}" for run in self.runs for fault in run.faults]
        busy, late = (max(_values(self.runs, name), default=0.0) for name in ("other_cores", "sent_late_s"))
        loud = [f"other programs kept up to {busy:.2f} cores busy: quote ratios, not seconds"]
        slow = [f"sound was sent up to {late:.2f} s late: a server did not take it, or this machine was too busy"]
        return [*self.notes, *faults, *(loud if busy > QUIET_CORES else []), *(slow if late > LATE_S else [])]


def machine() -> dict[str, object]:
    """What the figures hold for."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _aligned(cells: Sequence[str]) -> list[str]:
    return [cell.ljust(max(map(len, cells))) for cell in cells]


def _blocks(columns: Sequence[Sequence[str]], width: int | None) -> list[list[str]]:
    """Lines of as many columns as there is room for; the first column is in each block."""
    labels, *rest = columns
    blocks: list[list[Sequence[str]]] = [[labels]]
    for column in rest:
        taken = sum(len(it[0]) + len(GAP) for it in blocks[-1])
        if width is not None and taken + len(column[0]) > width and len(blocks[-1]) > 1:
            blocks.append([labels])
        blocks[-1].append(column)
    return [[GAP.join(cells).rstrip() for cells in zip(*block, strict=True)] for block in blocks]


def _values(runs: Sequence[Run], figure: str) -> list[float]:
    return [value for run in runs if (value := run.figures.get(figure)) is not None]


def _cell(figures: Sequence[Sequence[float]], show: Show) -> str:
    """The median of each figure, and its range where there are repeats."""
    if not any(figures):
        return "-"
    return " / ".join(_spread(values, show) if values else "-" for values in figures)


def _spread(values: Sequence[float], show: Show) -> str:
    middle = show(median(values))
    return middle if len(values) == 1 else f"{middle} ({show(min(values))}…{show(max(values))})"


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    if not theirs or not ours or median(ours) <= 0 or median(theirs) < 0:
        return "-"
    return f"{median(theirs) / median(ours):.1f}x"
