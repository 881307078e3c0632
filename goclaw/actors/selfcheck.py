"""Once after a start: conversations that are too long are made shorter, whatever stopped that before.

Address   /cron/selfcheck
Contract  nodes-autonomy.md §8 step 1
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from goclaw.actors.scheduled import Lead
from goclaw.agent.compaction import LEAST
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.domain.errors import Rejected, StoreError
from goclaw.domain.events import SelfChecked, body, of_admins
from goclaw.domain.session_change import TidySession
from goclaw.runtime.actor import Actor, Context
from goclaw.runtime.faults import RuntimeFault
from goclaw.stores import session_upkeep
from goclaw.stores.session_upkeep import Long

AT_ONCE = 2
SOON = 5.0  # seconds after the start, and between two looks whether it is for us; our decision
TRIES = 6  # the lease of a node that died holds ten seconds
WITHIN = 600.0  # seconds for one: notes, and three tries of a summary


class Selfcheck(Actor):
    def __init__(self, lead: Lead, resting: Callable[[], bool]) -> None:
        self.lead = lead
        self.resting = resting  # the gateway drains
        self.compacted = 0

    async def live(self, ctx: Context) -> None:
        for _ in range(TRIES):
            await trio.sleep(SOON)
            try:
                if await self.lead.held_by_us(ctx):
                    return await self._look(ctx)
            except StoreError as outage:
                ctx.log.warning("selfcheck.not_looked", error=str(outage))

    async def _look(self, ctx: Context) -> None:
        found: list[Long] = await ctx.db(session_upkeep.long, least=LEAST)
        limiter = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for one in found:
                nursery.start_soon(self._tidy, ctx, one, limiter)
        ctx.log.info("selfcheck.done", note="[startup-compaction]", total=len(found), compacted=self.compacted)
        said = SelfChecked(body=body(sessions=len(found), compacted=self.compacted, agents=0))
        ctx.publish(of_admins(MASTER_TENANT), said)

    async def _tidy(self, ctx: Context, one: Long, limiter: trio.CapacityLimiter) -> None:
        async with limiter:
            if self.resting():
                return
            try:
                done = await ctx.ask(session(one.tenant_id, one.session_key), TidySession(), within=WITHIN)
            except (Rejected, RuntimeFault) as trouble:
                ctx.log.info("selfcheck.not_compacted", session=one.session_key, error=str(trouble))
            else:
                self.compacted += not done.skipped

    def snapshot(self) -> dict[str, object]:
        return {"compacted": self.compacted}
