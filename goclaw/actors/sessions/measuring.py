"""How full the window of a session's model is: its next prompt, put together and weighed.

Contract: agent-loop.md §20.
"""

from __future__ import annotations

import msgspec

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.prepare import prepared
from goclaw.agent.turn import Draft
from goclaw.domain.agent import AgentProfile
from goclaw.domain.context_use import OUTPUT, ContextUse
from goclaw.domain.run import RunRequest
from goclaw.domain.session import parse_key
from goclaw.domain.tokens import estimate, estimate_prompt
from goclaw.runtime.actor import Context
from goclaw.stores import sessions
from goclaw.stores.runs import Claimed

HISTORY = 400  # messages that a turn reads


async def measured(
    ctx: Context, engine: Engine, profile: AgentProfile, *, tenant: str, key: str, user: str
) -> ContextUse:
    """Raises StoreError."""
    run = Claimed(
        run_id="",
        tenant_id=tenant,
        session_key=key,
        agent_id=profile.id,
        agent_key=profile.key,
        user_id=user,
        kind="chat",
        lane=parse_key(key).lane,
        attempt=1,
        crash_count=0,
        fence=0,
        lease_owner=engine.node_id,
        stored=msgspec.json.encode(RunRequest(message="")).decode(),
        created_at=ctx.clock.now(),
        age=0.0,
    )
    specs = tuple(engine.tools[name].spec for name in engine.guards.allowed(engine.tools, run, profile))
    rows = await ctx.db(sessions.recall, tenant=tenant, key=key, limit=HISTORY)
    task, _ = await prepared(ctx, engine, run, profile, rows, specs, Draft())
    history = task.history[:-1]  # what is said now stands behind it
    stood_in = [message for message in history[:2] if message.content in {row.content for row in rows if not row.seq}]
    summary, window = estimate_prompt(stood_in), profile.context_window
    use = ContextUse(
        window=window,
        soul=estimate(task.system),
        memory=0,
        pins=0,
        shared=0,
        summary=summary,
        messages=estimate_prompt(history) - summary,
        tools=estimate_prompt((), specs),
        output=min(OUTPUT, window),
        free=0,
    )
    taken = use.soul + use.summary + use.messages + use.tools + use.output
    return msgspec.structs.replace(use, free=window - taken)
