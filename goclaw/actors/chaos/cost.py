"""What a plan costs the tree: restarts, quarantines, escalations, dead letters; and how numbers are summed up."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import trio

from goclaw.domain.chaos import Quarantine, Spread
from goclaw.operations.context import House
from goclaw.runtime.news import LifeNews

KEPT = 1_000  # quarantines listed
CROWD = 5.0  # seconds; the default window of a restart limit
RESTARTS = 20_000  # times remembered for `most_in_5s`


class Cost:
    """Counts from its making on, which is before the plan's first turn."""

    def __init__(self, house: House) -> None:
        self.quarantines: list[Quarantine] = []
        self.escalations = 0
        self._house = house
        self._offered, self._refused = house.turns_offered, house.turns_refused
        self._letters = house.system.dead_letters.counters
        self._letters_before = Counter(self._letters)
        self._restarts: Counter[str] = Counter()
        self._times: deque[float] = deque(maxlen=RESTARTS)

    def hear(self, news: LifeNews) -> None:
        match news.event:
            case "actor.restarted":
                self._restarts[news.of_class] += 1
                self._times.append(trio.current_time())
                for resting in self.quarantines:
                    if resting.path == news.path and resting.released_at is None:
                        resting.released_at = news.at
            case "actor.quarantined" if len(self.quarantines) < KEPT:
                self.quarantines.append(Quarantine(path=str(news.path), of_class=news.of_class, at=news.at))
            case "actor.escalated":
                self.escalations += 1

    @property
    def offered(self) -> int:
        """Turns, whoever sent them."""
        return self._house.turns_offered - self._offered

    @property
    def refused(self) -> int:
        return self._house.turns_refused - self._refused

    @property
    def restarts(self) -> dict[str, Any]:
        return {
            "total": self._restarts.total(),
            "by_class": dict(self._restarts.most_common()),
            "most_in_5s": most_within(CROWD, self._times),
        }

    @property
    def dead_letters(self) -> dict[str, int]:
        """New ones by reason."""
        reasons: Counter[str] = Counter()
        for (reason, kind), count in self._letters.items():
            reasons[reason] += count - self._letters_before[reason, kind]
        return dict(+reasons)


def most_within(seconds: float, times: Sequence[float]) -> int:
    """The most of these ascending times that lie within so many seconds."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def spread(values: Sequence[float]) -> Spread:
    if not values:
        return Spread()
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[math.ceil(len(ordered) * share) - 1], 3)

    return Spread(n=len(ordered), p50=at(0.5), p99=at(0.99), max=round(ordered[-1], 3))
