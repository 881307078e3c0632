"""Writing down who did what. Contract: observability.md §13."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

import structlog

from goclaw.domain.access import Caller, Role
from goclaw.domain.activity import RecordActivity
from goclaw.domain.address import ACTIVITY
from goclaw.domain.errors import Rejected, role_too_low, unavailable
from goclaw.domain.ids import new_id
from goclaw.operations.context import Context, House
from goclaw.runtime.message import Told
from goclaw.runtime.values import FrozenMap
from goclaw.security.audit import Act

T = TypeVar("T")
Ask = TypeVar("Ask")
Operate = Callable[[Context, Ask], Awaitable[T]]

log = structlog.get_logger()


def recorded(fn: Operate[Ask, T]) -> Operate[Ask, T]:
    """An operation that ends in `record`: while the audit takes nothing it is refused before it does anything."""

    @wraps(fn)
    async def guarded(ctx: Context, ask: Ask) -> T:
        if ctx.house.audit is not None and not await ctx.house.audit.ready():
            raise Rejected(unavailable("audit_unavailable"))
        return await fn(ctx, ask)

    return guarded


def by(ctx: Context) -> str:
    """Who asks, as history names them."""
    return ctx.caller.user_id or ctx.caller.role.label


def denied(house: House, caller: Caller, action: str, required: Role, peer: str) -> Rejected:
    """A refusal for want of rights, written down."""
    if house.audit is not None:
        act = Act(
            action="role.denied",
            decision="deny",
            tenant_id=caller.tenant_id,
            actor_type="agent" if caller.agent_id else "user",
            actor_id=caller.agent_id or caller.user_id or caller.role.label,
            subject=action,
            reason=f"{caller.role.label} is less than {required.label}",
            ip=peer or None,
        )
        house.audit.note(act)
    return Rejected(role_too_low(action, required.label))


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
