"""Watches the other nodes: who is new, who is dead. Whoever is dead is ended, so that its work is free.

Address   /infra/cluster/peers
Contract  durability.md §12.4
"""

from __future__ import annotations

from goclaw.actors.cluster.shards import Look
from goclaw.domain.address import SHARD_OWNER
from goclaw.domain.cluster import HEARD, Lease, Missed, Ownership, Woken
from goclaw.domain.errors import StoreError
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.stores import cluster

WATCH = 2.0  # seconds between two looks


class Watch(Message[None]):
    """Who lives?"""


class Peers(Actor):
    def __init__(self, node_id: str, ownership: Ownership, lease: Lease) -> None:
        self.node_id = node_id
        self.own = ownership
        self.lease = lease
        self.names: dict[str, str] = {}  # of the others, by node id
        self.buried = 0

    async def on_start(self, ctx: Context) -> None:
        ctx.join(HEARD)
        ctx.every(WATCH, Watch())
        await self._watch(ctx)

    @handles
    async def tick(self, ctx: Context, _tick: Watch) -> None:
        await self._watch(ctx)

    @handles
    async def woken(self, ctx: Context, news: Woken) -> None:
        if news.kind == "lease":
            await self._watch(ctx)

    @handles
    async def missed(self, ctx: Context, _news: Missed) -> None:
        await self._watch(ctx)

    async def _watch(self, ctx: Context) -> None:
        if not self.own.held:
            return  # whoever cannot prove its own life judges nobody
        try:
            buried = await ctx.db(cluster.bury, node=self.node_id, early=self.lease.ttl - self.lease.early)
            living = await ctx.db(cluster.living)
        except StoreError:
            return  # weather: the next look comes soon
        names = {node.node_id: node.name for node in living if node.node_id != self.node_id}
        for dead in buried:
            self.buried += 1
            ctx.log.warning("node.lost", node=dead.node_id, name=dead.name, early=dead.early)
        for node_id, name in names.items():
            if node_id not in self.names:
                ctx.log.info("node.joined", node=node_id, name=name)
        changed, self.names = names.keys() != self.names.keys(), names
        self.own.peers = len(names)
        self.own.met += bool(names)
        if changed or buried:
            ctx.tell(SHARD_OWNER, Look())

    def snapshot(self) -> dict[str, object]:
        return {"peers": sorted(self.names.values()), "buried": self.buried}
