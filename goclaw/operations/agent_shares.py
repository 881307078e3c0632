"""Whom an agent is shared with. Contract: edge-http.md §5, agent-loop.md §19.4."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from goclaw.domain.access import Role, valid_user_id
from goclaw.domain.agent import SharedRole
from goclaw.domain.errors import Rejected, invalid, not_found
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.agent_instances import managed
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.stores import agent_shares
from goclaw.stores.agent_shares import Share


class ListShares(Struct, kw_only=True):
    ALIASES: ClassVar = {"agent_id": "id"}

    id: str


class ShareList(Struct, kw_only=True):
    shares: list[Share]


class ShareAgent(ListShares, kw_only=True):
    user_id: str
    role: SharedRole = "user"


class Granted(Struct, kw_only=True):
    """`new` is false if the user had the agent before, perhaps in another role."""

    id: str
    agent_id: str
    user_id: str
    role: SharedRole
    granted_by: str | None
    created_at: datetime
    new: bool


class RevokeShare(ListShares, kw_only=True):
    user_id: str


class Revoked(Struct, kw_only=True):
    revoked: bool = True


@operation(Rpc("agents.shares.list", Role.VIEWER), Http("GET /v1/agents/{id}/shares", Role.VIEWER))
async def list_shares(ctx: Context, ask: ListShares) -> ShareList:
    """List whom an agent is shared with."""
    agent = await managed(ctx, ask.id)
    return ShareList(shares=await ctx.db(agent_shares.shares, tenant=ctx.caller.tenant_id, agent=agent.id))


@operation(Rpc("agents.shares.add", Role.OPERATOR), Http("POST /v1/agents/{id}/shares", Role.OPERATOR, status=201))
@recorded
async def share(ctx: Context, ask: ShareAgent) -> Granted:
    """Share an agent with a user, or change as what."""
    if not valid_user_id(ask.user_id):
        raise Rejected(invalid("user_id", "not a user id"))
    agent = await managed(ctx, ask.id)
    if ask.user_id == agent.owner_id:
        raise Rejected(invalid("user_id", "owns the agent"))
    tenant = ctx.caller.tenant_id
    row = await ctx.db(agent_shares.share, tenant=tenant, agent=agent.id, user=ask.user_id, role=ask.role, by=by(ctx))
    await record(ctx, "agent.shared", "agent", agent.id, user=ask.user_id, role=ask.role)
    return Granted(**{name: getattr(row, name) for name in Granted.__struct_fields__})


@operation(Rpc("agents.shares.remove", Role.OPERATOR), Http("DELETE /v1/agents/{id}/shares/{user_id}", Role.OPERATOR))
@recorded
async def revoke(ctx: Context, ask: RevokeShare) -> Revoked:
    """Take an agent away from a user it was shared with."""
    agent = await managed(ctx, ask.id)
    if not await ctx.db(agent_shares.unshare, tenant=ctx.caller.tenant_id, agent=agent.id, user=ask.user_id):
        raise Rejected(not_found("share", ask.user_id[:100]))
    await record(ctx, "agent.unshared", "agent", agent.id, user=ask.user_id)
    return Revoked()
