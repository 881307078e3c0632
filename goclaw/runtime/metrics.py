"""Figures of the process: plain counters in one registry that no restart of an actor touches.

Contract: observability.md §9. A metric is a row of `METRICS`; names are API and get the prefix when they are shown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Literal, NamedTuple

SERIES = 20_000  # of all metrics together; §9.1
OF_ONE = 2_000  # of one metric; further label sets are counted as `other`
OTHER = "other"

FAST = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
NORMAL = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)

Type = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]


class Metric(NamedTuple):
    type: Type
    help: str
    labels: Labels = ()
    buckets: tuple[float, ...] = ()


METRICS: dict[str, Metric] = {
    # process
    "build_info": Metric("gauge", "1, with what runs here", ("version", "protocol", "python", "node")),
    "uptime_seconds": Metric("gauge", "since the start"),
    "process_cpu_seconds_total": Metric("counter", "user and system time"),
    "process_resident_memory_bytes": Metric("gauge", "memory held"),
    "open_fds": Metric("gauge", "open files and sockets"),
    "loop_lag_seconds": Metric("histogram", "how late the event loop was", (), FAST),
    "zombie_threads": Metric("gauge", "threads whose actor is gone"),
    # actors
    "actor_active": Metric("gauge", "living actors", ("class", "state")),
    "actor_mailbox_depth": Metric("gauge", "messages that wait", ("class", "stat")),
    "actor_restarts_total": Metric("counter", "incarnations after the first", ("class", "reason")),
    "actor_escalations_total": Metric("counter", "limits of restarts that were passed", ("class",)),
    "actor_deadletters_total": Metric("counter", "messages that reached nobody", ("reason",)),
    # hooks
    "hook_executions_total": Metric("counter", "hooks that were asked", ("event", "decision")),
    "hook_seconds": Metric("histogram", "asked to decided", ("event", "decision"), NORMAL),
    # runs, queue
    "runs_total": Metric("counter", "runs that ended", ("agent", "kind", "status")),
    "run_seconds": Metric("histogram", "accepted to ended", ("kind",), LONG),
    "run_queue_seconds": Metric("histogram", "accepted to claimed", ("lane", "kind"), NORMAL),
    "resource_lock_wait_seconds": Metric(
        "histogram", "keys wanted to keys free", ("outcome",), (*NORMAL, 30.0, 60.0, 300.0)
    ),
    "run_claim_wait_seconds": Metric("histogram", "due to claimed", ("lane", "kind"), (*NORMAL, 30.0, 60.0, 300.0)),
    "runs_state": Metric("gauge", "runs that have not ended", ("state", "lane")),
    "queue_depth": Metric("gauge", "runs that wait", ("lane",)),
    "lane_active": Metric("gauge", "runs that hold a slot", ("lane",)),
    "lane_limit": Metric("gauge", "slots", ("lane",)),
    "run_retries_total": Metric("counter", "runs put back after an error", ("reason",)),
    "run_dead_letter_total": Metric("counter", "runs given up", ("reason",)),
    "run_lease_expired_total": Metric("counter", "runs taken from a dead owner"),
    "head_repair_total": Metric("counter", "sessions that counted their runs wrong"),
    "stale_write_rejected_total": Metric("counter", "writes of runs that belonged to others by then"),
    "budget_reserved_usd": Metric("gauge", "what calls under way hold of purses, on all nodes", ("scope",)),
    "budget_overshoot_usd_total": Metric("counter", "what calls took beyond what was held for them", ("scope",)),
    "budget_refused_total": Metric("counter", "calls no purse paid for", ("scope",)),
    "llm_fallbacks_total": Metric(
        "counter", "answers of another one than was asked", ("from_provider", "to_provider", "reason")
    ),
    "provider_errors_total": Metric("counter", "calls that failed", ("provider", "kind")),
    "queue_dropped_total": Metric("counter", "turns that were dropped or refused", ("policy",)),
    "lane_dropped_total": Metric("counter", "turns that were dropped or refused, by lane", ("lane",)),
    "approvals_pending": Metric("gauge", "commands that wait for somebody's yes"),
    "approvals_total": Metric("counter", "answers, and those that did not come in time", ("decision",)),
    "approval_wait_seconds": Metric("histogram", "asked to answered", (), LONG),
    "poll_hits_total": Metric("counter", "looks that found work nobody rang for", ("kind",)),
    # edge
    "http_requests_total": Metric("counter", "answers", ("route", "method", "status")),
    "http_request_seconds": Metric("histogram", "to the first byte", ("route",), NORMAL),
    "ws_connections": Metric("gauge", "open sockets", ("role",)),
    # stores
    "db_pool_in_use": Metric("gauge", "connections lent"),
    "db_pool_size": Metric("gauge", "open connections"),
    # self
    "metrics_series_capped_total": Metric("counter", "label sets that were counted as other"),
}


class Sample(NamedTuple):
    """One line: of a histogram the buckets (label `le`), the sum and the count are samples of their own."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Curve:
    """A histogram's buckets, each counting what fell between it and the one before."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0


class Meter:
    """Counts. Labels are given in the order the metric names them, and must come from closed sets (§9.1).

    Raises KeyError for a name that is no metric.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, Labels], float] = {}
        self._curves: dict[tuple[str, Labels], Curve] = {}
        self._series: dict[str, int] = {}

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        key = (name, labels)
        try:
            self._numbers[key] += by
        except KeyError:
            key = self._new(name, labels)
            self._numbers[key] = self._numbers.get(key, 0) + by

    def set(self, name: str, value: float, *labels: str) -> None:
        key = (name, labels)
        self._numbers[key if key in self._numbers else self._new(name, labels)] = value

    def observe(self, name: str, value: float, *labels: str) -> None:
        curve = self._curves.get((name, labels))
        if curve is None:
            key = self._new(name, labels)
            curve = self._curves.setdefault(key, Curve(METRICS[name].buckets))
        curve.counts[bisect_left(curve.bounds, value)] += 1
        curve.sum += value

    def value(self, name: str, *labels: str) -> float:
        """What was counted or set so far; of a histogram, how often."""
        curve = self._curves.get((name, labels))
        return sum(curve.counts) if curve is not None else self._numbers.get((name, labels), 0)

    def forget(self, name: str) -> None:
        """Drop a gauge's samples before it is set anew, so that what is no longer there is not shown."""
        for key in [key for key in self._numbers if key[0] == name]:
            del self._numbers[key]
        self._series[name] = 0

    def samples(self) -> Iterator[Sample]:
        """Everything, grouped by metric."""
        for (name, labels), number in sorted(self._numbers.items()):
            yield Sample(name, tuple(zip(METRICS[name].labels, labels, strict=True)), number)
        for (name, labels), curve in sorted(self._curves.items(), key=lambda item: item[0]):
            yield from _buckets(name, tuple(zip(METRICS[name].labels, labels, strict=True)), curve)

    def _new(self, name: str, labels: Labels) -> tuple[str, Labels]:
        """The key of a series that was not there, or of the one that takes what is too many."""
        metric = METRICS[name]
        if len(labels) != len(metric.labels):
            raise ValueError(f"{name} has the labels {', '.join(metric.labels) or 'none'}")
        if self._series.get(name, 0) >= OF_ONE or sum(self._series.values()) >= SERIES:
            capped = ("metrics_series_capped_total", ())
            self._numbers[capped] = self._numbers.get(capped, 0) + 1
            return name, (OTHER,) * len(labels)
        self._series[name] = self._series.get(name, 0) + 1
        return name, labels


def _buckets(name: str, labels: tuple[tuple[str, str], ...], curve: Curve) -> Iterator[Sample]:
    seen = 0
    for bound, count in zip((*map(str, curve.bounds), "+Inf"), curve.counts, strict=True):
        seen += count
        yield Sample(f"{name}_bucket", (*labels, ("le", bound)), seen)
    yield Sample(f"{name}_sum", labels, curve.sum)
    yield Sample(f"{name}_count", labels, seen)
