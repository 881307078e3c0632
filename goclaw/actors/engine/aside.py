"""Model calls that belong to no run: summaries, notes, labels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from goclaw.actors.engine.calls import CallLog, Logged
from goclaw.actors.engine.desk import models_of
from goclaw.actors.engine.purse import CallPurse
from goclaw.actors.engine.settling import pay
from goclaw.actors.engine.spending import Spending
from goclaw.domain.agent import AgentProfile
from goclaw.domain.budget import Payer
from goclaw.domain.ids import new_id
from goclaw.providers.provider import Model
from goclaw.runtime.actor import Context


@asynccontextmanager
async def aside(
    ctx: Context, spending: Spending, profile: AgentProfile, *, tenant: str, payers: tuple[Payer, ...], within: float
) -> AsyncIterator[Model]:
    """The agent's models, each call paid by `payers` and booked in the end. Raises StoreError then."""
    calls = CallLog(ctx.clock, spending.pricing)
    purse = CallPurse(ctx, spending, calls, tenant=tenant, payers=payers, run_id=new_id(), fence=0, within=within)
    try:
        yield Logged(models_of(ctx, profile.candidates, purse, tenant), calls)
    finally:
        with trio.CancelScope(shield=True):
            await pay(ctx, tenant, payers, calls)
