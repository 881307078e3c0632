"""When crashes come in crowds: one bad deploy shows once, not ten thousand times. Contract: supervision.md §8.4."""

from __future__ import annotations

from collections import Counter, deque

PER_SECOND = 20  # crashes within a second that a class may have
SHARE = 0.05  # of the children, crashing for one cause
AT_LEAST = 20  # crashes for one cause, however few children there are
WITHIN = 10.0  # seconds they are counted over
PAUSE = 5.0  # seconds without activations and restarts
PATIENCE = 3  # storms within `MEMORY`, then the supervisor gives up
MEMORY = 300.0


class Storm:
    """Watches the crashes of one dynamic supervisor's children. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.until = 0.0  # nobody starts before
        self._crashes: deque[tuple[float, str]] = deque()
        self._storms: deque[float] = deque()

    @property
    def relentless(self) -> bool:
        """The third storm within five minutes."""
        return len(self._storms) >= PATIENCE

    def last_chance(self, now: float) -> bool:
        """One more storm now would be the third."""
        return sum(at > now - MEMORY for at in self._storms) >= PATIENCE - 1

    def crash(self, now: float, fingerprint: str, children: int) -> bool:
        """Count a crash among so many children. True when a storm begins with it."""
        crashes = self._crashes
        crashes.append((now, fingerprint))
        while crashes[0][0] <= now - WITHIN:
            crashes.popleft()
        if now < self.until or not self._too_many(now, fingerprint, children):
            return False
        self.until = now + PAUSE
        crashes.clear()
        self._storms.append(now)
        while self._storms[0] <= now - MEMORY:
            self._storms.popleft()
        return True

    def _too_many(self, now: float, fingerprint: str, children: int) -> bool:
        if len(self._crashes) <= PER_SECOND:
            return False
        lately = sum(at > now - 1.0 for at, _ in self._crashes)
        alike = Counter(cause for _, cause in self._crashes)[fingerprint]
        return lately > PER_SECOND or (alike > AT_LEAST and alike > SHARE * children)
