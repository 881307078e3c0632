"""How long messages wait and handlers take: log-linear histograms of the last minute. Contract: supervision.md §15."""

from __future__ import annotations

from typing import Any

WINDOW = 60.0  # seconds a figure looks back at least half of
FINEST = 16  # buckets per doubling: no figure is off by more than 1/32
LONGEST = 100_000_000  # microseconds


def bucket(micros: int) -> int:
    """The bucket a duration falls into. Below 32 µs each has its own."""
    if micros < 2 * FINEST:
        return max(micros, 0)
    shift = min(micros, LONGEST).bit_length() - 5
    return shift * FINEST + (min(micros, LONGEST) >> shift)


def middle(index: int) -> int:
    """The duration a bucket stands for, in microseconds."""
    if index < 2 * FINEST:
        return index
    shift = index // FINEST - 1
    return ((index - shift * FINEST) << shift) + (1 << shift >> 1)


class Histogram:
    """Counts by bucket of this half window and of the one before; only buckets that were hit take room."""

    __slots__ = ("_before", "_counts")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        index = bucket(int(seconds * 1e6))
        self._counts[index] = self._counts.get(index, 0) + 1

    def turn(self) -> None:
        """A new half window begins."""
        self._before, self._counts = self._counts, {}

    def figures(self) -> dict[str, int]:
        """p50, p95, p99 and max in microseconds; zeros when nothing happened."""
        counts = dict(self._before)
        for index, count in self._counts.items():
            counts[index] = counts.get(index, 0) + count
        ordered, total = sorted(counts.items()), sum(counts.values())
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        return {name: _at(ordered, share * total) for name, share in shares.items()}


def _at(ordered: list[tuple[int, int]], rank: float) -> int:
    seen = 0
    for index, count in ordered:
        seen += count
        if seen >= rank:
            return middle(index)
    return 0


class Latency:
    """One actor's waits and handlings, both rolling over the last 30 to 60 seconds."""

    __slots__ = ("_turn_at", "handle", "wait")

    def __init__(self, now: float) -> None:
        self.wait = Histogram()
        self.handle = Histogram()
        self._turn_at = now + WINDOW / 2

    def add(self, wait: float | None, handle: float, now: float) -> None:
        """Seconds a message waited, if that is known, and was handled for."""
        if now >= self._turn_at:
            self._roll(now)
        if wait is not None:
            self.wait.add(wait)
        self.handle.add(handle)

    def figures(self, now: float) -> dict[str, dict[str, int]]:
        if now >= self._turn_at:
            self._roll(now)
        return {"wait": self.wait.figures(), "handle": self.handle.figures()}

    def stale(self, now: float) -> bool:
        """Nothing of it counts any more."""
        return now >= self._turn_at + WINDOW / 2

    def _roll(self, now: float) -> None:
        turns = 2 if now >= self._turn_at + WINDOW / 2 else 1
        for histogram in (self.wait, self.handle):
            for _ in range(turns):
                histogram.turn()
        self._turn_at = now + WINDOW / 2


def idle_figures() -> dict[str, Any]:
    """The figures of an actor that did nothing lately."""
    return {"wait": Histogram().figures(), "handle": Histogram().figures()}
