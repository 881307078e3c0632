"""Everything that waits for its time, delayed messages and deadlines of asks: one heap, one task."""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import trio

from goclaw.runtime.message import Envelope, Message, Told

if TYPE_CHECKING:
    from goclaw.runtime.cell import Cell

AGAIN = 0.1  # seconds until a delayed message that found its mailbox full tries again
SPARE = 1024  # entries, over ones included, before the heap is cleared of them


class Timed(Protocol):
    """Has a time, unless it is over before."""

    over: bool

    def due(self, now: float) -> None: ...


class Timers:
    """All timers of a system."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._order = count()
        self._room = SPARE
        self._sleep = trio.CancelScope()

    def at(self, when: float, item: Timed) -> None:
        """Call `item.due` at `when`, monotonic seconds, unless it is over by then."""
        heap = self._heap
        if len(heap) >= self._room:  # asks are mostly answered long before their deadline
            heap[:] = [entry for entry in heap if not entry[2].over]
            heapq.heapify(heap)
            self._room = max(SPARE, 2 * len(heap))
        heapq.heappush(heap, (when, next(self._order), item))
        if heap[0][2] is item:
            self._sleep.deadline = when

    async def run(self) -> None:
        heap = self._heap
        while True:
            now = trio.current_time()
            while heap and (heap[0][2].over or heap[0][0] <= now):
                item = heapq.heappop(heap)[2]
                if not item.over:
                    item.due(now)
            with trio.CancelScope(deadline=heap[0][0] if heap else math.inf) as self._sleep:
                await trio.sleep_forever()


class Timer:
    """A message its actor sends itself later. At most one tick of it waits in the mailbox at a time.

    It ends with the incarnation that set it.
    """

    __slots__ = ("_cell", "_message", "_period", "_queued", "at", "over")

    def __init__(self, cell: Cell, message: Message[Any], period: float | None, at: float) -> None:
        if period is not None and period <= 0:
            raise ValueError(f"a period of {period} seconds")
        self.over = False
        self.at = at  # monotonic seconds of its first tick
        self._cell = cell
        self._message = message
        self._period = period
        self._queued = False

    def cancel(self) -> None:
        """No tick is handled after this. Cancelling twice is the same as once."""
        self.over = True
        if self._cell.timers is not None:
            self._cell.timers.discard(self)

    def due(self, now: float) -> None:
        told = Told.ACCEPTED
        if not self._queued:
            self._queued = True
            told = self._cell.deliver(Tick(self, self._message))
        if told is not Told.ACCEPTED:
            self._queued = False
        if told is Told.CLOSED:
            self.cancel()
        elif self._period is not None:
            self._cell.system.timers.at(now + self._period, self)
        elif told is Told.FULL:
            self._cell.system.timers.at(now + AGAIN, self)

    def handled(self) -> bool:
        """Its tick left the mailbox. False if it was cancelled while the tick waited there."""
        self._queued = False
        wanted = not self.over
        if self._period is None:
            self.cancel()
        return wanted


class Tick(Envelope):
    """A timer's message in the mailbox."""

    __slots__ = ("_timer",)

    def __init__(self, timer: Timer, message: Message[Any]) -> None:
        super().__init__(message)
        self._timer = timer

    def left(self) -> bool:
        return self._timer.handled()
