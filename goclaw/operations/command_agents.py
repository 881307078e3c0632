"""`/agents`, `/agent`, `/model`: who answers in a chat, with which model. Contract: channels.md §10."""

from __future__ import annotations

from goclaw.domain.agent import DEFAULT_KEY
from goclaw.domain.errors import Rejected, invalid
from goclaw.operations.addressing import choose, found, unknown
from goclaw.operations.command_reply import say
from goclaw.operations.context import Context
from goclaw.operations.session_changes import ChangeSession, patch
from goclaw.operations.sessions import session_seen
from goclaw.operations.turns import checked_key, resolve_agent
from goclaw.stores import agents as rows

LISTED = 50  # agents that a chat is told of


async def agents(ctx: Context, key: str, _words: list[str]) -> str:
    caller = ctx.caller
    known = await ctx.db(
        rows.visible, tenant=caller.tenant_id, user=caller.user_id, everything=caller.is_admin, limit=LISTED
    )
    return say(ctx, "agents", agents=", ".join(row.agent_key for row in known), agent=checked_key(key).agent_key)


async def agent(ctx: Context, key: str, words: list[str]) -> str:
    name = checked_key(key)
    if len(words) > 1:
        raise Rejected(invalid("message", "/agent or /agent KEY"))
    if not words:
        return say(ctx, "agent", agent=name.agent_key)
    wanted = words[0].lstrip("@").lower()
    if wanted == DEFAULT_KEY:
        await choose(ctx, name, None)
        return say(ctx, "agent_home")
    profile = await found(ctx, wanted)
    if profile is None:
        what, facts = await unknown(ctx, wanted[:100])
        return say(ctx, what, **facts)
    await choose(ctx, name, profile)
    return say(ctx, "agent", agent=profile.key)


async def model(ctx: Context, key: str, words: list[str]) -> str:
    """`/model ID` is of this session; `/model default` gives it the agent's again."""
    if len(words) > 1:
        raise Rejected(invalid("message", "/model, /model ID or /model default"))
    if words:
        wanted = None if words[0].lower() == "default" else words[0]
        if wanted is not None or await session_seen(ctx, key) is not None:
            await patch(ctx, ChangeSession(key=key, model=wanted))
    row = await session_seen(ctx, key)
    profile = await resolve_agent(ctx, checked_key(key).agent_key)
    return say(ctx, "model", provider=profile.provider, model=(row.model if row else None) or profile.model)
