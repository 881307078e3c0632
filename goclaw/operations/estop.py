"""The emergency stop: engage, release, look. Contract: security.md §13."""

from __future__ import annotations

from typing import Annotated

import structlog
from msgspec import Meta, Struct

from goclaw.domain.access import MASTER_TENANT, Role
from goclaw.domain.address import lane
from goclaw.domain.errors import Rejected, invalid, unavailable
from goclaw.domain.estop import TOOL_CALLS, ToolsStopped
from goclaw.domain.events import EstopEvent, body, of_admins
from goclaw.domain.run import LANES, StopAll
from goclaw.operations.activity import by, record
from goclaw.operations.context import Context
from goclaw.operations.operation import Rpc, operation
from goclaw.runtime.faults import RuntimeFault
from goclaw.security.estop import Levels, Stopped

ROOM = 1.0  # seconds a full lane has to hear of it

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
    change = brake.state.engaged if ask.engage else brake.state.released
    state = change(ask.levels, by=by(ctx), at=ctx.now().isoformat(), reason=ask.reason)
    kept = True
    try:
        brake.become(state)
    except OSError:
        kept = False
    if ask.engage and ask.levels.all:
        for name in LANES:
            try:
                await ctx.system.cast(lane(name), StopAll(by=by(ctx)), within=ROOM)
            except RuntimeFault as fault:
                log.error("estop.lane_not_told", lane=name, error=str(fault))  # its runs have no tools any more
    if ask.engage:
        ctx.system.publish(TOOL_CALLS, ToolsStopped())
    what = "estop.engaged" if ask.engage else "estop.released"
    levels = {"all": ask.levels.all, "network": ask.levels.network}
    named = {**levels, "tools": ask.levels.tools, "domains": ask.levels.domains}
    news = EstopEvent(type=what, body=body(level=named, by=state.by, reason=ask.reason))
    ctx.system.publish(of_admins(MASTER_TENANT), news)
    await record(ctx, what, "estop", "", **named, reason=ask.reason)
    if not kept:
        raise Rejected(unavailable("estop_not_kept"))  # in force, and gone after a restart
    return state


@operation(Rpc("estop.status", Role.OPERATOR))
async def status(ctx: Context, ask: AskEstop) -> Stopped:
    """Say what is stopped."""
    return ctx.house.brake.state
