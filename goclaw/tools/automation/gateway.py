"""The gateway itself, for agents of its owner. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct

from goclaw.domain.approval import Wish
from goclaw.domain.run import LANE_OF
from goclaw.tools.approvals import Approvals
from goclaw.tools.automation.workings import Workings
from goclaw.tools.methods import Methods
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

BY_HAND = {
    "config_patch": "changes of the configuration need an approval, and none can be asked for here; tell the operator "
    "to change config.json, then use action reload",
    "restart": "a restart needs an approval, and none can be asked for here; tell the operator to restart the gateway",
}
LONGEST = 3600  # seconds an approval may take


class Gateway(Struct):
    action: Literal["status", "config_get", "config_patch", "restart", "reload", "actors", "logs_tail"]
    path: Annotated[str, Meta(max_length=200, description="of a setting or section, such as gateway.port")] | None = (
        None
    )
    value: Any = UNSET
    actor: Annotated[str, Meta(max_length=200, description="its path")] | None = None
    lines: Annotated[int, Meta(ge=1, le=500)] = 100


@tool(
    group="automation",
    effect=Effect.KEYED,
    reads=("status", "config_get", "actors", "logs_tail"),
    not_in={"subagent"},
    timeout=LONGEST + 120,
)
async def gateway(ctx: ToolContext, ask: Gateway, methods: Methods, workings: Workings, approvals: Approvals) -> str:
    """Look at the gateway you run in: status, configuration, actors, latest log lines; read its configuration again,
    change a key of it (value null takes it away), or restart it. The last two wait for an approval.
    """
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
        case "config_patch" | "restart" if not approvals.asks:
            raise ToolFailed("denied_approval", BY_HAND[ask.action])
        case "config_patch":
            said = await _patched(ctx, ask, workings, approvals)
        case "restart":
            said = await _restarted(ctx, workings, approvals)
    return msgspec.json.encode(said).decode()


async def _patched(ctx: ToolContext, ask: Gateway, workings: Workings, approvals: Approvals) -> dict[str, Any]:
    """Nobody is asked about what cannot be done, or holds already: also because an earlier life has done it."""
    if not ask.path or ask.value is UNSET:
        raise ToolFailed("invalid_args", "config_patch needs path and value; null takes the key away")
    would = await workings.rehearse(ctx.asker, ask.path, ask.value)
    if not would:
        return {"changed": []}
    await _approved(ctx, approvals, "config_patch", would)
    return await workings.patch(ctx.asker, ask.path, ask.value)


async def _restarted(ctx: ToolContext, workings: Workings, approvals: Approvals) -> dict[str, Any]:
    """The answer is stored before the gateway ends; where it was not, the start that came since is the one."""
    if ctx.again:
        return {"restarted": True}
    await _approved(ctx, approvals, "restart", "restart the gateway")
    await workings.restart(ctx.asker)
    return {"restarting": True, "note": "the gateway restarts now; this run goes on afterwards"}


async def _approved(ctx: ToolContext, approvals: Approvals, action: str, what: str) -> None:
    asker = ctx.asker
    await approvals.ask(
        Wish(
            tenant_id=asker.tenant_id,
            user_id=asker.user_id,
            agent_id=asker.agent_id,
            agent_key=asker.agent_key,
            session_key=asker.session_key,
            run_id=ctx.run_id,
            call_id=ctx.call_id,
            tool="gateway",
            kind=f"gateway.{action}",
            command=what,
            forced=True,
            channel=asker.channel,
            chat_id=asker.chat_id,
            sender_id=ctx.sender_id,
            lane=LANE_OF[ctx.run_kind],
        )
    )


def _part(config: dict[str, Any], path: str) -> dict[str, Any]:
    path = path.strip().strip(".")
    found = {key: value for key, value in config.items() if not path or key == path or key.startswith(f"{path}.")}
    if not found:
        raise ToolFailed("not_found", f"there is no setting {path}; without a path all are shown")
    return found
