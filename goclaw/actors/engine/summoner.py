"""Has agents' files written: finds summonings that nobody works on and lets a child do each of them.

Address   /engine/summoning/summoner
Contract  agent-loop.md §19.6

A summoning is a row with a lease: whoever dies leaves it to the next look, and nobody is `summoning` for ever.
"""

from __future__ import annotations

from typing import Any

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.writing import Writing, tell
from goclaw.domain.agent import AGENTS, AgentChanged
from goclaw.domain.errors import StoreError
from goclaw.domain.summoning import Summon, Unsummon
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Exhausted, Restart, child
from goclaw.runtime.message import ChildEnded, Message
from goclaw.runtime.supervisor import Supervisor
from goclaw.stores import summonings
from goclaw.stores.summonings import LEASE, Summoning

POLL = 5.0  # seconds between two looks that nobody asked for
AT_ONCE = 4
ATTEMPTS = 3  # lives a summoning may take; more mean that it kills them


class Renew(Message[None]):
    """Keep what we work on."""


class Summoner(Actor):
    weather = (StoreError,)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.working: dict[Address, Summoning] = {}

    async def on_start(self, ctx: Context) -> None:
        self.fresh = True  # what a former process left behind need not wait for its lease
        ctx.tell(ctx.address, Summon())
        ctx.every(POLL, Summon())
        ctx.every(LEASE / 3, Renew())

    @handles
    async def look(self, ctx: Context, _news: Summon) -> None:
        free = AT_ONCE - len(self.working)
        if free <= 0:
            return
        try:
            alone = self.fresh and self.engine.ownership.alone
            but = [of.agent_id for of in self.working.values()]
            found = await ctx.db(summonings.claim, most=free, alone=alone, but=but)
            self.fresh = False
            for of in found:
                if of.attempts > ATTEMPTS:
                    await self._give_up(ctx, of)
                else:
                    made = Child(f"{of.agent_id}.{of.fence}", Writing, (of, self.engine), restart=Restart.TEMPORARY)
                    self.working[ctx.child(made)] = of
        except StoreError as outage:
            ctx.log.warning("summoner.not_looked", error=str(outage))

    @handles
    async def renew(self, ctx: Context, _tick: Renew) -> None:
        for address, of in list(self.working.items()):
            try:
                ours = await ctx.db(summonings.renew, of)
            except StoreError:
                return  # weather: the lease holds for two more looks
            if not ours:
                await self._stop(ctx, address)

    @handles
    async def unsummon(self, ctx: Context, ask: Unsummon) -> None:
        for address, of in list(self.working.items()):
            if of.agent_id == ask.agent_id:
                await self._stop(ctx, address)
                tell(ctx, of, "cancelled")

    @handles
    async def child_ended(self, ctx: Context, news: ChildEnded) -> None:
        """One that crashed is taken again when its lease is over."""
        self.working.pop(news.address, None)
        ctx.tell(ctx.address, Summon())

    async def _give_up(self, ctx: Context, of: Summoning) -> None:
        error = f"interrupted {ATTEMPTS} times"
        if await ctx.db(summonings.fail, of, error=error):
            ctx.publish(AGENTS, AgentChanged(tenant_id=of.tenant_id))
            tell(ctx, of, "failed", error=error)

    async def _stop(self, ctx: Context, address: Address) -> None:
        self.working.pop(address, None)
        await ctx.stop_child(address)

    def snapshot(self) -> dict[str, Any]:
        return {"working": [of.agent_key for of in self.working.values()]}


def summoning(engine: Engine) -> Supervisor:
    rests = Exhausted.QUARANTINE  # who waits for files waits in the table
    return Supervisor([child("summoner", Summoner, engine, on_exhausted=rests)])
