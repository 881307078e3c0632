"""The agent's own heartbeat. Contract: tools.md §10, sessions-lanes-cron.md §6."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.methods import Methods
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

HOURS = re.compile(r"\s*(\d\d:\d\d)\s*-\s*(\d\d:\d\d)\s*")


class Heartbeat(Struct):
    action: Literal["get", "set", "disable", "run"]
    every_sec: Annotated[int, Meta(ge=60, description="seconds between two beats, at least 300")] | None = None
    prompt: Annotated[str, Meta(max_length=8000)] | None = None
    active_hours: Annotated[str, Meta(max_length=32, description="such as 08:00-22:00; empty = always")] | None = None


@tool(group="automation", effect=Effect.KEYED, reads=("get",))
async def heartbeat(ctx: ToolContext, ask: Heartbeat, methods: Methods) -> str:
    """Look at, set, disable or try your heartbeat: how often you go through HEARTBEAT.md by yourself."""
    of = {"agentId": ctx.asker.agent_id}
    match ask.action:
        case "set":
            await methods.call(ctx.asker, "heartbeat.set", {**of, "enabled": True, **_chosen(ask)})
        case "disable":
            await methods.call(ctx.asker, "heartbeat.toggle", {**of, "enabled": False})
        case "run":
            await methods.call(ctx.asker, "heartbeat.test", of, key=ctx.key)
    found = await methods.call(ctx.asker, "heartbeat.get", of)
    return msgspec.json.encode(found["heartbeat"]).decode()


def _chosen(ask: Heartbeat) -> dict[str, Any]:
    given = {"intervalSec": ask.every_sec, "prompt": ask.prompt}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if ask.active_hours is not None:
        found = HOURS.fullmatch(ask.active_hours)
        if found is None and ask.active_hours.strip():
            raise ToolFailed("invalid_args", f"active_hours {ask.active_hours!r} is not like 08:00-22:00")
        chosen["activeHoursStart"], chosen["activeHoursEnd"] = found.groups() if found is not None else (None, None)
    return chosen
