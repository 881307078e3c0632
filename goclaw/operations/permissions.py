"""Who may change an agent's files and jobs from where. Contract: edge-websocket.md §7.5, wire-compat.md C2."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.access import Role, valid_user_id
from goclaw.domain.errors import Rejected, invalid, not_found
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.context import Context
from goclaw.operations.operation import Rpc, operation
from goclaw.operations.turns import resolve_agent
from goclaw.stores import agent_shares
from goclaw.stores.agent_shares import Permission

Type = Literal["file_writer", "heartbeat", "cron", "context_files", "*"]
SCOPE = re.compile(r"agent|\*|group:\*|group:[^:\s]+:\S+")  # a group is a channel and a chat
METADATA = 16 * 1024  # bytes


class ListPermissions(Struct, kw_only=True):
    agent_id: str
    config_type: Type | None = None


class PermissionList(Struct, kw_only=True):
    permissions: list[Permission]


class OnePermission(Struct, kw_only=True):
    agent_id: str
    scope: Annotated[str, Meta(max_length=255)]
    config_type: Type
    user_id: str


class GrantPermission(OnePermission, kw_only=True):
    permission: Literal["allow", "deny"]
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)


class Granted(Struct, kw_only=True):
    permission: Permission


class Revoked(Struct, kw_only=True):
    ok: bool = True


@operation(Rpc("config.permissions.list", Role.ADMIN))
async def list_permissions(ctx: Context, ask: ListPermissions) -> PermissionList:
    """List who may write an agent's files, and who may not."""
    agent = await resolve_agent(ctx, ask.agent_id)
    rows = await ctx.db(agent_shares.permissions, tenant=ctx.caller.tenant_id, agent=agent.id)
    return PermissionList(permissions=[row for row in rows if ask.config_type in (None, row.config_type)])


@operation(Rpc("config.permissions.grant", Role.ADMIN))
@recorded
async def grant(ctx: Context, ask: GrantPermission) -> Granted:
    """Allow or deny something to a user, in one group or everywhere."""
    _check(ask)
    if len(msgspec.json.encode(ask.metadata)) > METADATA:
        raise Rejected(invalid("metadata", f"longer than {METADATA} bytes"))
    agent = await resolve_agent(ctx, ask.agent_id)
    row = await ctx.db(
        agent_shares.permit,
        tenant=ctx.caller.tenant_id,
        agent=agent.id,
        scope=ask.scope,
        type=ask.config_type,
        user=ask.user_id,
        permission=ask.permission,
        by=by(ctx),
        metadata=ask.metadata,
    )
    await record(
        ctx, "agent.permission", "agent", agent.id, user=ask.user_id, scope=ask.scope, permission=ask.permission
    )
    return Granted(permission=row)


@operation(Rpc("config.permissions.revoke", Role.ADMIN))
@recorded
async def revoke(ctx: Context, ask: OnePermission) -> Revoked:
    """Take a permission or a denial back."""
    _check(ask)
    agent = await resolve_agent(ctx, ask.agent_id)
    named = {"tenant": ctx.caller.tenant_id, "agent": agent.id, "scope": ask.scope, "user": ask.user_id}
    if not await ctx.db(agent_shares.revoke, **named, type=ask.config_type):
        raise Rejected(not_found("permission", ask.user_id[:100]))
    await record(ctx, "agent.permission_revoked", "agent", agent.id, user=ask.user_id, scope=ask.scope)
    return Revoked()


def _check(ask: OnePermission) -> None:
    if not SCOPE.fullmatch(ask.scope):
        raise Rejected(invalid("scope", "agent, *, group:* or group:<channel>:<chat>"))
    if not valid_user_id(ask.user_id):
        raise Rejected(invalid("user_id", "not a user id"))
