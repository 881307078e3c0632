"""Finds messages that are due and lets a child carry each of them.

Address   /delivery/outbox
Contract  durability.md §7.3, channels.md §2.1

A chat gets its messages one after the other, chats get theirs at once. A platform that does not answer holds up as
many messages as it may have under way, and nobody else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from goclaw.actors.delivery.carrier import Carrier
from goclaw.domain.delivery import Courier, Line, Post
from goclaw.domain.errors import StoreError
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Exhausted, Restart, child
from goclaw.runtime.message import ChildEnded, Message
from goclaw.runtime.supervisor import Supervisor
from goclaw.stores import outbox
from goclaw.stores.outbox import Waiting

POLL = 2.0  # seconds between two looks that nobody asked for
COUNT = 10.0  # seconds between two counts of what waits
AT_ONCE = 8  # messages under way to one channel instance


class Look(Message[None]):
    """Claim what is due."""


class Count(Message[None]):
    """See how much waits, and for how long."""


class Outbox(Actor):
    def __init__(
        self, node_id: str, couriers: Mapping[Line, Courier], alone: bool, barred: Sequence[Path] = ()
    ) -> None:
        self.node_id = node_id
        self.barred = barred  # directories no file is sent from
        self.couriers = couriers  # by tenant and channel instance; they come and go
        self.alone = alone  # no other process can be alive on this database
        self.carrying: dict[Address, Line] = {}
        self.looking = False
        self.waiting: list[Waiting] = []

    async def on_start(self, ctx: Context) -> None:
        self._look_soon(ctx)
        ctx.every(POLL, Post())
        ctx.every(COUNT, Count())

    @handles
    async def post(self, ctx: Context, _news: Post) -> None:
        self._look_soon(ctx)

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        self.looking = False
        busy = Counter(self.carrying.values())
        lines = [(line, AT_ONCE - busy[line]) for line in self.couriers if busy[line] < AT_ONCE]
        if not lines:
            return
        try:
            due = await ctx.db(outbox.claim, node=self.node_id, lines=lines, alone=self.alone)
        except StoreError:
            return  # weather: the next look comes soon
        for delivery in due:
            line = (delivery.tenant_id, delivery.channel_instance)
            if (courier := self.couriers.get(line)) is None:
                continue  # gone meanwhile; the claim runs out
            name = f"{delivery.outbox_id}.{delivery.attempt}"  # one that outlived its claim may still be there
            start = (delivery, courier, self.node_id, self.barred)
            self.carrying[ctx.child(Child(name, Carrier, start, restart=Restart.TEMPORARY))] = line

    @handles
    async def child_ended(self, ctx: Context, news: ChildEnded) -> None:
        """Its chat may have another one. One whose carrier crashed is claimed again when the lease is over."""
        self.carrying.pop(news.address, None)
        self._look_soon(ctx)

    @handles
    async def count(self, ctx: Context, _tick: Count) -> None:
        try:
            self.waiting = await ctx.db(outbox.waiting)
        except StoreError:
            return

    def _look_soon(self, ctx: Context) -> None:
        """Once for all the news that wait in the mailbox."""
        if not self.looking:
            self.looking = True
            ctx.tell(ctx.address, Look())

    def snapshot(self) -> dict[str, Any]:
        lines = {f"{line.tenant_id}/{line.channel_instance}": line.pending for line in self.waiting[:20]}
        oldest = max((line.age for line in self.waiting), default=0.0)
        return {
            "couriers": len(self.couriers),
            "under_way": len(self.carrying),
            "waiting": lines,
            "oldest_s": round(oldest, 1),
        }


def delivery(node_id: str, couriers: Mapping[Line, Courier], *, alone: bool, barred: Sequence[Path] = ()) -> Supervisor:
    rests = Exhausted.QUARANTINE  # what it does not send waits in its table
    return Supervisor([child("outbox", Outbox, node_id, couriers, alone, barred, on_exhausted=rests)])
