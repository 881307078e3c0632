"""Which sessions are ours: takes shards that should be here, hands on those that should not.

Address   /infra/cluster/shard_owner
Contract  durability.md §12.1, §12.3

A run that has begun stays where it is: its own lease and fence protect it. What moves is the right to claim.
"""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.cluster import HEARD, MARKS, Lease, Marked, Ownership, Woken
from goclaw.domain.errors import StoreError
from goclaw.domain.placement import Place, desired
from goclaw.operations.context import House
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.stores import cluster, shards
from goclaw.stores.shards import ShardRow

LOOK = 2.0  # seconds between two looks when nobody rings
MOVES = 4  # shards on their way from this node at a time; durability.md §12.3


class Look(Message[None]):
    """Is every shard where it should be?"""


class ShardOwner(Actor):
    def __init__(self, house: House, ownership: Ownership, lease: Lease) -> None:
        self.house = house
        self.own = ownership
        self.lease = lease
        self.moved = 0

    async def on_start(self, ctx: Context) -> None:
        """Before anything is claimed: what is ours by now."""
        await self._look(ctx)
        ctx.join(HEARD)
        ctx.every(LOOK, Look())

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        await self._look(ctx)

    @handles
    async def woken(self, ctx: Context, news: Woken) -> None:
        if news.kind == "lease":
            await self._look(ctx)

    async def _look(self, ctx: Context) -> None:
        if not self.own.held:
            return
        me = self.house.node_id
        try:
            rows = await ctx.db(shards.listed)
            wanted = await self._wanted(ctx, rows)
            take = [row.shard for row in rows if row.free and wanted.get(row.shard) == me]
            give = [row.shard for row in rows if row.node_id == me and wanted.get(row.shard, me) != me]
            moving = sum(row.node_id is None for row in rows)
            give = give if self.house.draining else give[: max(0, MOVES - moving)]
            for shard in give:
                self.own.shards.pop(shard, None)  # nothing more is claimed there, then others may
            if give:
                await ctx.db(shards.give, node=me, shards=give)
            taken = await ctx.db(shards.take, node=me, shards=take, ttl=self.lease.ttl) if take else []
        except StoreError as trouble:
            ctx.log.warning("shards.look_failed", error=str(trouble))
            return
        kept = {row.shard: row.fence for row in rows if row.node_id == me and not row.free and row.shard not in give}
        self.own.shards = kept | {shard.shard: shard.fence for shard in taken}
        self.moved += len(give)
        if taken:
            ctx.log.info("shard.claimed", count=len(taken), owned=len(self.own.shards))
        if give:
            ctx.log.info("shard.moved", count=len(give), owned=len(self.own.shards))
        if taken or give:
            ctx.publish(MARKS, Marked(kind="lease"))

    async def _wanted(self, ctx: Context, rows: Sequence[ShardRow]) -> dict[int, str]:
        """Who should hold each shard; nobody if every living node leaves."""
        nodes = await ctx.db(cluster.living)
        leaving = {self.house.node_id} if self.house.draining else set()
        places = [
            Place(node.node_id, node.capacity) for node in nodes if not node.draining and node.node_id not in leaving
        ]
        return desired(places, {row.shard: row.moving_to for row in rows if row.moving_to})

    def snapshot(self) -> dict[str, object]:
        return {"owned": len(self.own.shards), "moved": self.moved}
