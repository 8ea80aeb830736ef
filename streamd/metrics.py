"""Prometheus metrics, declared once. Names carry units; every label's values are bounded."""

from __future__ import annotations

import platform
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streamd import __version__

# A VAD frame takes about 2 ms, a late final 20 s; the steps between are the ones that readers notice.
STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
LOOP_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

_Instrument = TypeVar("_Instrument", Counter, Gauge)


class Metrics:
    """The instruments of one daemon, in a registry of their own.

    Setting an instrument is cheap and may be done on the event loop and from any thread:
    `metrics.stage_seconds.labels("vad").observe(0.001)`, `metrics.sources.inc()`.
    Series appear once they are used; those of a session go with `forget_session`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.build_info = Info("streamd_build", "Version of the daemon and of Python.", registry=self.registry)
        self.build_info.info({"version": __version__, "python": platform.python_version()})

        # sound
        self.sessions = self._new(Gauge, "sessions", "Sessions that are open.")
        self.sources = self._new(Gauge, "sources", "Sources that deliver sound now.")
        self.frames = self._new(Counter, "frames", "Frames of 40 ms that entered the pipe.", "session")
        self.lost_samples = self._new(
            Counter, "lost_samples", "Samples at 16 kHz that never arrived, by reason of the gap.", "session", "reason"
        )
        self.queue_fill = self._new(
            Gauge, "queue_fill", "Items waiting at a bounded edge of the pipe.", "queue", "session"
        )
        self.lag_seconds = self._new(Gauge, "lag_seconds", "How far recognition is behind the sound.", "session")

        # recognition
        self.stage_seconds = Histogram(
            "streamd_stage_seconds",
            "Time spent in a stage: vad, queue, engine_partial, _final, _decision, journal, the engine's own.",
            ["stage"],
            registry=self.registry,
            buckets=STAGE_BUCKETS_S,
        )
        self.engine_calls = self._new(
            Counter,
            "engine_calls",
            "Engine calls by kind (partial, final, decision, comparison) and outcome (ok, replayed, deadline, died, "
            "failed).",
            "kind",
            "outcome",
        )
        self.second_readings = self._new(
            Counter,
            "second_readings",
            "Utterances for the second pass by outcome (changed, same, doubtful, skipped, failed).",
            "outcome",
        )
        self.respawns = self._new(Counter, "respawns", "Workers started again after the first.", "engine")
        self.switches = self._new(
            Counter,
            "switches",
            "Times that another engine took a session over: which one, and why (short, session, speech, slow, loading, "
            "lost, failed, …).",
            "engine",
            "reason",
        )

        self.commands = self._new(Counter, "commands", "Steps of spoken commands, by the state they lead to.", "state")

        # log and readers
        self.events = self._new(Counter, "events", "Events appended to the logs, by type.", "type")
        self.journal_lag_events = self._new(
            Gauge, "journal_lag_events", "Durable events that the journal does not hold yet.", "session"
        )
        self.readers = self._new(Gauge, "readers", "Readers that are connected.", "session")
        self.reader_closes = self._new(
            Counter, "reader_closes", "Reader connections that ended, by WebSocket closing code.", "code"
        )
        self.loop_delay_seconds = Histogram(
            "streamd_loop_delay_seconds",
            "How late the event loop woke up a timer.",
            registry=self.registry,
            buckets=LOOP_BUCKETS_S,
        )
        self._by_session = (
            self.frames,
            self.lost_samples,
            self.queue_fill,
            self.lag_seconds,
            self.journal_lag_events,
            self.readers,
        )

    def _new(self, kind: type[_Instrument], name: str, about: str, *labels: str) -> _Instrument:
        return kind(f"streamd_{name}", about, labels, registry=self.registry)

    def forget_session(self, name: str) -> None:
        """Drop every series of a session that has closed. Unknown names are ignored."""
        for instrument in self._by_session:
            instrument.remove_by_labels({"session": name})

    def render(self) -> tuple[bytes, str]:
        """What a scrape gets: the body and its Content-Type (Prometheus text exposition format).

        Reads /proc for the process's own figures: call it through a thread.
        """
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
