"""This node's own lease: proves that we live, and notices when we cannot.

Address   /infra/cluster/node_lease
Contract  durability.md §9.2 (4, 5), §12.4, §12.5
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import trio

from goclaw.actors.engine.living import runs_of
from goclaw.domain.cluster import HEARD, MARKS, Lease, Marked, Ownership, Woken
from goclaw.domain.errors import StoreError
from goclaw.operations.context import House
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import LeaseLost, Message
from goclaw.stores import cluster
from goclaw.stores.cluster import Renewed

LOOK = 1.0  # seconds between two looks at the age of the lease, and between two tries when one failed
PATIENCE = 60.0  # seconds in quarantine until the process gives up; durability.md §12.5


class Beat(Message[None]):
    """How old is our lease?"""


@dataclass(frozen=True)
class Membership:
    """Who we are among the nodes, and the two ways out of the process."""

    house: House
    ownership: Ownership
    url: str
    capacity: int
    lease: Lease
    drain: Callable[[], None]  # end as after SIGTERM
    give_up: Callable[[], None]  # end with exit code 75, so that the init system starts a clean process


class Node(Actor):
    def __init__(self, membership: Membership) -> None:
        self.me = membership
        self.house, self.own, self.lease = membership.house, membership.ownership, membership.lease
        self.renewed = 0.0  # monotonic seconds of the last renewal, taken before it was sent
        self.lost_at: float | None = None  # since when we are in quarantine
        self.leaving = False  # somebody asked us to, and we do
        self.over = False  # we gave up
        self.incarnation = 0

    async def on_start(self, ctx: Context) -> None:
        await self._join(ctx)
        ctx.join(HEARD)
        ctx.every(LOOK, Beat())

    async def on_stop(self, ctx: Context, reason: str) -> None:
        """What we hold is free at once; without a database it is free when our lease is over."""
        try:
            await ctx.db(cluster.leave, node=self.house.node_id)
        except StoreError:
            return
        ctx.publish(MARKS, Marked(kind="lease"))

    @handles
    async def beat(self, ctx: Context, _tick: Beat) -> None:
        if self.over:
            return
        if ctx.clock.monotonic() - self.renewed >= self.lease.renew - LOOK / 2:
            await self._renew(ctx)

    @handles
    async def woken(self, ctx: Context, news: Woken) -> None:
        if news.kind == "lease" and not self.over:
            await self._renew(ctx)

    async def _join(self, ctx: Context) -> None:
        began = ctx.clock.monotonic()
        joined = await ctx.db(
            cluster.join,
            node=self.house.node_id,
            name=self.house.node_name,
            url=self.me.url,
            version=self.house.version,
            pid=os.getpid(),
            capacity=self.me.capacity,
            ttl=self.lease.ttl,
            alone=self.own.alone,
        )
        self.incarnation = joined.incarnation
        self._trust(ctx, began)
        ctx.log.info("node.joined", node=self.house.node_id, name=self.house.node_name, incarnation=joined.incarnation)
        ctx.publish(MARKS, Marked(kind="lease"))

    async def _renew(self, ctx: Context) -> None:
        self._judge(ctx)  # first: after a long pause nobody may write in the meantime
        if not self.over:
            await self._try(ctx)
            self._judge(ctx)

    async def _try(self, ctx: Context) -> None:
        began = ctx.clock.monotonic()
        renewed: Renewed | None = None
        with trio.move_on_after(self.lease.renew) as limit:
            try:
                renewed = await ctx.db(
                    cluster.renew,
                    node=self.house.node_id,
                    ttl=self.lease.ttl,
                    draining=self.house.draining,
                    load={"runs": len(runs_of(ctx.system))},
                )
            except StoreError as trouble:
                ctx.log.warning("node.not_renewed", error=str(trouble))
                return
        if limit.cancelled_caught:
            ctx.log.warning("node.not_renewed", error="no answer in time")
        elif renewed is None:
            await self._lost(ctx)
        else:
            self._keep(ctx, renewed, began)

    def _keep(self, ctx: Context, renewed: Renewed, began: float) -> None:
        if not self.own.alone:  # a shard that was taken is no longer ours; one that was given stays with us
            fences = {held.shard: held.fence for held in renewed.shards}
            self.own.shards = {shard: fence for shard, fence in self.own.shards.items() if fences.get(shard) == fence}
        self._trust(ctx, began)
        if renewed.draining and not self.leaving and not self.house.draining:
            self.leaving = True
            ctx.log.info("node.drain_asked")
            self.me.drain()

    def _trust(self, ctx: Context, began: float) -> None:
        self.renewed = began
        if self.lost_at is not None:
            self.lost_at = None
            ctx.log.info("node.trusted_again")
        self.own.held = True

    def _judge(self, ctx: Context) -> None:
        """Without a renewal for ⅔ of the lease we start nothing more, before others take what we have."""
        if self.own.alone or self.over:
            return
        now = ctx.clock.monotonic()
        if self.lost_at is None and now - self.renewed >= self.lease.quarantine:
            self.lost_at = now
            self.own.held = False
            self.own.met += 1
            ctx.log.warning("node.quarantined", seconds=round(now - self.renewed, 1))
        elif self.lost_at is not None and now - self.lost_at >= PATIENCE:
            ctx.log.error("node.gave_up", seconds=round(now - self.renewed, 1))
            self._give_up()

    def _give_up(self) -> None:
        self.over = True
        self.me.give_up()

    async def _lost(self, ctx: Context) -> None:
        """Others took us for dead. Our runs are theirs; a process of our name has our place, or we begin again."""
        self.own.held = False
        self.own.met += 1
        self.own.shards = {}
        for run in runs_of(ctx.system):
            ctx.tell(run, LeaseLost())
        try:
            replaced = await ctx.db(cluster.replaced, node=self.house.node_id)
            ctx.log.warning("node.lost", replaced=replaced)
            if replaced:
                self._give_up()
            else:
                await self._join(ctx)
        except StoreError as trouble:
            ctx.log.warning("node.not_renewed", error=str(trouble))

    def snapshot(self) -> dict[str, object]:
        return {
            "name": self.house.node_name,
            "incarnation": self.incarnation,
            "held": self.own.held,
            "peers": self.own.peers,
            "shards": 256 if self.own.alone else len(self.own.shards),
        }
