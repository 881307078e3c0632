"""Hooks: list, make, change, look back. Contract: edge-websocket.md §7.14, tools.md §22."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.address import HOOKS
from goclaw.domain.errors import Rejected, exhausted, failed_precondition, forbidden, not_found
from goclaw.domain.hook import Hook, HooksChanged
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.context import Context
from goclaw.operations.hook_checks import checked
from goclaw.operations.hook_shapes import (
    AskHooks,
    Done,
    HookList,
    HookRow,
    MadeHook,
    OneHook,
    ToggleHook,
    UpdateHook,
    Updates,
    Wanted,
)
from goclaw.operations.once import id_of
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.params import decode
from goclaw.operations.turns import resolve_agent
from goclaw.security.box import Box, Place, SecretUnreadable
from goclaw.stores import hooks as rows
from goclaw.stores.hooks import Execution
from goclaw.tools.hooks.handlers import SECRETS

PAGE = 200  # rows


class AskHistory(Struct, kw_only=True):
    hook_id: str | None = None
    limit: Annotated[int, Meta(ge=1)] = 50
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class History(Struct, kw_only=True):
    executions: list[Execution]
    total: int


@operation(Rpc("hooks.list", Role.VIEWER), Http("GET /v1/hooks", Role.VIEWER))
async def list_hooks(ctx: Context, ask: AskHooks) -> HookList:
    """List hooks in the order in which they are asked."""
    agent = (await resolve_agent(ctx, ask.agent_id)).id if ask.agent_id else None
    found = await ctx.db(
        rows.page, tenant=ctx.caller.tenant_id, event=ask.event, scope=ask.scope, enabled=ask.enabled, agent=agent
    )
    return HookList(hooks=[row_of(ctx.house.box, hook) for hook in found])


@operation(Rpc("hooks.create", Role.ADMIN), Http("POST /v1/hooks", Role.ADMIN, 201))
@recorded
async def create(ctx: Context, ask: Wanted) -> MadeHook:
    """Make a hook. It holds from the next step of any run on."""
    id = id_of(ctx)
    config, secrets = await checked(ctx, ask, id, None)
    row = _columns(ask, config, secrets)
    made = await ctx.db(rows.add, id=id, tenant=ctx.caller.tenant_id, created_by=by(ctx), **row)
    if not made:
        raise Rejected(exhausted("hooks"))
    await _changed(ctx, "created", id, ask.name)
    return MadeHook(hook_id=id)


@operation(Rpc("hooks.update", Role.ADMIN), Http("PATCH /v1/hooks/{hook_id}", Role.ADMIN))
@recorded
async def update(ctx: Context, ask: UpdateHook) -> Done:
    """Change a hook. What is not named stays."""
    hook = await own(ctx, ask.hook_id)
    changes = decode(Updates, ask.updates)
    given = {name: getattr(changes, name) for name in Updates.__struct_fields__}
    before = {
        **{name: getattr(hook, name) for name in given if hasattr(hook, name)},
        "config": msgspec.json.decode(hook.config),
        "agent_ids": list(hook.agents),
    }
    wanted = Wanted(**{name: before[name] if value is UNSET else value for name, value in given.items()})
    config, secrets = await checked(ctx, wanted, hook.id, hook.secrets)
    row = _columns(wanted, config, secrets)
    if not await ctx.db(rows.change, id=hook.id, tenant=hook.tenant_id, version=hook.version, **row):
        raise Rejected(failed_precondition("changed_meanwhile"))
    await _changed(ctx, "updated", hook.id, wanted.name)
    return Done()


@operation(Rpc("hooks.delete", Role.ADMIN), Http("DELETE /v1/hooks/{hook_id}", Role.ADMIN))
@recorded
async def delete(ctx: Context, ask: OneHook) -> Done:
    """Delete a hook. What it decided stays in history."""
    hook = await own(ctx, ask.hook_id)
    await ctx.db(rows.drop, id=hook.id, tenant=hook.tenant_id)
    await _changed(ctx, "deleted", hook.id, hook.name)
    return Done()


@operation(Rpc("hooks.toggle", Role.ADMIN))
@recorded
async def toggle(ctx: Context, ask: ToggleHook) -> Done:
    """Switch a hook on or off."""
    return await update(ctx, UpdateHook(hook_id=ask.hook_id, updates={"enabled": ask.enabled}))


@operation(Rpc("hooks.history", Role.VIEWER), Http("GET /v1/hook-executions", Role.VIEWER))
async def history(ctx: Context, ask: AskHistory) -> History:
    """What hooks decided, newest first."""
    tenant, hook = ctx.caller.tenant_id, (await own(ctx, ask.hook_id)).id if ask.hook_id else None
    limit = min(ask.limit, PAGE)
    found = await ctx.db(rows.history, tenant=tenant, hook=hook, limit=limit, offset=ask.offset)
    total = await ctx.db(rows.recorded, tenant=tenant, hook=hook)
    return History(executions=found, total=total)


# --- parts ----------------------------------------------------------------------------------------


async def own(ctx: Context, id: str) -> Hook:
    """Refused as not found unless it is of the caller's tenant, and as forbidden if it is ours."""
    try:
        named = str(uuid.UUID(id))
    except ValueError:
        raise Rejected(not_found("hook", id)) from None
    hook = await ctx.db(rows.get, id=named, tenant=ctx.caller.tenant_id)
    if hook is None:
        raise Rejected(not_found("hook", id))
    if hook.source == "builtin":
        raise Rejected(forbidden("builtin"))
    return hook


def _columns(ask: Wanted, config: dict[str, Any], secrets: str | None) -> dict[str, Any]:
    plain = {name: getattr(ask, name) for name in Wanted.__struct_fields__ if name not in ("config", "agent_ids")}
    return {**plain, "config": config, "secrets": secrets, "agents": ask.agent_ids}


async def _changed(ctx: Context, action: str, id: str, name: str) -> None:
    ctx.system.tell(HOOKS, HooksChanged())
    await record(ctx, f"hook.{action}", "hook", id, name=name)


def row_of(box: Box, hook: Hook) -> HookRow:
    names: list[str] = []
    if hook.secrets is not None:
        try:
            names = sorted(box.unseal_object(bytes.fromhex(hook.secrets), Place(SECRETS, hook.id)))
        except SecretUnreadable:
            names = ["secret_unreadable"]
    return HookRow(
        secret_names=names,
        agent_ids=list(hook.agents),
        source="builtin" if hook.source == "builtin" else "user",
        config=msgspec.Raw(hook.config.encode()),
        **{
            name: getattr(hook, name)
            for name in HookRow.__struct_fields__
            if name not in ("secret_names", "agent_ids", "source", "config")
        },
    )
