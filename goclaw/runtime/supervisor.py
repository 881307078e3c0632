"""Supervisors: actors whose only work is the life of their children. Contract: supervision.md §8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Exhausted, Limit, Strategy
from goclaw.runtime.faults import AlreadyRegistered, Err, Rejected, StartFailed, capacity
from goclaw.runtime.message import Message


class StartChild(Message[Address]):
    """Add a child to a dynamic supervisor. Answered when it runs.

    Refused with `capacity` when full, with ALREADY_EXISTS, and with `start_failed` or what `on_start` refused.
    """

    child: Child


class StopChild(Message[None]):
    """Stop and remove a child. Answered when it is gone; nothing happens if it is gone already."""

    address: Address


class Supervisor(Actor):
    """A table of contents of a branch: children in start order, and who is restarted with whom.

    Start is sequential; a child that does not come up stops its started siblings in reverse and fails the start.
    """

    start_within: ClassVar[float] = float("inf")  # the sum of the children's own budgets
    supervises: ClassVar[bool] = True

    def __init__(
        self,
        children: Sequence[Child] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        limit: Limit | None = None,
        on_exhausted: Exhausted | None = None,
        max_children: int = 10_000,
    ) -> None:
        self.children = children
        self.strategy = strategy
        self.limit = limit or Limit()
        dynamic = strategy is Strategy.DYNAMIC
        self.on_exhausted = on_exhausted or (Exhausted.QUARANTINE if dynamic else Exhausted.ESCALATE)
        self.max_children = max_children

    async def on_start(self, ctx: Context) -> None:
        family = ctx._cell.family
        family.strategy, family.limit, family.on_exhausted = self.strategy, self.limit, self.on_exhausted
        for child in self.children:  # if one fails, the crash of our start stops its siblings
            await family.start(child)

    @handles
    async def start_child(self, ctx: Context, ask: StartChild) -> Address | Err:
        family = ctx._cell.family
        if len(family.cells) >= self.max_children:
            return capacity()
        try:
            return (await family.start(ask.child)).address
        except AlreadyRegistered as taken:
            return Err("ALREADY_EXISTS", "already_exists", {"kind": "actor", "id": str(taken)})
        except StartFailed as failed:  # nothing was added, so nothing is restarted
            if isinstance(failed.cause, Rejected):
                return failed.cause.err
            return Err("UNAVAILABLE", "unavailable", {"reason": "start_failed", "path": failed.path}, True, 1.0)

    @handles
    async def stop_child(self, ctx: Context, ask: StopChild) -> None:
        await ctx.stop_child(ask.address)
