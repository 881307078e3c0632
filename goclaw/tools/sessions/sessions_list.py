"""An agent's conversations with the user of the run. Contract: tools.md §10."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.session import parse_key
from goclaw.tools.methods import Methods
from goclaw.tools.sessions.own import PAGE, PAGES, agent_of
from goclaw.tools.tool import Effect, ToolContext, tool


class SessionsList(Struct):
    limit: Annotated[int, Meta(ge=1, le=200)] = 20
    active_minutes: Annotated[int, Meta(ge=1, description="touched within so many minutes")] | None = None
    query: Annotated[str, Meta(max_length=200, description="part of a label or key")] | None = None
    kinds: Annotated[list[str], Meta(description="direct, group, main, ws, http, cli, cron, …")] | None = None


@tool(group="sessions", effect=Effect.PURE, parallel=True)
async def sessions_list(ctx: ToolContext, ask: SessionsList, methods: Methods) -> str:
    """List your conversations with this user, last touched first."""
    agent = agent_of(ctx)
    wanted: dict[str, Any] = {"agentId": agent, "userId": ctx.asker.user_id, "limit": PAGE}
    if ask.query:
        wanted["search"] = ask.query
    since = None
    if ask.active_minutes is not None:
        since = ctx.now() - timedelta(minutes=min(ask.active_minutes, 10**8))
    found: list[dict[str, Any]] = []
    for page in range(PAGES):
        rows = (await methods.call(ctx.asker, "sessions.list", {**wanted, "offset": page * PAGE}))["sessions"]
        fresh = [row for row in rows if since is None or _moment(row["updated"]) >= since]
        for row in fresh:
            key = parse_key(row["key"])
            if key.agent_key == agent and (not ask.kinds or key.kind in ask.kinds):
                found.append(_shown(row))
        if len(found) >= ask.limit or len(fresh) < PAGE:
            break
    return msgspec.json.encode(found[: ask.limit]).decode()


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": row["key"],
        "label": row["label"],
        "updated_at": row["updated"],
        "messages": row["messageCount"],
        "channel": row["channel"],
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
