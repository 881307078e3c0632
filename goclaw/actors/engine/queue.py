"""The queue's own work: what a dead process left behind, leases, and work nobody rang the bell for.

Address   /engine/queue/keeper
Contract  durability.md §5.2, §9; sessions-lanes-cron.md §9.3, §9.5
"""

from __future__ import annotations

import math
from itertools import groupby

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.living import runs_of
from goclaw.actors.engine.loss import announce_loss, announce_stop
from goclaw.actors.engine.waits import news_of, requeued
from goclaw.domain.address import LOCKS, lane
from goclaw.domain.cluster import HEARD, Missed, Woken
from goclaw.domain.errors import StoreError
from goclaw.domain.locks import KeysFreed
from goclaw.domain.run import LANES, RunsWait, suspected
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.message import LeaseLost, Message
from goclaw.runtime.timers import Timer
from goclaw.stores import cluster, run_claims, run_heads, run_queue, run_recovery, run_replies, run_stops
from goclaw.stores.run_recovery import Cause
from goclaw.stores.runs import Claimed, StaleOwner

REAPER = 10.0  # seconds a node stays the reaper without a word
REAP = 2.0  # seconds between two looks for runs of dead owners; durability.md §5.2
EMPTY = 10  # looks that found nothing until there are fewer of them; durability.md §10 W4
SOON = 0.05  # seconds after which a bell is heeded: those that ring meanwhile cost no look of their own
STRETCHED = 1.0  # seconds between these, ± 20 %
SHARE = 10  # a look is followed by a pause of so many times as long as it took
COUNT = 5.0  # seconds between two counts of all runs


class Look(Message[None]):
    """Is there work nobody told a lane of?"""


class Count(Message[None]):
    """How many runs are where, for the figures."""


class Renew(Message[None]):
    """Prolong the leases of what we run."""


class Reap(Message[None]):
    """Take over what a dead owner left."""


class QueueKeeper(Actor):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.own = engine.ownership
        self.recovered = 0
        self.empty = 0  # looks in a row that found nothing
        self.next: Timer | None = None  # look
        self.next_at = 0.0  # monotonic seconds
        self.took = 0.0  # seconds, the last look
        self.doubtful: set[Address] = set()  # runs whose lease was not ours at the last renewal

    async def on_start(self, ctx: Context) -> None:
        """What older incarnations of this node left is recovered at once: nobody else may do it as soon."""
        await self._recover(ctx, own=True)
        for head in await ctx.db(run_heads.mend):
            ctx.system.meter.count("head_repair_total")
            ctx.log.error("head.mended", session=head.session_key, queued=head.counted_queued, was=head.queued)
        if self.own.alone:
            await self._hang_up(ctx)
        ctx.join(HEARD)
        self._look_in(ctx, self.engine.queue.poll_ms / 1000)
        ctx.after(0.0, Count())
        ctx.every(self.engine.queue.heartbeat_sec, Renew())
        ctx.every(REAP, Reap())

    async def _hang_up(self, ctx: Context) -> None:
        """Whoever waited on a plain HTTP request is gone with the process that held it."""
        while waiting := await ctx.db(run_recovery.forsaken, node=self.engine.node_id):
            for run in waiting:
                await ctx.db(
                    run_stops.cancel_waiting,
                    tenant=run.tenant_id,
                    key=run.session_key,
                    reason="CLIENT_GONE",
                    runs=[run.run_id],
                )

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        began = ctx.clock.monotonic()
        found = await self._look(ctx)
        self.empty = 0 if found else self.empty + 1
        self.took = ctx.clock.monotonic() - began
        self._look_in(ctx, max(self._pause(ctx), SHARE * self.took))

    @handles
    async def woken(self, ctx: Context, news: Woken) -> None:
        if news.kind == "runs" and not self.own.shards.keys().isdisjoint(news.shards):
            self._look_soon(ctx)

    @handles
    async def missed(self, ctx: Context, _news: Missed) -> None:
        self._look_soon(ctx)

    def _look_soon(self, ctx: Context) -> None:
        """Leases want to be renewed too, so looks take half of the time at most."""
        pause = max(SOON, self.took)
        if self.next is not None and ctx.clock.monotonic() + pause < self.next_at:
            self.next.cancel()
            self._look_in(ctx, pause)

    def _look_in(self, ctx: Context, seconds: float) -> None:
        self.next, self.next_at = ctx.after(seconds, Look()), ctx.clock.monotonic() + seconds

    async def _look(self, ctx: Context) -> bool:
        """Tell the lanes who waits. True if anybody does."""
        if not self.own.held:
            return False
        try:
            found = await ctx.db(run_queue.waiting, shards=self.own.where)
        except StoreError:
            return False  # weather: the next look comes soon
        for name, waiting in groupby(found, lambda row: row.lane):
            ctx.tell(lane(name), RunsWait(found=tuple(map(news_of, waiting))))
        return bool(found)

    def _pause(self, ctx: Context) -> float:
        """Every run that waits is told to its lane by whoever makes it wait, or rung for: a look finds what that
        missed."""
        if (self.own.sole or self.own.listening) and self.empty >= EMPTY:
            return STRETCHED * ctx.rng.uniform(0.8, 1.2)
        return self.engine.queue.poll_ms / 1000

    @handles
    async def count(self, ctx: Context, _tick: Count) -> None:
        ctx.after(COUNT, Count())
        try:
            counts = await ctx.db(run_queue.census)
        except StoreError:
            return
        meter = ctx.system.meter
        meter.forget("runs_state")
        depth: dict[str, int] = dict.fromkeys(LANES, 0)
        for row in counts:
            meter.set("runs_state", row.runs, row.state, row.lane)
            if row.state in ("QUEUED", "RETRY_WAIT"):
                depth[row.lane] = depth.get(row.lane, 0) + row.runs
        for name, runs_waiting in depth.items():
            meter.set("queue_depth", runs_waiting, name)

    @handles
    async def renew(self, ctx: Context, _tick: Renew) -> None:
        """Whoever is missing twice has lost its lease; once, it may just be ending."""
        here = set(runs_of(ctx.system))
        try:
            ours = {one.run_id for one in await ctx.db(run_claims.renew, node=self.engine.node_id)}
        except StoreError as trouble:
            ctx.log.warning("queue.renew_failed", error=str(trouble))
            return
        missing = {run for run in here if run.name not in ours}
        for run in missing & self.doubtful:
            ctx.log.warning("run.lease_lost", run=run.name)
            ctx.tell(run, LeaseLost())
        self.doubtful = missing

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
            return await ctx.db(run_recovery.orphans, node=node, alone=True)
        return await ctx.db(cluster.orphans, node=node, own=own)

    async def _recover(self, ctx: Context, *, own: bool = False) -> None:
        """Runs of dead owners; with `own`, of former lives of this node."""
        enough = ctx.clock.monotonic() + (math.inf if own else REAP)  # our own leases want to be renewed too
        while ctx.clock.monotonic() < enough and (orphans := await self._orphans(ctx, own)):
            for run in orphans:
                # who saw two processes die lets others go first
                suspect = suspected(run.crash_count + 1)
                pause = self.engine.queue.suspect_hold_sec if suspect else 0.0
                cause: Cause = "restart" if own or self.own.alone else "lease"
                try:
                    outcome = await ctx.db(run_replies.recover, run, cause, delay=pause)
                except StaleOwner:
                    continue
                self.recovered += 1
                ctx.system.meter.count("run_lease_expired_total")
                ctx.log.info("run.recovered", run=run.run_id, outcome=outcome)
                if run.keyed:
                    ctx.tell(LOCKS, KeysFreed())
                if outcome == "requeued":
                    ctx.tell(
                        lane(run.lane), requeued(run, suspect=suspect, due_in=pause)
                    )  # it rings, if another node owns it
                elif outcome == "dead":
                    announce_loss(ctx, run)
                else:
                    await announce_stop(ctx, run)

    def snapshot(self) -> dict[str, object]:
        return {"recovered": self.recovered}
