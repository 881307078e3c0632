"""The gateway itself, for agents of its owner. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.automation.workings import Workings
from goclaw.tools.methods import Methods
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

BY_HAND = {
    "config_patch": "changes of the configuration need an approval, and none can be asked for here; tell the operator "
    "to change config.json, then use action reload",
    "restart": "a restart needs an approval, and none can be asked for here; tell the operator to restart the gateway",
}


class Gateway(Struct):
    action: Literal["status", "config_get", "config_patch", "restart", "reload", "actors", "logs_tail"]
    path: Annotated[str, Meta(max_length=200, description="of a setting or section, such as gateway.port")] | None = (
        None
    )
    value: Any = None
    actor: Annotated[str, Meta(max_length=200, description="its path")] | None = None
    lines: Annotated[int, Meta(ge=1, le=500)] = 100


@tool(
    group="automation",
    effect=Effect.KEYED,
    reads=("status", "config_get", "actors", "logs_tail"),
    not_in={"subagent"},
)
async def gateway(ctx: ToolContext, ask: Gateway, methods: Methods, workings: Workings) -> str:
    """Look at the gateway you run in: status, configuration, actors, latest log lines; read its configuration again."""
    workings.check(ctx.asker)
    said: Any
    match ask.action:
        case "status":
            health = await methods.call(ctx.asker, "health", {})
            said = {**health, **await methods.call(ctx.asker, "status", {})}
        case "config_get":
            said = _part(workings.config(ctx.asker), ask.path or "")
        case "reload":
            said = await workings.reload(ctx.asker)
        case "actors" if ask.actor:
            said = await methods.call(ctx.asker, "actors.get", {"path": ask.actor})
        case "actors":
            said = await methods.call(ctx.asker, "actors.tree", {})
        case "logs_tail":
            return "\n".join(workings.logs(ctx.asker, ask.lines)) or "(no lines yet)"
        case _:
            raise ToolFailed("denied_approval", BY_HAND[ask.action])
    return msgspec.json.encode(said).decode()


def _part(config: dict[str, Any], path: str) -> dict[str, Any]:
    path = path.strip().strip(".")
    found = {key: value for key, value in config.items() if not path or key == path or key.startswith(f"{path}.")}
    if not found:
        raise ToolFailed("not_found", f"there is no setting {path}; without a path all are shown")
    return found
