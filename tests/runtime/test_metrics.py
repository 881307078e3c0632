"""The registry of figures. Contract: observability.md §9.1."""

from __future__ import annotations

import pytest

from goclaw.runtime.metrics import METRICS, OF_ONE, OTHER, Meter, Sample


def test_counts_add_up_and_gauges_are_replaced() -> None:
    meter = Meter()
    meter.count("queue_dropped_total", "old")
    meter.count("queue_dropped_total", "old", by=2)
    meter.set("lane_active", 3, "main")
    meter.set("lane_active", 1, "main")

    assert list(meter.samples()) == [
        Sample("lane_active", (("lane", "main"),), 1),
        Sample("queue_dropped_total", (("policy", "old"),), 3),
    ]


def test_a_histogram_counts_into_buckets_that_include_the_smaller_ones() -> None:
    meter = Meter()
    for seconds in (0.1, 0.05, 7.0, 5000.0):
        meter.observe("run_seconds", seconds, "chat")

    shown = {sample.labels[-1][1]: sample.value for sample in meter.samples() if sample.name == "run_seconds_bucket"}
    assert (shown["0.1"], shown["5.0"], shown["10.0"], shown["1800.0"], shown["+Inf"]) == (2, 2, 3, 3, 4)
    assert [sample.value for sample in meter.samples()][-2:] == [5007.15, 4]
    assert meter.value("run_seconds", "chat") == 4


def test_too_many_label_sets_are_counted_as_other() -> None:
    """OB-15."""
    meter = Meter()
    for number in range(OF_ONE + 10):
        meter.count("runs_total", f"agent-{number}", "chat", "SUCCEEDED")

    assert meter.value("runs_total", OTHER, OTHER, OTHER) == 10
    assert meter.value("metrics_series_capped_total") == 10
    assert sum(sample.value for sample in meter.samples() if sample.name == "runs_total") == OF_ONE + 10


def test_what_is_no_metric_or_has_other_labels_is_a_bug_of_the_caller() -> None:
    meter = Meter()
    with pytest.raises(KeyError):
        meter.count("runs")
    with pytest.raises(ValueError, match="agent, kind, status"):
        meter.count("runs_total", "chat")


def test_a_gauge_that_is_set_anew_forgets_what_is_gone() -> None:
    meter = Meter()
    meter.set("ws_connections", 2, "admin")
    meter.set("ws_connections", 2, "viewer")

    meter.forget("ws_connections")
    meter.set("ws_connections", 1, "viewer")

    assert list(meter.samples()) == [Sample("ws_connections", (("role", "viewer"),), 1)]


def test_names_and_units_are_those_of_the_contract() -> None:
    for name, metric in METRICS.items():
        assert (metric.type == "counter") == name.endswith("_total"), name
        assert (metric.type == "histogram") == bool(metric.buckets), name
        assert metric.buckets == tuple(sorted(metric.buckets)), name
