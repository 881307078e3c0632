"""Hears what other nodes ring, and holds the lock by which they see that we live.

Address   /infra/cluster/listener
Contract  durability.md §10 (W2, W5), §12.4; supervision.md §12
"""

from __future__ import annotations

import trio

from goclaw.domain.cluster import HEARD, Missed, Ownership, Woken, advisory_key
from goclaw.domain.errors import StoreError
from goclaw.runtime.actor import Actor, Context
from goclaw.stores.listener import listen
from goclaw.stores.wake import CHANNEL, heard

FIRST, LONGEST = 0.2, 5.0  # seconds between two tries to connect


class Listener(Actor):
    def __init__(self, node_id: str, dsn: str, ownership: Ownership) -> None:
        self.node_id = node_id
        self.dsn = dsn
        self.own = ownership
        self.woken = 0

    async def live(self, ctx: Context) -> None:
        pause = FIRST
        while True:
            try:
                async with listen(self.dsn, CHANNEL, lock=advisory_key(self.node_id)) as notes:
                    self.own.listening, pause = True, FIRST
                    ctx.publish(HEARD, Missed())
                    async for note in notes:
                        self._hear(ctx, note.payload)
            except StoreError as trouble:
                if self.own.listening:
                    ctx.log.warning("listener.lost", error=str(trouble))
            finally:
                self.own.listening = False
            await trio.sleep(pause * ctx.rng.uniform(0.8, 1.2))
            pause = min(LONGEST, pause * 2)

    def _hear(self, ctx: Context, payload: str) -> None:
        wake = heard(payload)
        if wake is not None and wake.n != self.node_id:
            self.woken += 1
            ctx.publish(HEARD, Woken(kind=wake.k, shards=wake.s, topics=wake.t))

    def snapshot(self) -> dict[str, object]:
        return {"listening": self.own.listening, "woken": self.woken}
