"""Makes a snapshot of every hour when it is over, and of those that nobody saw the end of.

Address   /infra/usage
Contract  observability.md §14; data-model.md §18
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Any

from goclaw.actors.retention import LEASE, PAUSE, until_minute
from goclaw.domain.errors import StoreError
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.settings.retention import Retention
from goclaw.stores import cluster, usage
from goclaw.stores.usage import BATCH, HOUR, LATE, on_the_hour

MINUTE = 5  # of every hour: what ends late has ended
BACK = 90  # days that are made up for


class Begin(Message[None]):
    """An hour is over, or the gateway starts."""


class Next(Message[None]):
    """Some more hours, or an old day."""


class UsageKeeper(Actor):
    def __init__(self, node_id: str, settings: Retention) -> None:
        self.node_id = node_id
        self.settings = settings
        self.left: deque[datetime] = deque()  # hours of this pass
        self.passes = 0
        self.made = 0  # hours, in all passes
        self.folded = 0  # rows of old hours that became days

    async def on_start(self, ctx: Context) -> None:
        ctx.tell(ctx.address, Begin())

    @handles
    async def begin(self, ctx: Context, _tick: Begin) -> None:
        """The last hours again, for what ended late, and before them whatever has no snapshot, newest first."""
        now = ctx.clock.now()
        ctx.after(until_minute(now, MINUTE), Begin())
        this = on_the_hour(now)
        settled = this - LATE * HOUR
        back = timedelta(days=min(BACK, self.settings.usage_hourly_days))  # what is older may be folded already
        try:
            if not await self._lead(ctx):
                return
            missing = await ctx.db(usage.missing, since=(this - back).replace(hour=0), until=settled)
        except StoreError as trouble:
            ctx.log.warning("usage.failed", error=str(trouble))
            missing = []
        self.left = deque([this - hours * HOUR for hours in range(1, LATE + 1)] + missing)
        ctx.tell(ctx.address, Next())

    @handles
    async def next(self, ctx: Context, _tick: Next) -> None:
        """An outage leaves what is left for the next pass."""
        hours = [self.left.popleft() for _ in range(min(BATCH, len(self.left)))]
        try:
            if not await self._lead(ctx):
                self.left.clear()
                return
            if hours:
                await ctx.db(usage.compute, hours)
                self.made += len(hours)
            elif gone := await ctx.db(usage.fold, days=self.settings.usage_hourly_days):
                self.folded += gone
            else:
                self.passes += 1
                return
        except StoreError as trouble:
            ctx.log.warning("usage.failed", error=str(trouble))
            self.left.clear()
            return
        ctx.after(PAUSE, Next())

    async def _lead(self, ctx: Context) -> bool:
        return await ctx.db(cluster.take_name, name="usage", node=self.node_id, ttl=LEASE) is not None

    def snapshot(self) -> dict[str, Any]:
        return {"passes": self.passes, "hours": self.made, "left": len(self.left), "folded": self.folded}
