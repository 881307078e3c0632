"""What a session asks of the queue before and after it takes a turn in: is there room, and how long will it be.

Contract: sessions-lanes-cron.md §4 (L4.6, L4.8), §9.4; edge-websocket.md §8.2.
"""

from __future__ import annotations

from typing import Literal

from goclaw.domain.address import lane
from goclaw.domain.errors import Rejected, exhausted
from goclaw.domain.run import KINDS, GetOutlook, Outlook, RunKind
from goclaw.runtime.actor import Context
from goclaw.runtime.faults import RuntimeFault
from goclaw.settings.queue import Queue
from goclaw.stores import run_queue

AGAIN = 1.0  # seconds; L4.6
PATIENCE = 0.5  # seconds a lane has to say how long it will be

Policy = Literal["old", "new", "intake"]


async def room_for(ctx: Context, queue: Queue, *, tenant: str, user: str, kind: RunKind) -> None:
    """Asked before a turn that has to wait is stored. Raises `Rejected` queue_full when too many of its tenant or
    user wait already; as many as are accepted at the same moment may be too many."""
    crowd = await ctx.db(
        run_queue.crowd, tenant=tenant, user=user, most=queue.max_depth, most_of_user=queue.max_depth_per_user
    )
    if crowd.tenant >= queue.max_depth or crowd.user >= queue.max_depth_per_user:
        dropped(ctx, kind, "intake")
        raise Rejected(exhausted("queue_full", AGAIN))


def dropped(ctx: Context, kind: RunKind, policy: Policy, turns: int = 1) -> None:
    """Count turns that were refused or gave way."""
    ctx.system.meter.count("queue_dropped_total", policy, by=turns)
    ctx.system.meter.count("lane_dropped_total", KINDS[kind].lane, by=turns)


async def expectation(ctx: Context, kind: RunKind, before: int) -> dict[str, int]:
    """The members of run.queued for a turn with so many `before` it in its session.

    `position` counts turns that come first, in the session or the lane, whichever are more; `estimateMs` is how
    long they take, left out while nobody knows. A lane that is busy with something else costs the estimate.
    """
    try:
        outlook = await ctx.ask(lane(KINDS[kind].lane), GetOutlook(priority=KINDS[kind].priority), within=PATIENCE)
    except RuntimeFault:
        outlook = Outlook(ahead=0, rounds=0.0)
    members = {"position": max(before, outlook.ahead)}
    if outlook.mean is not None:
        members["estimateMs"] = int(1000 * outlook.mean * max(before, outlook.rounds))
    return members
