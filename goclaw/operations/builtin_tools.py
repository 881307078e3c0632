"""Built-in tools as operators see them: which there are, whether they are in use, how they are set.

Contract: tools.md §3.1, §3.3; edge-http.md §10; wire-compat.md C13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from goclaw.domain.access import MASTER_TENANT, Role
from goclaw.domain.errors import Rejected, invalid, not_found, required
from goclaw.domain.events import body, of_operators
from goclaw.domain.tools import ALIASES, TOOLS, ToolsChanged, ToolsEvent
from goclaw.operations.activity import record, recorded
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.params import explain
from goclaw.stores import builtin_tools
from goclaw.stores.builtin_tools import BuiltIn, BuiltInRow
from goclaw.tools.requires import missing
from goclaw.tools.tool import Tool

SETTINGS = 65_536  # bytes
SECRET = re.compile(r"(?:^|[_-])(?:key|keys|authorization|cookie|token|secret|password)$", re.IGNORECASE)

Name = Annotated[str, Meta(min_length=1, max_length=100)]


class ListTools(Struct, kw_only=True):
    """All there are: the list is short."""


class ToolName(Struct, kw_only=True):
    name: Name


class ChangeTool(ToolName, kw_only=True):
    enabled: bool | None = None
    settings: dict[str, Any] | None = None


class TenantChoice(ToolName, kw_only=True):
    enabled: bool


class BuiltInView(Struct, kw_only=True):
    """E-BuiltinTool. `settings` are those that hold for the caller's tenant; `missing` is what it requires in vain."""

    name: str
    display_name: str
    description: str
    category: str
    group: str
    enabled: bool
    tenant_enabled: bool | None
    available: bool
    requires: tuple[str, ...]
    missing: tuple[str, ...]
    settings: Raw
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class BuiltInTool(BuiltInView, kw_only=True):
    parameters: dict[str, Any]
    settings_schema: dict[str, Any] | None  # None: there is nothing to set
    aliases: tuple[str, ...]


class BuiltInList(Struct, kw_only=True):
    tools: list[BuiltInView]


class Status(Struct, kw_only=True):
    status: str = "ok"


@operation(Rpc("tools.list", Role.VIEWER), Http("GET /v1/tools/builtin", Role.VIEWER))
async def list_tools(ctx: Context, ask: ListTools) -> BuiltInList:
    """List the built-in tools."""
    rows = {row.name: row for row in await ctx.db(builtin_tools.page, tenant=ctx.caller.tenant_id)}
    tools = sorted(ctx.house.builtin.items())
    return BuiltInList(tools=[BuiltInView(**_view(ctx, tool, rows.get(name))) for name, tool in tools])


@operation(Rpc("tools.get", Role.VIEWER), Http("GET /v1/tools/builtin/{name}", Role.VIEWER))
async def get(ctx: Context, ask: ToolName) -> BuiltInTool:
    """Show a built-in tool: what it takes and what can be set."""
    tool = _tool(ctx, ask.name)
    row = await ctx.db(builtin_tools.find, tenant=ctx.caller.tenant_id, name=tool.name)
    return BuiltInTool(
        **_view(ctx, tool, row),
        parameters=tool.spec.parameters,
        settings_schema=msgspec.json.schema(tool.settings) if tool.settings is not None else None,
        aliases=tuple(sorted(alias for alias, name in ALIASES.items() if name == tool.name)),
    )


@operation(Rpc("tools.update", Role.ADMIN), Http("PUT /v1/tools/builtin/{name}", Role.ADMIN))
@recorded
async def update(ctx: Context, ask: ChangeTool) -> BuiltInTool:
    """Switch a built-in tool on or off, or replace its settings. The next turn sees it."""
    tool = _tool(ctx, ask.name)
    if ask.enabled is None and ask.settings is None:
        raise Rejected(required("enabled"))
    if ask.settings is not None:
        _check(tool, ask.settings)
    said: Any = {"name": tool.name, "enabled": ask.enabled, "settings": ask.settings}
    everybody = ctx.caller.tenant_id == MASTER_TENANT
    if everybody:
        await ctx.db(builtin_tools.change, **said)
    else:  # what is said for everybody is the master tenant's business
        await ctx.db(builtin_tools.set_tenant, tenant=ctx.caller.tenant_id, **said)
    changed(ctx, tool.name, everybody=everybody)
    await record(ctx, "tool.updated", "tool", tool.name, **({} if ask.enabled is None else {"enabled": ask.enabled}))
    return await get(ctx, ToolName(name=tool.name))


@operation(Rpc("tools.tenant.set", Role.ADMIN), Http("PUT /v1/tools/builtin/{name}/tenant-config", Role.ADMIN))
@recorded
async def set_tenant(ctx: Context, ask: TenantChoice) -> Status:
    """Switch a built-in tool on or off for your tenant, whatever holds for everybody."""
    tool = _tool(ctx, ask.name)
    tenant = ctx.caller.tenant_id
    await ctx.db(builtin_tools.set_tenant, tenant=tenant, name=tool.name, enabled=ask.enabled, settings=None)
    changed(ctx, tool.name)
    await record(ctx, "tool.updated", "tool", tool.name, enabled=ask.enabled, tenant=True)
    return Status()


@operation(Rpc("tools.tenant.clear", Role.ADMIN), Http("DELETE /v1/tools/builtin/{name}/tenant-config", Role.ADMIN))
@recorded
async def clear_tenant(ctx: Context, ask: ToolName) -> Status:
    """Have a built-in tool as it is for everybody."""
    tool = _tool(ctx, ask.name)
    await ctx.db(builtin_tools.clear_tenant, tenant=ctx.caller.tenant_id, name=tool.name)
    changed(ctx, tool.name)
    await record(ctx, "tool.updated", "tool", tool.name, tenant=False)
    return Status()


def rows_of(tools: Mapping[str, Tool]) -> list[BuiltIn]:
    """What the code says of its tools, for the table."""
    return [
        BuiltIn(
            name=name,
            display_name=_title(name),
            description=tool.spec.description,
            category=tool.group,
            requires=tool.requires,
            position=position,
        )
        for position, (name, tool) in enumerate(sorted(tools.items()))
    ]


def changed(ctx: Context, name: str, *, everybody: bool = False, **more: Any) -> None:
    """Tell whoever keeps what is said of tools, and who looks at it."""
    tenant = ctx.caller.tenant_id
    ctx.system.publish(TOOLS, ToolsChanged(tenant_id="" if everybody else tenant))
    ctx.system.publish(of_operators(tenant), ToolsEvent(body=body(name=name, **more)))


# --- parts ----------------------------------------------------------------------------------------


def _tool(ctx: Context, name: str) -> Tool:
    tool = ctx.house.builtin.get(ALIASES.get(name, name))
    if tool is None:
        raise Rejected(not_found("tool", name))
    return tool


def _view(ctx: Context, tool: Tool, row: BuiltInRow | None) -> dict[str, Any]:
    lacks, since = missing(tool), ctx.now()
    return {
        "name": tool.name,
        "display_name": _title(tool.name),
        "description": tool.spec.description,
        "category": tool.group,
        "group": tool.group,
        "enabled": row.enabled if row is not None else True,
        "tenant_enabled": row.tenant_enabled if row is not None else None,
        "available": not lacks,
        "requires": tool.requires,
        "missing": lacks,
        "settings": row.settings if row is not None else Raw(b"{}"),
        "metadata": {},
        "created_at": row.created_at if row is not None else since,
        "updated_at": row.updated_at if row is not None else since,
    }


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _check(tool: Tool, settings: dict[str, Any]) -> None:
    """Whether the tool would understand them. Secrets have another place."""
    if settings and tool.settings is None:
        raise Rejected(invalid("settings", f"{tool.name} has nothing to set"))
    if secret := next((name for name in _names(settings) if SECRET.search(name)), ""):
        raise Rejected(invalid(f"settings.{secret}"[:100], "secrets do not belong into settings"))
    if len(msgspec.json.encode(settings)) > SETTINGS:
        raise Rejected(invalid("settings", f"more than {SETTINGS} bytes"))
    try:
        msgspec.convert(settings, tool.settings or dict)
    except msgspec.ValidationError as error:
        raise Rejected(explain(str(error), "settings")) from None


def _names(value: Any) -> Iterator[str]:
    """Of all members, however deep."""
    match value:
        case dict():
            for name, inner in value.items():
                yield name
                yield from _names(inner)
        case list():
            for inner in value:
                yield from _names(inner)
