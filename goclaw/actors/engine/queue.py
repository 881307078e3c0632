"""The queue's own work: what a dead process left behind, leases, and work nobody rang the bell for.

Address   /engine/queue/keeper
Contract  durability.md §5.2, §9; sessions-lanes-cron.md §9.3, §9.5
"""

from __future__ import annotations

from itertools import groupby

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.loss import announce_loss
from goclaw.actors.engine.waits import news_of
from goclaw.domain.address import lane
from goclaw.domain.errors import StoreError
from goclaw.domain.run import LANES, RunsWait
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.stores import run_queue, runs
from goclaw.stores.runs import StaleOwner

REAP = 2.0  # seconds between two looks for runs of dead owners; durability.md §5.2
EMPTY = 10  # looks that found nothing until there are fewer of them; durability.md §10 W4
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
    def __init__(self, engine: Engine, *, alone: bool) -> None:
        self.engine = engine
        self.alone = alone  # no other process can be alive on this database, so every other owner is dead
        self.recovered = 0
        self.empty = 0  # looks in a row that found nothing

    async def on_start(self, ctx: Context) -> None:
        await self._reap(ctx)
        if self.alone:
            await self._hang_up(ctx)
        ctx.after(self.engine.queue.poll_ms / 1000, Look())
        ctx.after(0.0, Count())
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
        began = ctx.clock.monotonic()
        try:
            found = await ctx.db(run_queue.waiting)
        except StoreError:
            found = []  # weather: the next look comes soon
        for name, waiting in groupby(found, lambda row: row.lane):
            ctx.tell(lane(name), RunsWait(found=tuple(map(news_of, waiting))))
        self.empty = 0 if found else self.empty + 1
        ctx.after(max(self._pause(ctx), SHARE * (ctx.clock.monotonic() - began)), Look())

    def _pause(self, ctx: Context) -> float:
        """Alone, every run that waits is told to its lane by whoever makes it wait: a look finds what that missed."""
        if self.alone and self.empty >= EMPTY:
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
        try:
            await ctx.db(runs.renew, node=self.engine.node_id)
        except StoreError as trouble:
            ctx.log.warning("queue.renew_failed", error=str(trouble))

    @handles
    async def reap(self, ctx: Context, _tick: Reap) -> None:
        try:
            await self._reap(ctx)
        except StoreError as trouble:
            ctx.log.warning("queue.reap_failed", error=str(trouble))

    async def _reap(self, ctx: Context) -> None:
        while orphans := await ctx.db(runs.orphans, node=self.engine.node_id, alone=self.alone):
            for run in orphans:
                try:
                    outcome = await ctx.db(runs.recover, run)
                except StaleOwner:
                    continue
                self.recovered += 1
                ctx.system.meter.count("run_lease_expired_total")
                ctx.log.info("run.recovered", run=run.run_id, outcome=outcome)
                if outcome != "requeued":
                    announce_loss(ctx, run)

    def snapshot(self) -> dict[str, object]:
        return {"recovered": self.recovered}
