"""Sending a turn, whichever door it came through: who answers, in which session, stored before anything else."""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.address import session
from goclaw.domain.agent import DEFAULT_KEY
from goclaw.domain.errors import Rejected, invalid, not_found, unavailable
from goclaw.domain.run import RunKind, RunRequest
from goclaw.domain.session import Accepted, Earlier, Send, SessionKey, parse_key
from goclaw.operations.context import Context
from goclaw.stores import agents
from goclaw.stores.agents import AgentRow

ACCEPT_WITHIN = 10.0  # seconds for the commit that accepts a turn


async def resolve_agent(ctx: Context, name: str | None) -> AgentRow:
    """The agent with this key or id; without a name, or for `default`, the tenant's default agent.

    Refused with not_found when there is none, or the caller may not see it (edge-auth.md §5.3).
    """
    tenant = ctx.caller.tenant_id
    agent = await ctx.db(agents.find, tenant=tenant, name=name) if name else None
    if agent is None and name in (None, DEFAULT_KEY):
        agent = await ctx.db(agents.default, tenant=tenant)
    visible = agent and (ctx.caller.is_admin or agent.is_default or agent.owner_id == ctx.caller.user_id)
    if agent is None or not visible:
        raise Rejected(not_found("agent", name or DEFAULT_KEY))
    return agent


def checked_key(text: str) -> SessionKey:
    try:
        return parse_key(text)
    except ValueError as error:
        raise Rejected(invalid("session_key", str(error))) from None


async def send(
    ctx: Context,
    *,
    run_id: str,
    agent: AgentRow,
    key: SessionKey,
    kind: RunKind,
    request: RunRequest,
    earlier: Sequence[Earlier] = (),
    idempotency_key: str = "",
) -> Accepted:
    """Have the turn accepted by its session. When this returns it is in the database.

    The answer names another run than `run_id` when the idempotency key was used before.
    """
    if ctx.house.draining:
        raise Rejected(unavailable("shutting_down"))
    if agent.status != "active":
        raise Rejected(unavailable("agent_inactive"))
    ask = Send(
        run_id=run_id,
        user_id=ctx.user_id,
        as_admin=ctx.caller.is_admin,
        agent_id=agent.id,
        agent_key=agent.agent_key,
        kind=kind,
        request=request,
        earlier=tuple(earlier),
        idempotency_key=idempotency_key,
    )
    return await ctx.ask(session(ctx.caller.tenant_id, str(key)), ask, within=ACCEPT_WITHIN)


def cut(ctx: Context, text: str) -> tuple[str, bool]:
    """A message at its longest allowed length, and whether it was longer (edge-websocket.md §1.1)."""
    limit = ctx.house.settings.gateway.max_message_chars
    return text[:limit], len(text) > limit
