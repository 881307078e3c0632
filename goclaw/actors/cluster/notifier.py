"""Rings for other nodes: collects what changed and says it once per window, after the commits.

Address   /infra/cluster/notifier
Contract  durability.md §10 (W1, W2)
"""

from __future__ import annotations

from goclaw.domain.cluster import MARKS, Marked, Ownership, WakeKind
from goclaw.domain.errors import StoreError
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.stores import wake

WINDOW = 0.01  # seconds; W1
TOPICS = 10_000  # of a window; the rest is found by polling


class Flush(Message[None]):
    """The window is over."""


class Notifier(Actor):
    capacity = 10_000

    def __init__(self, node_id: str, ownership: Ownership) -> None:
        self.node_id = node_id
        self.own = ownership
        self.shards: dict[WakeKind, set[int]] = {}
        self.topics: dict[WakeKind, dict[str, None]] = {}
        self.rung = 0

    async def on_start(self, ctx: Context) -> None:
        ctx.join(MARKS)

    @handles
    async def marked(self, ctx: Context, news: Marked) -> None:
        if self.own.sole and news.kind != "lease":
            return  # nobody listens; a node that joins looks everywhere first
        if not self.shards:
            ctx.after(WINDOW, Flush())
        shards = self.shards.setdefault(news.kind, set())
        topics = self.topics.setdefault(news.kind, {})
        if news.shard is not None:
            shards.add(news.shard)
        if news.topic and len(topics) < TOPICS:
            topics[news.topic] = None

    @handles
    async def flush(self, ctx: Context, _tick: Flush) -> None:
        shards, topics, self.shards, self.topics = self.shards, self.topics, {}, {}
        for kind in shards:
            for payload in wake.payloads(self.node_id, kind, shards[kind], topics[kind]):
                try:
                    await ctx.db(wake.ring, payload)
                except StoreError:
                    return  # weather: they poll
                self.rung += 1

    def snapshot(self) -> dict[str, object]:
        return {"rung": self.rung}
