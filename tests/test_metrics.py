"""metrics.py: what a scrape sees."""

from __future__ import annotations

import re

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from streamd import __version__
from streamd.metrics import STAGE_BUCKETS_S, Metrics


def scrape(metrics: Metrics) -> dict[str, list[dict[str, str]]]:
    """Name of each sample → its label sets, read back with the format's own parser."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(metrics.render()[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def instruments(metrics: Metrics) -> dict[str, Counter | Gauge | Histogram]:
    return {name: value for name, value in vars(metrics).items() if isinstance(value, Counter | Gauge | Histogram)}


def use_all(metrics: Metrics, session: str) -> None:
    for instrument in instruments(metrics).values():
        names = instrument._labelnames
        child = instrument.labels(*(session if name == "session" else "x" for name in names)) if names else instrument
        if isinstance(child, Histogram):
            child.observe(0.01)
        else:
            child.inc()


def test_every_instrument_is_rendered_with_the_prefix_and_a_help_text() -> None:
    metrics = Metrics()
    use_all(metrics, "room")
    families = {family.name: family for family in text_string_to_metric_families(metrics.render()[0].decode())}
    for name in instruments(metrics):
        assert re.fullmatch(r".{10,}\.", families[f"streamd_{name}"].documentation)


def test_values_come_back() -> None:
    metrics = Metrics()
    metrics.frames.labels("room").inc(25)
    metrics.lost_samples.labels("room", "overflow").inc(640)
    metrics.queue_fill.labels("finals", "room").set(3)
    metrics.engine_calls.labels("partial", "replayed").inc()
    get = metrics.registry.get_sample_value
    assert get("streamd_frames_total", {"session": "room"}) == 25
    assert get("streamd_lost_samples_total", {"session": "room", "reason": "overflow"}) == 640
    assert get("streamd_queue_fill", {"queue": "finals", "session": "room"}) == 3
    assert get("streamd_engine_calls_total", {"kind": "partial", "outcome": "replayed"}) == 1


def test_stage_buckets_reach_from_a_millisecond_to_twenty_seconds() -> None:
    metrics = Metrics()
    metrics.stage_seconds.labels("engine_final").observe(15)
    assert (STAGE_BUCKETS_S[0], STAGE_BUCKETS_S[-1]) == (0.001, 20)
    assert tuple(sorted(STAGE_BUCKETS_S)) == STAGE_BUCKETS_S
    get = metrics.registry.get_sample_value
    assert get("streamd_stage_seconds_bucket", {"stage": "engine_final", "le": "10.0"}) == 0
    assert get("streamd_stage_seconds_bucket", {"stage": "engine_final", "le": "20.0"}) == 1


def test_a_forgotten_session_leaves_no_series_and_others_stay() -> None:
    metrics = Metrics()
    use_all(metrics, "gone")
    use_all(metrics, "here")
    metrics.forget_session("gone")
    metrics.forget_session("never seen")
    body = metrics.render()[0]
    assert b'session="gone"' not in body
    labelled = [name for name, kind in instruments(metrics).items() if "session" in kind._labelnames]
    assert labelled
    for name in labelled:
        assert re.search(rb'^streamd_%s\w*\{.*session="here"' % name.encode(), body, re.MULTILINE)


def test_two_daemons_in_one_process_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.sources.inc()
    assert other.registry.get_sample_value("streamd_sources") == 0


def test_build_and_process_are_told() -> None:
    samples = scrape(Metrics())
    assert samples["streamd_build_info"][0]["version"] == __version__
    assert "process_resident_memory_bytes" in samples
    assert "process_open_fds" in samples


def test_the_content_type_is_the_one_of_the_text_format() -> None:
    assert Metrics().render()[1].startswith("text/plain; version=")
