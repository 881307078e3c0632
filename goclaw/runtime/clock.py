"""Time, as actors see it. Under a mock clock whole days pass in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import trio

TOLERANCE = 0.05  # seconds our wall clock may be wrong


class Clock:
    """Monotonic seconds from trio, and a wall clock that moves with them."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._ahead = wall() - steady()
        self._started_at = datetime.now(UTC)
        self._zero = trio.current_time()
        self._epoch_ms = int(self._started_at.timestamp() * 1000)

    def monotonic(self) -> float:
        return trio.current_time()

    def now(self) -> datetime:
        """Aware, UTC."""
        return self.at(trio.current_time())

    def epoch_ms(self) -> int:
        """Milliseconds since 1970. Cheap: for stamps of events."""
        return self._epoch_ms + int((trio.current_time() - self._zero) * 1000)

    def at(self, monotonic: float) -> datetime:
        """The wall time of a monotonic instant."""
        return self._started_at + timedelta(seconds=monotonic - self._zero)

    def set_right(self) -> float:
        """Follow the machine's clock where somebody moved it, or it slept. By how many seconds it was wrong."""
        ahead = self._wall() - self._steady()
        moved = ahead - self._ahead
        if abs(moved) < TOLERANCE:
            return 0.0
        self._ahead = ahead
        self._started_at += timedelta(seconds=moved)
        self._epoch_ms = int(self._started_at.timestamp() * 1000)
        return moved
