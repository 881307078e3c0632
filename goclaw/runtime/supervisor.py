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

    REMOTE: ClassVar[bool] = False
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
        ends_with_all: bool = False,
        max_children: int = 10_000,
    ) -> None:
        """`ends_with_all`: the normal ends of all significant children end us, not the first.

        Raises ValueError for a child that depends on an unknown sibling, or in a circle on itself.
        """
        self.children = in_order(children)
        self.ends_with_all = ends_with_all
        self.strategy = strategy
        self.limit = limit or Limit()
        dynamic = strategy is Strategy.DYNAMIC
        self.on_exhausted = on_exhausted or (Exhausted.QUARANTINE if dynamic else Exhausted.ESCALATE)
        self.max_children = max_children

    async def on_start(self, ctx: Context) -> None:
        family = ctx._cell.family
        family.strategy, family.limit, family.on_exhausted = self.strategy, self.limit, self.on_exhausted
        family.ends_with_all = self.ends_with_all
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
            return Err("UNAVAILABLE", "unavailable", {"reason": "start_failed", "path": str(failed.path)}, True, 1.0)

    @handles
    async def stop_child(self, ctx: Context, ask: StopChild) -> None:
        await ctx.stop_child(ask.address)


def in_order(children: Sequence[Child]) -> list[Child]:
    """As written, but nobody before those it depends on. Raises ValueError for circles and unknown names."""
    waiting = {child.id: child for child in children}
    for child in children:
        if unknown := [name for name in child.depends_on if name not in waiting]:
            raise ValueError(f"{child.id} depends on {unknown[0]}, which is no sibling")
    ordered: list[Child] = []
    while waiting:
        ready = next((c for c in waiting.values() if not any(name in waiting for name in c.depends_on)), None)
        if ready is None:
            raise ValueError(f"{', '.join(waiting)} depend on each other")
        ordered.append(waiting.pop(ready.id))
    return ordered
