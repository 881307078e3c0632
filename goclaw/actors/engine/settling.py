"""Paying for model calls that belong to no run. Contract: providers.md §18."""

from __future__ import annotations

from goclaw.actors.engine.calls import CallLog
from goclaw.domain.address import BUDGETS
from goclaw.domain.budget import Payer, Settled
from goclaw.runtime.actor import Context
from goclaw.stores import reservations


async def pay(ctx: Context, tenant: str, payers: tuple[Payer, ...], calls: CallLog) -> None:
    """Book what the calls took. What is not booked here is when its reservation expires."""
    if not calls.payers:
        return
    paid = calls.waiting()
    for call in paid:
        spent, tokens = call.spent, call.spent_tokens
        if call.reservations:
            await ctx.db(reservations.settle, tenant=tenant, id=call.reservations[0], spent=spent, tokens=tokens)
        elif tokens:
            await ctx.db(reservations.count, tenant=tenant, payers=payers, spent=spent, tokens=tokens)
    overshot = tuple(id for call in paid if call.overshot for id in call.reservations)
    ctx.tell(BUDGETS, Settled(tenant_id=tenant, payers=payers, overshot=overshot))
