"""The emergency stop: engage, release, look. Contract: security.md §13."""

from __future__ import annotations

from typing import Annotated

import structlog
from msgspec import Meta, Struct

from goclaw.domain.access import MASTER_TENANT, Role
from goclaw.domain.address import ESTOP
from goclaw.domain.errors import Rejected, StoreError, invalid, unavailable
from goclaw.domain.estop import Change, SpreadStop
from goclaw.domain.events import EstopEvent, body, of_admins
from goclaw.operations.activity import by, record
from goclaw.operations.context import Context
from goclaw.operations.operation import Rpc, operation
from goclaw.runtime.faults import RuntimeFault
from goclaw.security.braking import braked
from goclaw.security.estop import Levels, Stopped

SPREAD = 3.0  # seconds until other nodes can know

log = structlog.get_logger()


class SetEstop(Struct, kw_only=True):
    """`engage` false releases exactly the levels that are named."""

    engage: bool
    levels: Levels
    reason: Annotated[str, Meta(max_length=500)] = ""


class AskEstop(Struct, kw_only=True):
    """Nothing is asked."""


@operation(Rpc("estop.set", Role.ADMIN))
async def set_estop(ctx: Context, ask: SetEstop) -> Stopped:
    """Stop everything, the network, tools or domains, or release them. In force before it is answered."""
    if not ask.levels:
        raise Rejected(invalid("levels", "empty"))
    brake = ctx.house.brake
    change = Change(engage=ask.engage, levels=ask.levels, by=by(ctx), at=ctx.now().isoformat(), reason=ask.reason)
    kept = await braked(ctx.system, brake, lambda: brake.change(change))
    what = "estop.engaged" if ask.engage else "estop.released"
    levels = {"all": ask.levels.all, "network": ask.levels.network}
    named = {**levels, "tools": ask.levels.tools, "domains": ask.levels.domains}
    news = EstopEvent(type=what, body=body(level=named, by=change.by, reason=ask.reason))
    ctx.system.publish(of_admins(MASTER_TENANT), news)
    await record(ctx, what, "estop", "", **named, reason=ask.reason)
    try:
        await ctx.system.ask(ESTOP, SpreadStop(change=change), within=SPREAD)
    except (RuntimeFault, StoreError) as trouble:
        log.warning("estop.not_spread", error=str(trouble))  # the file has it, and other nodes as soon as they can
    if not kept:
        raise Rejected(unavailable("estop_not_kept"))  # in force, and gone after a restart
    return brake.state


@operation(Rpc("estop.status", Role.OPERATOR))
async def status(ctx: Context, ask: AskEstop) -> Stopped:
    """Say what is stopped."""
    return ctx.house.brake.state
