"""Tools made of commands: make, change, take away. Contract: tools.md §14, edge-http.md §10.

What is stored can be run: template, parameters and environment are judged here, and again with every call.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import UNSET

from goclaw.domain.access import Role
from goclaw.domain.errors import (
    Rejected,
    already_exists,
    command_denied,
    exhausted,
    failed_precondition,
    invalid,
    not_found,
)
from goclaw.domain.tools import ALIASES
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.builtin_tools import changed
from goclaw.operations.context import Context
from goclaw.operations.custom_tool_shapes import (
    CreateTool,
    CustomPage,
    CustomView,
    Deleted,
    ListCustom,
    ToolId,
    UpdateTool,
    Wanted,
    view_of,
)
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.turns import resolve_agent
from goclaw.security.box import Place, SecretUnreadable
from goclaw.security.shell import GROUPS, deny_check
from goclaw.security.shell.groups.env_injection import unfit_to_store
from goclaw.stores import custom_tools
from goclaw.stores.custom_tools import ENV_COLUMN, ROWS, CustomTool
from goclaw.tools.custom.parameters import BadSchema, checked
from goclaw.tools.custom.template import BadTemplate, read_template
from goclaw.tools.groups import GROUPS as MEMBERS
from goclaw.tools.groups import LEAVES_NEVER, SUBAGENTS_NEVER

PAGE = 200  # rows of a list that is paged
ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}\Z", re.ASCII)
ENV_NAMES, ENV_BYTES = 64, 32_768  # of an environment
NATIVE = frozenset().union(*MEMBERS.values(), ALIASES, SUBAGENTS_NEVER, LEAVES_NEVER)  # also those to come


@operation(Rpc("tools.custom.list", Role.VIEWER), Http("GET /v1/tools/custom", Role.VIEWER))
async def list_custom(ctx: Context, ask: ListCustom) -> CustomPage:
    """List custom tools; who is no admin sees those that are in use."""
    agent = (await resolve_agent(ctx, ask.agent_id)).id if ask.agent_id else None
    whole = ask.limit is None and ask.offset is None
    limit = ROWS if whole else min(ask.limit or 50, PAGE)
    offset = ask.offset or 0
    found = await ctx.db(
        custom_tools.page,
        tenant=ctx.caller.tenant_id,
        all=ctx.caller.is_admin,
        agent=agent,
        search=ask.search,
        limit=limit,
        offset=offset,
    )
    return CustomPage(tools=[view_of(row) for row in found.tools], total=found.total, limit=limit, offset=offset)


@operation(Rpc("tools.custom.get", Role.VIEWER), Http("GET /v1/tools/custom/{id}", Role.VIEWER))
async def get(ctx: Context, ask: ToolId) -> CustomView:
    """Show a custom tool."""
    row = await _row(ctx, ask.id)
    if not row.enabled and not ctx.caller.is_admin:
        raise Rejected(not_found("tool", ask.id[:100]))
    return view_of(row)


@operation(Rpc("tools.custom.create", Role.ADMIN), Http("POST /v1/tools/custom", Role.ADMIN, status=201))
@recorded
async def create(ctx: Context, ask: CreateTool) -> CustomView:
    """Make a tool of a command. The next turn has it."""
    if ask.env is not UNSET:
        raise Rejected(invalid("env", "set env with PUT after creation"))
    row = await _checked(ctx, ask, _blank(ctx, ask))
    made = await ctx.db(custom_tools.add, tenant=row.tenant_id, **_columns(row), created_by=by(ctx))
    if made == "exists":
        raise Rejected(already_exists("tool", row.name))
    if made == "full":
        raise Rejected(exhausted("custom_tools"))
    return await _told(ctx, made, "created")


@operation(Rpc("tools.custom.update", Role.ADMIN), Http("PUT /v1/tools/custom/{id}", Role.ADMIN))
@recorded
async def update(ctx: Context, ask: UpdateTool) -> CustomView:
    """Change a custom tool. What is not named stays; runs that have begun keep the former one."""
    before = await _row(ctx, ask.id)
    row = await _checked(ctx, ask, before)
    env: Any = {"env": row.env, "env_keys": list(row.env_keys)}
    done = await ctx.db(custom_tools.change, tenant=row.tenant_id, seen=before.updated_at, **_columns(row), **env)
    if done is None:
        raise Rejected(failed_precondition("changed_meanwhile"))
    if done == "exists":
        raise Rejected(already_exists("tool", row.name))
    return await _told(ctx, done, "updated")


@operation(Rpc("tools.custom.delete", Role.ADMIN), Http("DELETE /v1/tools/custom/{id}", Role.ADMIN, status=204))
@recorded
async def delete(ctx: Context, ask: ToolId) -> Deleted:
    """Take a custom tool away. Runs that have begun keep it."""
    row = await _row(ctx, ask.id)
    await ctx.db(custom_tools.remove, tenant=row.tenant_id, id=row.id)
    changed(ctx, row.name, id=row.id, deleted=True)
    await record(ctx, "custom_tool.deleted", "custom_tool", row.id, name=row.name)
    return Deleted()


# --- parts ----------------------------------------------------------------------------------------


async def _row(ctx: Context, id: str) -> CustomTool:
    row = await ctx.db(custom_tools.find, tenant=ctx.caller.tenant_id, id=id)
    if row is None:
        raise Rejected(not_found("tool", id[:100]))
    return row


async def _told(ctx: Context, row: CustomTool, what: str) -> CustomView:
    changed(ctx, row.name, id=row.id)
    await record(ctx, f"custom_tool.{what}", "custom_tool", row.id, name=row.name)
    return view_of(row)


def _blank(ctx: Context, ask: CreateTool) -> CustomTool:
    now = ctx.now()
    return CustomTool(
        id=ctx.new_id(),
        tenant_id=ctx.caller.tenant_id,
        name=ask.name,
        description="",
        shape="{}",
        command=ask.command,
        working_dir=None,
        timeout_seconds=60,
        env=None,
        env_keys=(),
        agent_id=None,
        enabled=True,
        effect_class="unsafe",
        acknowledged_groups=(),
        created_by=None,
        created_at=now,
        updated_at=now,
    )


def _columns(row: CustomTool) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "parameters": msgspec.json.decode(row.shape),
        "command": row.command,
        "working_dir": row.working_dir,
        "timeout_seconds": row.timeout_seconds,
        "agent_id": row.agent_id,
        "enabled": row.enabled,
        "effect_class": row.effect_class,
        "acknowledged_groups": list(row.acknowledged_groups),
    }


async def _checked(ctx: Context, ask: Wanted, before: CustomTool) -> CustomTool:
    """`before` with what is asked for. Refuses what could never run."""
    plain = ("name", "description", "command", "timeout_seconds", "effect_class", "enabled", "acknowledged_groups")
    given = {name: value for name in plain if (value := getattr(ask, name)) is not UNSET}
    if ask.working_dir is not UNSET:
        given["working_dir"] = _directory(ask.working_dir or "")
    if ask.agent_id is not UNSET:
        given["agent_id"] = (await resolve_agent(ctx, ask.agent_id)).id if ask.agent_id else None
    given["shape"] = _parameters(ask, before)
    given |= _environment(ctx, ask, before)
    row = msgspec.structs.replace(before, **given)
    if row.name in NATIVE or row.name in ctx.house.builtin:
        raise Rejected(already_exists("tool", row.name))
    if strange := sorted(set(row.acknowledged_groups) - set(GROUPS)):
        raise Rejected(invalid("acknowledged_groups", f"there is no group {strange[0][:64]}"))
    _judge(ctx, row)
    return row


def _parameters(ask: Wanted, before: CustomTool) -> str:
    given = msgspec.json.decode(before.shape) if ask.parameters is UNSET else ask.parameters
    try:
        return msgspec.json.encode(checked(given)).decode()
    except BadSchema as bad:
        raise Rejected(invalid("parameters", str(bad))) from None


def _judge(ctx: Context, row: CustomTool) -> None:
    """The template, and the command with harmless values in it."""
    try:
        template = read_template(row.command)
        template.checked(msgspec.json.decode(row.shape)["properties"])
    except BadTemplate as bad:
        raise Rejected(invalid("command", str(bad))) from None
    denied = (str(ctx.house.settings.data_dir),)
    verdict = deny_check(template.sample, frozenset(row.acknowledged_groups), "", denied)
    if not verdict.allowed:
        raise Rejected(command_denied(verdict.group))


def _directory(given: str) -> str | None:
    path = PurePosixPath(given)
    if path.is_absolute() or ".." in path.parts:
        raise Rejected(invalid("working_dir", "must be relative, and below the workspace"))
    return given or None


def _environment(ctx: Context, ask: Wanted, before: CustomTool) -> dict[str, Any]:
    """Sealed. A map replaces what there was; one with a null in it changes only the names it has."""
    if ask.env is UNSET:
        return {}
    place = Place(ENV_COLUMN, before.id)
    kept: dict[str, str] = {}
    if None in ask.env.values() and before.env is not None:
        try:
            kept = ctx.house.box.unseal_object(before.env, place)
        except SecretUnreadable:
            raise Rejected(failed_precondition("secret_unreadable", hint="write all of env again")) from None
    env = {name: value for name, value in {**kept, **ask.env}.items() if value is not None}
    for name in ask.env:
        if not ENV_NAME.match(name):
            raise Rejected(invalid(f"env.{name}"[:100], "a name has capitals, digits and _"))
        if unfit_to_store(name):
            raise Rejected(invalid(f"env.{name}", "would change which program runs, or how"))
    if len(env) > ENV_NAMES or len(msgspec.json.encode(env)) > ENV_BYTES:
        raise Rejected(invalid("env", f"more than {ENV_NAMES} names or {ENV_BYTES} bytes"))
    if any("\0" in value for value in env.values()):
        raise Rejected(invalid("env", "a NUL character"))
    return {"env": ctx.house.box.seal_object(env, place) if env else None, "env_keys": tuple(sorted(env))}
