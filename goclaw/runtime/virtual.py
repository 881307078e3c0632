"""Virtual actors: addresses that always exist, wake with the first message and sleep when idle.

Contract: supervision.md §10. They are dormant cells (§10.1); a million known ones cost only their rows.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import trio

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import Backoff, Child, Limit, Restart, State, Strategy
from goclaw.runtime.faults import Rejected, StartFailed, capacity
from goclaw.runtime.faults import storm as storm_refusal
from goclaw.runtime.message import Message, Passivate
from goclaw.runtime.supervisor import Supervisor

SWEEP = 5.0  # seconds between two looks for idle actors; R9
PER_SWEEP = 200
BACKOFF = Backoff(longest=5.0)  # R6


class Sweep(Message[None]):
    """Time to passivate who was idle for too long."""


class VirtualCell(Cell):
    """A cell whose actor is made from its address, and whose messages outlive its ends."""

    __slots__ = ()

    perpetual = True

    def make(self) -> Actor:
        return self.spec.start(self.address)

    def unborn(self, error: Exception) -> tuple[str, Exception | None]:
        """Whoever waits is told why (R6). A refusal is no crash; the next message tries again."""
        refusal = error.err if isinstance(error, Rejected) else None
        for envelope in self.mailbox.clear():
            self.undelivered(envelope, "stopped", Rejected(refusal) if refusal else StartFailed(self.address, error))
        return ("normal", None) if refusal else ("crash", error)


class Virtual(Supervisor):
    """A dynamic supervisor whose children need no start: `make(address)` builds one on its first message.

    They live `depth` segments below us. `idle` is in seconds. At `most` active ones the idle 1 % that slept
    longest make room, without being asked: what they know is in the store. If none is idle, the message is
    refused with `capacity`. An `on_start` that raises `Rejected` refuses the messages that waited.
    """

    def __init__(
        self,
        make: Callable[[Address], Actor],
        *,
        idle: float,
        most: int,
        limit: Limit | None = None,
        depth: int = 2,
    ) -> None:
        super().__init__(strategy=Strategy.DYNAMIC, limit=limit, max_children=most)
        self.idle = idle
        self.depth = depth
        self.child = Child("", make, restart=Restart.TRANSIENT, backoff=BACKOFF, dormant=True)  # shared by all

    async def on_start(self, ctx: Context) -> None:
        await super().on_start(ctx)
        ctx.every(SWEEP, Sweep())

    def owns(self, owner: Cell, address: Address) -> bool:
        """`address` is one of ours, whether it is active or not."""
        return owner.state is not State.STOPPING and address.count("/") == owner.address.count("/") + self.depth

    def activate(self, owner: Cell, address: Address) -> Cell:
        """A cell for the first message to `address`. Raises `Rejected` when full."""
        cells, storm = owner.family.cells, owner.family.storm
        if storm is not None and (rest := storm.until - trio.current_time()) > 0:
            raise Rejected(storm_refusal(rest))
        if len(cells) >= self.max_children:
            asleep = (cell for cell in cells.values() if cell.idle)
            longest = heapq.nsmallest(max(1, self.max_children // 100), asleep, key=lambda cell: cell.active_at)
            if not longest:
                raise Rejected(capacity())
            for cell in longest:
                owner.system.happened("actor.stopped", cell, reason="passivated")
                owner.family.remove(cell, "passivated")
        cell = VirtualCell(owner.system, address, self.child, owner)
        owner.family.add(cell)
        cell.begin()
        return cell

    @handles
    def sweep(self, ctx: Context, _tick: Sweep) -> None:
        now = ctx.system.load.now()
        for cell in ctx._cell.family.cells.values():
            if cell.latency is not None and cell.latency.stale(now):
                cell.latency = None
        before = trio.current_time() - self.idle
        old = [cell for cell in ctx._cell.family.cells.values() if cell.active_at <= before and cell.idle]
        for cell in old[:PER_SWEEP]:
            if cell.actor is None:  # it did not come up, or was killed in its sleep: there is nobody to ask
                ctx._cell.family.remove(cell, "passivated")
            else:
                cell.signal(Passivate())
