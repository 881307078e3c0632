"""Keeps a provider running for each row that operators added: these win over configured ones of the same name.

Address   /engine/roster
Contract  providers.md §3 P3.1, P3.9
"""

from __future__ import annotations

from collections.abc import Mapping

from goclaw.actors.engine.added import Added, AddedProgram, Opening, holder
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import provider, provider_id
from goclaw.domain.cluster import Ownership
from goclaw.domain.errors import Rejected, StoreError
from goclaw.domain.model import PROVIDERS, Changed, LookAtProviders, ProvidersChanged
from goclaw.providers.account import login
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, child
from goclaw.runtime.supervisor import StartChild, StopChild
from goclaw.settings.providers import PROGRAMS
from goclaw.stores import providers as stored
from goclaw.stores.providers import Written

SUPERVISOR = Address("engine", "providers")
ELSEWHERE = 2.0  # seconds until rows that another node wrote are seen; security.md §8.3
AGAIN = 1.0  # seconds between two looks at a store that is away
LADDER, USUAL = 15.0, 5.0  # seconds an orderly end of programs, and of all else, may take
WITHIN = 30.0  # seconds a child has to start or stop


class Roster(Actor):
    """`configured` are the vendors of the file, which come back when the row that stood in their place goes."""

    def __init__(self, opening: Opening, configured: Mapping[str, Child], own: Ownership) -> None:
        self.opening = opening
        self.configured = configured
        self.own = own
        self.running: dict[Address, Written] = {}

    async def on_start(self, ctx: Context) -> None:
        await self._look(ctx)
        if not self.own.alone:
            ctx.every(ELSEWHERE, LookAtProviders())

    @handles
    async def look(self, ctx: Context, ask: LookAtProviders) -> None:
        await self._look(ctx)

    async def _look(self, ctx: Context) -> None:
        try:
            rows = await ctx.db(stored.written)
        except StoreError as outage:
            ctx.log.warning("providers.unread", error=str(outage))
            ctx.after(AGAIN, LookAtProviders())
            return
        wanted = {provider(row.name, row.tenant_id): row for row in rows}
        moved = wanted != self.running
        for address in self.running.keys() - wanted.keys():
            await self._stop(ctx, address, self.running[address])
        for address, row in wanted.items():
            await self._run(ctx, address, row)
        if moved:
            ctx.publish(PROVIDERS, ProvidersChanged())

    async def _run(self, ctx: Context, address: Address, row: Written) -> None:
        known = self.running.get(address)
        if known == row:
            return
        try:
            program = row.provider_type in PROGRAMS
            if known is not None and known.id == row.id and not program:
                await ctx.ask(address, Changed(), within=WITHIN)
            else:
                await ctx.ask(SUPERVISOR, StopChild(address=address), within=WITHIN)
                id, made = provider_id(row.name, row.tenant_id), AddedProgram if program else Added
                started = child(id, made, row.tenant_id, row.name, self.opening, shutdown=LADDER if program else USUAL)
                await ctx.ask(SUPERVISOR, StartChild(child=started), within=WITHIN)
        except Rejected as refusal:  # gone meanwhile, or the store is: the next look shows
            ctx.log.warning("provider.not_started", provider=row.name, reason=refusal.err.details)
            ctx.after(AGAIN, LookAtProviders())
            return
        self.running[address] = row

    async def _stop(self, ctx: Context, address: Address, row: Written) -> None:
        await ctx.ask(SUPERVISOR, StopChild(address=address), within=WITHIN)
        del self.running[address]
        self.opening.known.drop(holder(row.id))
        self.opening.known.drop(login(row.id))
        if row.tenant_id == MASTER_TENANT and row.name in self.configured:
            await ctx.ask(SUPERVISOR, StartChild(child=self.configured[row.name]), within=WITHIN)
