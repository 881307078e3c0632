"""The queue's own work: what a dead process left behind, leases, and work nobody rang the bell for.

Address   /engine/queue/keeper
Contract  durability.md §5.2, §9; sessions-lanes-cron.md §9.3, §9.5
"""

from __future__ import annotations

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.lane import announce_loss
from goclaw.domain.address import lane
from goclaw.domain.errors import StoreError
from goclaw.domain.run import RunQueued
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.stores import runs
from goclaw.stores.runs import StaleOwner

REAP = 2.0  # seconds between two looks for runs of dead owners; durability.md §5.2


class Look(Message[None]):
    """Is there work nobody told a lane of?"""


class Renew(Message[None]):
    """Prolong the leases of what we run."""


class Reap(Message[None]):
    """Take over what a dead owner left."""


class QueueKeeper(Actor):
    def __init__(self, engine: Engine, *, alone: bool) -> None:
        self.engine = engine
        self.alone = alone  # no other process can be alive on this database, so every other owner is dead
        self.recovered = 0

    async def on_start(self, ctx: Context) -> None:
        await self._reap(ctx)
        if self.alone:
            await self._hang_up(ctx)
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
        try:
            found = await ctx.db(runs.waiting)
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
                ctx.log.info("run.recovered", run=run.run_id, outcome=outcome)
                if outcome != "requeued":
                    announce_loss(ctx, run)

    def snapshot(self) -> dict[str, object]:
        return {"recovered": self.recovered}
