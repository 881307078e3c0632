"""Time, as actors see it. Under a mock clock whole days pass in milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trio


class Clock:
    """Monotonic seconds from trio, and a wall clock that moves with them."""

    def __init__(self) -> None:
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
