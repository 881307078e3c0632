"""Forgets what is old: once an hour, on one node of all, a batch at a time.

Address   /infra/retention
Contract  data-model.md §18; durability.md §15
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Any

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.activity import RecordActivity
from goclaw.domain.address import ACTIVITY
from goclaw.domain.errors import StoreError
from goclaw.domain.ids import new_id
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.runtime.values import FrozenMap
from goclaw.settings.retention import Retention
from goclaw.stores import cluster, retention
from goclaw.stores.retention import Rule, rules
from goclaw.stores.trim import TRIMMED

MINUTE = 17  # of every hour
PAUSE = 0.05  # seconds between two batches
LEASE = 60.0  # seconds; every batch prolongs it


class Tend(Message[None]):
    """The trail of runs needs weeks ahead, also before the first pass."""


class Begin(Message[None]):
    """It is minute 17."""


class Next(Message[None]):
    """One more batch."""


class RetentionKeeper(Actor):
    def __init__(self, node_id: str, settings: Retention) -> None:
        self.node_id = node_id
        self.settings = settings
        self.left: deque[Rule] = deque()  # of this pass
        self.removed = 0  # rows by the rule in hand
        self.last: dict[str, int] = {}  # rows by table, in the last pass
        self.passes = 0

    async def on_start(self, ctx: Context) -> None:
        """A pass that a crash cut short is made up for by the next."""
        ctx.tell(ctx.address, Tend())
        ctx.after(until_minute(ctx.clock.now()), Begin())

    @handles
    async def tend(self, ctx: Context, _go: Tend) -> None:
        try:
            if await self._lead(ctx):
                await self._weeks(ctx)
        except StoreError as trouble:
            ctx.log.warning("retention.failed", table="run_events", error=str(trouble))

    @handles
    async def begin(self, ctx: Context, _tick: Begin) -> None:
        ctx.after(until_minute(ctx.clock.now()), Begin())
        try:
            if not await self._lead(ctx):
                return
            self.last = {}
            await self._weeks(ctx)
            self._removed(
                ctx,
                "run_events",
                await ctx.db(retention.drop_weeks, days=self.settings.task_events_days),
                self.settings.task_events_days,
            )
        except StoreError as trouble:
            ctx.log.warning("retention.failed", table="run_events", error=str(trouble))
        self.left = deque(rules(self.settings))
        ctx.tell(ctx.address, Next())

    @handles
    async def next(self, ctx: Context, _tick: Next) -> None:
        if not self.left:
            self.passes += 1
            return
        rule = self.left[0]
        try:
            if not await self._lead(ctx):
                self.left.clear()
                return
            gone = await ctx.db(retention.forget, rule)
        except StoreError as trouble:  # the others may fare better
            ctx.log.warning("retention.failed", table=rule.name, error=str(trouble))
            gone = 0
        self.removed += gone
        if gone < TRIMMED:
            self._removed(ctx, rule.name, self.removed, rule.days)
            self.removed = 0
            self.left.popleft()
        ctx.after(PAUSE, Next())

    async def _lead(self, ctx: Context) -> bool:
        return await ctx.db(cluster.take_name, name="retention", node=self.node_id, ttl=LEASE) is not None

    async def _weeks(self, ctx: Context) -> None:
        if made := await ctx.db(retention.make_weeks):
            ctx.log.info("retention.weeks", made=made)

    def _removed(self, ctx: Context, table: str, rows: int, days: float) -> None:
        """One line of the audit for every rule that found something."""
        if rows == 0:
            return
        self.last[table] = self.last.get(table, 0) + rows
        ctx.log.info("retention.pass", table=table, rows=rows)
        details = FrozenMap({"table": table, "rows": rows, "older_than": f"{days:g}d"})
        line = RecordActivity(
            id=new_id(),
            at=ctx.clock.now(),
            tenant_id=MASTER_TENANT,
            actor_type="system",
            actor_id="retention",
            action="retention.pass",
            entity_type="table",
            entity_id=table,
            details=details,
        )
        ctx.tell(ACTIVITY, line)

    def snapshot(self) -> dict[str, Any]:
        return {"passes": self.passes, "removed": self.last, "left": len(self.left)}


def until_minute(now: datetime, minute: int = MINUTE) -> float:
    """Seconds to the next minute 17, or another one."""
    due = now.replace(minute=minute, second=0, microsecond=0)
    return ((due if due > now else due + timedelta(hours=1)) - now).total_seconds()
