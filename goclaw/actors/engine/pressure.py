"""How long a lane keeps its runs waiting, and which work stops first when that is too long.

Contract: durability.md §11 (saturation); sessions-lanes-cron.md §4 (L4.8).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from goclaw.actors.engine.lane_news import Pressed, tell_lanes
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.events import Saturation, of_operators
from goclaw.domain.run import SATURATED, Lane
from goclaw.runtime.actor import Context

WINDOW = 60.0  # seconds a figure looks back
SAMPLES = 4096  # claims remembered of them
TOO_LONG = 30.0  # seconds, of the 95th percentile
STEP = 60.0  # seconds it lasts before the first work stops, and from there to the next
HELD = (-1, 1, 2, 3)  # base priorities up to here are not claimed: autolearn and autonomy, then heartbeat, then cron


class Pressure:
    def __init__(self) -> None:
        self._claims: deque[tuple[float, float]] = deque(maxlen=SAMPLES)  # when, and how long it had waited
        self._runs: deque[float] = deque(maxlen=64)  # seconds of the last runs
        self._since: float | None = None  # when it became too much
        self.level = 0  # 0 = fine, then how many kinds of work stopped
        self.p50 = self.p95 = 0.0

    def claimed(self, now: float, waited: float) -> None:
        self._claims.append((now, waited))

    def ended(self, seconds: float) -> None:
        self._runs.append(seconds)

    @property
    def mean(self) -> float | None:
        """Seconds a run takes here, lately; None if nobody knows yet."""
        return sum(self._runs) / len(self._runs) if self._runs else None

    def measure(self, now: float, waiting: Iterable[float]) -> int:
        """Look again, at claims of the last minute and at those who still wait: seconds, each. The new level."""
        while self._claims and self._claims[0][0] < now - WINDOW:
            self._claims.popleft()
        waits = sorted([*(waited for _, waited in self._claims), *waiting])
        self.p50, self.p95 = _share(waits, 0.5), _share(waits, 0.95)
        if self.p95 <= TOO_LONG:
            self._since = None
            self.level = 0
        else:
            self._since = now if self._since is None else self._since
            self.level = min(len(HELD) - 1, int((now - self._since) // STEP))
        return self.level


def tell_pressure(ctx: Context, lane: Lane, pressure: Pressure, queued: int) -> None:
    """Operators and all lanes of the node: it is another level."""
    level, p95 = pressure.level, pressure.p95
    ctx.log.warning("lane.pressure", level=level, wait_p95=round(p95, 1), waiting=queued)
    if level:
        ctx.join(SATURATED)
    else:
        ctx.leave(SATURATED)
    ctx.publish(of_operators(MASTER_TENANT), Saturation(lane=lane, level=level, wait_p95=p95, queued=queued))
    tell_lanes(ctx, Pressed(lane=lane, level=level))


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
