"""How a conversation stands. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.errors import Rejected
from goclaw.runtime.faults import RuntimeFault
from goclaw.tools.methods import Methods
from goclaw.tools.sessions.own import agent_of, own_key, row_of
from goclaw.tools.sessions.sessions_history import NOW
from goclaw.tools.tool import Effect, ToolContext, tool


class SessionStatus(Struct):
    key: Annotated[str, Meta(max_length=512, description="this one if absent")] | None = None


@tool(group="sessions", effect=Effect.PURE, parallel=True, not_in={"subagent"})
async def session_status(ctx: ToolContext, ask: SessionStatus, methods: Methods) -> str:
    """Tell how one of your conversations stands: model, tokens, how full its context is, what runs and waits."""
    agent = agent_of(ctx)
    key = str(own_key(ctx, ask.key or ctx.asker.session_key))
    row = await row_of(ctx, key, methods)
    here = key == ctx.asker.session_key
    return msgspec.json.encode(
        {
            "key": key,
            "agent": agent,
            "model": row["model"] or (ctx.model if here else None) or None,
            "provider": row["provider"] or (ctx.provider if here else None) or None,
            "tokens_in": row["inputTokens"],
            "tokens_out": row["outputTokens"],
            "context_used_pct": await _used(ctx, key, methods),
            "queue_len": row["queued"],
            "running": row["isRunning"],
        }
    ).decode()


async def _used(ctx: ToolContext, key: str, methods: Methods) -> int | None:
    """Of the context window, by what the model counted last; None if it counted nothing."""
    try:
        past = await methods.call(ctx.asker, "sessions.at", {"key": key, "at": NOW, "limit": 1})
        agent = await methods.call(ctx.asker, "agents.get", {"id": ctx.asker.agent_key})
    except (Rejected, RuntimeFault):  # the rest is worth telling
        return None
    tokens, window = (past.get("prompt") or {}).get("tokens"), agent.get("context_window")
    return min(100, round(100 * tokens / window)) if tokens and window else None
