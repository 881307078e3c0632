"""Owner of the purses: lets calls reserve what they may cost, in order; tells owners; closes what the dead left.

Address   /engine/policy/budgets
Contract  providers.md §18
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
from msgspec import Struct

from goclaw.domain.budget import (
    CACHE,
    SCOPES,
    BudgetEvent,
    Held,
    Limits,
    LimitsChanged,
    Payer,
    Release,
    Reserve,
    Settled,
    Short,
    Wanted,
    refused,
    shown,
)
from goclaw.domain.cluster import HEARD, Missed, Woken
from goclaw.domain.errors import StoreError, exhausted
from goclaw.domain.events import of_admins, of_user
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.faults import Err
from goclaw.runtime.message import Message
from goclaw.runtime.reply import Reply
from goclaw.settings.budgets import Budgets
from goclaw.stores import budgets as rows
from goclaw.stores import reservations
from goclaw.stores.reservations import REAPED

READ = 60.0  # seconds between two looks at the limits, if nobody rings
REAP = 5.0  # seconds between two looks for what nobody will close
AGAIN = 0.25  # seconds after which those in line look for what other nodes gave back
NOTICE = 1.0  # seconds between two looks who has to be told
WAITING = 10_000  # calls in line

Line = tuple[str, Payer]  # tenant and payer


class Read(Message[None]):
    """Time to read the limits."""


class Reap(Message[None]):
    """Time to look for the dead."""


class Look(Message[None]):
    """Time to see whether those in line can go on."""


class Tell(Message[None]):
    """Time to see who has to be told."""


class Waiter(Struct):
    """A call in line until `until`, in seconds of the clock."""

    wanted: Wanted
    reply: Reply
    until: float


class BudgetsActor(Actor):
    """All that must last is a row; a restart only forgets who stood in line, and they are told."""

    weather = (StoreError,)
    capacity = 20_000

    def __init__(self, limits: Limits, settings: Budgets) -> None:
        self.limits = limits
        self.settings = settings
        self.lines: dict[Line, deque[Waiter]] = {}
        self.spent: set[tuple[str, tuple[Payer, ...]]] = set()  # who paid since the last look
        self.refusals = 0
        self.reaped = 0

    async def on_start(self, ctx: Context) -> None:
        ctx.join(HEARD)
        ctx.tell(ctx.address, Read())
        ctx.tell(ctx.address, Reap())
        ctx.every(READ, Read())
        ctx.every(REAP, Reap())

    # --- limits -------------------------------------------------------------------------------

    @handles
    async def read(self, ctx: Context, _tick: Read) -> None:
        try:
            found = await ctx.db(rows.limits)
        except StoreError as outage:  # what was read last holds on
            ctx.log.warning("budgets.unread", error=str(outage))
            return
        self.limits.replace((row.tenant_id, row.scope, row.key, row.unit, row.mode, row.limited) for row in found)

    @handles
    async def changed(self, ctx: Context, _news: LimitsChanged) -> None:
        await self.read(ctx, Read())
        await self.look(ctx, Look())

    @handles
    async def woken(self, ctx: Context, news: Woken) -> None:
        if news.kind == "cache" and CACHE in news.topics:
            await self.changed(ctx, LimitsChanged())

    @handles
    async def missed(self, ctx: Context, _news: Missed) -> None:
        await self.changed(ctx, LimitsChanged())

    # --- calls --------------------------------------------------------------------------------

    @handles
    async def reserve(self, ctx: Context, ask: Reserve) -> Held | Err:
        wanted = ask.wanted
        line = next((line for payer in wanted.payers if (line := (wanted.tenant_id, payer)) in self.lines), None)
        if line is not None:  # nobody overtakes who waits for the same purse
            return self._wait(ctx, line, wanted)
        answer = await ctx.db(reservations.reserve, wanted)
        if isinstance(answer, Held):
            return answer
        if not answer.wait or not self.settings.wait_sec:
            return self._refuse(ctx, wanted, answer)
        return self._wait(ctx, (wanted.tenant_id, Payer(answer.purse.scope, answer.purse.key)), wanted)

    @handles
    async def give_back(self, ctx: Context, call: Release) -> None:
        await ctx.db(reservations.release, tenant=call.tenant_id, id=call.id)
        await self._freed(ctx, call.tenant_id, call.payers)

    @handles
    async def settled(self, ctx: Context, call: Settled) -> None:
        if not self.spent:
            ctx.after(NOTICE, Tell())
        self.spent.add((call.tenant_id, call.payers))
        if call.overshot:
            for row in await ctx.db(reservations.overshot, call.overshot):
                ctx.system.meter.count("budget_overshoot_usd_total", row.scope, by=float(row.usd))
        await self._freed(ctx, call.tenant_id, call.payers)

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        for line in list(self.lines):
            await self._advance(ctx, line)
        if self.lines:
            ctx.after(AGAIN, Look())

    @handles
    async def reap(self, ctx: Context, _tick: Reap) -> None:
        try:
            while gone := await ctx.db(reservations.reap):
                self.reaped += gone
                if gone < REAPED:
                    break
            held = {row.scope: float(row.usd) for row in await ctx.db(reservations.held_by_scope)}
            for scope in SCOPES:
                ctx.system.meter.set("budget_reserved_usd", held.get(scope, 0.0), scope)
        except StoreError as outage:
            ctx.log.warning("budgets.not_reaped", error=str(outage))

    @handles
    async def tell_owners(self, ctx: Context, _tick: Tell) -> None:
        spent, self.spent = self.spent, set()
        for tenant, payers in spent:
            try:
                found = await ctx.db(rows.notices, tenant=tenant, payers=payers, share=self.settings.warn_share)
            except StoreError as outage:  # the next call that is paid brings us back here
                ctx.log.warning("budgets.not_told", error=str(outage))
                return
            for notice, purse in found:
                kind = "budget.reached" if notice.reached else "budget.warning"
                ctx.log.info(kind, scope=purse.scope, key=purse.key, spent=float(purse.spent))
                event = BudgetEvent(type=kind, body=msgspec.Raw(msgspec.json.encode(shown(purse))))
                ctx.publish(of_admins(tenant), event)
                if notice.owner is not None:
                    ctx.publish(of_user(tenant, notice.owner), event)

    def snapshot(self) -> dict[str, Any]:
        waiting = sum(len(line) for line in self.lines.values())
        return {"waiting": waiting, "refused": self.refusals, "reaped": self.reaped, "read": self.limits.read}

    # --- the line -----------------------------------------------------------------------------

    def _wait(self, ctx: Context, line: Line, wanted: Wanted) -> Err | Held:
        """To the end of it. The answer comes later."""
        if sum(len(each) for each in self.lines.values()) >= WAITING:
            return exhausted("budget", 1.0)
        reply = ctx.defer()
        if reply is None:
            return Held()  # nobody waits for it
        if not self.lines:
            ctx.after(AGAIN, Look())
        until = ctx.clock.monotonic() + self.settings.wait_sec
        self.lines.setdefault(line, deque()).append(Waiter(wanted, reply, until))
        ctx.after(self.settings.wait_sec, Look())
        return Held()

    async def _freed(self, ctx: Context, tenant: str, payers: tuple[Payer, ...]) -> None:
        for payer in payers:
            if (tenant, payer) in self.lines:
                await self._advance(ctx, (tenant, payer))

    async def _advance(self, ctx: Context, line: Line) -> None:
        """Who is first goes first; behind one who still waits everybody waits."""
        waiting = self.lines.get(line)
        while waiting:
            first = waiting[0]
            if first.reply.over:
                waiting.popleft()
                continue
            try:
                answer = await ctx.db(reservations.reserve, first.wanted)
            except StoreError as outage:
                waiting.popleft()
                first.reply.fail(outage)
                continue
            if isinstance(answer, Short) and answer.wait and ctx.clock.monotonic() < first.until:
                break
            waiting.popleft()
            if isinstance(answer, Short):
                first.reply.answer(self._refuse(ctx, first.wanted, answer))
            elif not first.reply.answer(answer) and answer.id:  # gave up meanwhile
                await ctx.db(reservations.release, tenant=first.wanted.tenant_id, id=answer.id)
        if not waiting:
            self.lines.pop(line, None)

    def _refuse(self, ctx: Context, wanted: Wanted, short: Short) -> Err:
        self.refusals += 1
        ctx.system.meter.count("budget_refused_total", short.purse.scope)
        own = wanted.figures or short.purse.scope in ("user", "run")
        return refused(short, own=own, wait=self.settings.wait_sec)
