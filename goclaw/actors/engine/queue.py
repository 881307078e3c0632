"""The queue's own work: what a dead process left behind, leases, and work nobody rang the bell for.

Address   /engine/queue/keeper
Contract  durability.md §5.2, §9; sessions-lanes-cron.md §9.3, §9.5
"""

from __future__ import annotations

import math

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.lane import announce_loss
from goclaw.domain.address import lane
from goclaw.domain.cluster import HEARD, Woken
from goclaw.domain.errors import StoreError
from goclaw.domain.run import RunQueued
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.stores import cluster, runs
from goclaw.stores.runs import Claimed, StaleOwner

REAPER = 10.0  # seconds a node stays the reaper without a word
REAP = 2.0  # seconds between two looks for runs of dead owners; durability.md §5.2


class Look(Message[None]):
    """Is there work nobody told a lane of?"""


class Renew(Message[None]):
    """Prolong the leases of what we run."""


class Reap(Message[None]):
    """Take over what a dead owner left."""


class QueueKeeper(Actor):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.own = engine.ownership
        self.recovered = 0

    async def on_start(self, ctx: Context) -> None:
        """What older incarnations of this node left is recovered at once: nobody else may do it as soon."""
        await self._recover(ctx, own=True)
        if self.own.alone:
            await self._hang_up(ctx)
        ctx.join(HEARD)
        ctx.every(self.engine.queue.poll_ms / 1000, Look())
        ctx.every(self.engine.queue.heartbeat_sec, Renew())
        ctx.every(REAP, Reap())

    async def _hang_up(self, ctx: Context) -> None:
        """Whoever waited on a plain HTTP request is gone with the process that held it."""
        while waiting := await ctx.db(runs.forsaken, node=self.engine.node_id):
            for run in waiting:
                await ctx.db(
                    runs.cancel_waiting,
                    tenant=run.tenant_id,
                    key=run.session_key,
                    reason="CLIENT_GONE",
                    runs=[run.run_id],
                )

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        await self._look(ctx)

    @handles
    async def woken(self, ctx: Context, news: Woken) -> None:
        if news.kind == "runs" and not self.own.shards.keys().isdisjoint(news.shards):
            await self._look(ctx)

    async def _look(self, ctx: Context) -> None:
        if not self.own.held:
            return
        try:
            found = await ctx.db(runs.waiting, shards=None if self.own.alone else list(self.own.shards))
        except StoreError:
            return  # weather: the next look comes soon
        for session in found:
            news = RunQueued(tenant_id=session.tenant_id, session_key=session.session_key)
            ctx.tell(lane(session.lane), news)

    @handles
    async def renew(self, ctx: Context, _tick: Renew) -> None:
        try:
            await ctx.db(runs.renew, node=self.engine.node_id)
        except StoreError as trouble:
            ctx.log.warning("queue.renew_failed", error=str(trouble))

    @handles
    async def reap(self, ctx: Context, _tick: Reap) -> None:
        try:
            if self.own.alone or await self._is_reaper(ctx):
                await self._recover(ctx)
        except StoreError as trouble:
            ctx.log.warning("queue.reap_failed", error=str(trouble))

    async def _is_reaper(self, ctx: Context) -> bool:
        """One node at a time takes over what dead nodes left."""
        if not self.own.held:
            return False
        return await ctx.db(cluster.take_name, name="reaper", node=self.engine.node_id, ttl=REAPER) is not None

    async def _orphans(self, ctx: Context, own: bool) -> list[Claimed]:
        node = self.engine.node_id
        if self.own.alone:
            return await ctx.db(runs.orphans, node=node, alone=True)
        return await ctx.db(cluster.orphans, node=node, own=own)

    async def _recover(self, ctx: Context, *, own: bool = False) -> None:
        """Runs of dead owners; with `own`, of former lives of this node."""
        enough = ctx.clock.monotonic() + (math.inf if own else REAP)  # our own leases want to be renewed too
        while ctx.clock.monotonic() < enough and (orphans := await self._orphans(ctx, own)):
            for run in orphans:
                try:
                    outcome = await ctx.db(runs.recover, run, "restart" if own or self.own.alone else "lease")
                except StaleOwner:
                    continue
                self.recovered += 1
                ctx.log.info("run.recovered", run=run.run_id, outcome=outcome)
                if outcome != "requeued":
                    announce_loss(ctx, run)

    def snapshot(self) -> dict[str, object]:
        return {"recovered": self.recovered}
