"""Writing down who did what. Contract: observability.md §13."""

from __future__ import annotations

from typing import Any

import structlog

from goclaw.domain.activity import RecordActivity
from goclaw.domain.address import ACTIVITY
from goclaw.domain.errors import Rejected, unavailable
from goclaw.domain.ids import new_id
from goclaw.operations.context import Context
from goclaw.runtime.message import Told
from goclaw.runtime.values import FrozenMap
from goclaw.security.audit import Act

log = structlog.get_logger()


def by(ctx: Context) -> str:
    """Who asks, as history names them."""
    return ctx.caller.user_id or ctx.caller.role.label


async def record(ctx: Context, action: str, entity_type: str, entity_id: str, **details: Any) -> None:
    """For people to read, written soon; and for the audit, on a disk before the caller is answered.

    Refused where the audit takes nothing. Without the database it has its file, so that operators can act.
    """
    activity = RecordActivity(
        id=new_id(),
        at=ctx.now(),
        tenant_id=ctx.caller.tenant_id,
        actor_type="agent" if ctx.caller.agent_id else "user",
        actor_id=ctx.caller.agent_id or by(ctx),
        action=action,
        entity_type=entity_type,
        entity_id=entity_id,
        details=FrozenMap(details),
        ip_address=ctx.peer,
    )
    if ctx.system.tell(ACTIVITY, activity) is not Told.ACCEPTED:
        log.warning("activity.lost", action=action, entity=entity_id, by=by(ctx))
    act = Act(
        action=action,
        tenant_id=activity.tenant_id,
        actor_type=activity.actor_type,
        actor_id=activity.actor_id,
        subject=f"{entity_type}:{entity_id}",
        ip=ctx.peer or None,
        details=details,
    )
    if ctx.house.audit is not None and not await ctx.house.audit.write(act):
        raise Rejected(unavailable("audit_unavailable"))
