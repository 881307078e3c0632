"""Agents: who can be talked to. Contract: edge-websocket.md §7.3, edge-http.md §5, wire-compat.md E1."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.domain.access import Role
from goclaw.domain.address import lane
from goclaw.domain.errors import Rejected, not_found
from goclaw.domain.run import LANES, GetLoad, LaneLoad
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.provider_health import everybody
from goclaw.operations.turns import resolve_agent
from goclaw.providers.choose import default_model, default_provider
from goclaw.settings.providers import Providers
from goclaw.stores import agents
from goclaw.stores.agents import AgentRow


class Agent(Struct, kw_only=True):
    """E-Agent. Empty objects and nulls stand for features that are off."""

    id: str
    agent_key: str
    display_name: str
    owner_id: str
    agent_type: str
    status: str
    is_default: bool
    provider: str
    model: str
    context_window: int
    max_tool_iterations: int
    workspace: str
    restrict_to_workspace: bool
    description: str
    emoji: str
    active_runs: int
    other_config: dict[str, Any]
    tenant_id: str
    created_at: datetime
    updated_at: datetime


class AgentPage(Struct, kw_only=True):
    agents: list[Agent]
    total: int
    limit: int
    offset: int


class ListAgents(Struct, kw_only=True):
    """No filters yet: the list is short and clients read it whole (wire-compat.md A12)."""


class GetAgent(Struct, kw_only=True):
    id: str


def rows_for_socket(page: AgentPage) -> dict[str, Any]:
    """AgentRow of the socket: flat, camelCase, and its id is the key."""
    return {
        "agents": [
            {
                "id": agent.agent_key,
                "agentId": agent.id,
                "name": agent.display_name,
                "model": agent.model,
                "provider": agent.provider,
                "agentType": agent.agent_type,
                "status": agent.status,
                "isRunning": agent.active_runs > 0,
            }
            for agent in page.agents
        ]
    }


@operation(
    Rpc("agents.list", Role.VIEWER, reply=rows_for_socket), Http("GET /v1/agents", Role.VIEWER), Cli("agent list")
)
async def list_agents(ctx: Context, ask: ListAgents) -> AgentPage:
    """List the agents you may talk to."""
    rows = await ctx.db(
        agents.visible, tenant=ctx.caller.tenant_id, user=ctx.caller.user_id, everything=ctx.caller.is_admin
    )
    active = await active_runs(ctx)
    providers = await everybody(ctx)
    found = [_agent(ctx, row, active, providers) for row in rows]
    return AgentPage(agents=found, total=len(found), limit=len(found), offset=0)


@operation(Http("GET /v1/agents/{id}", Role.VIEWER))
async def get_agent(ctx: Context, ask: GetAgent) -> Agent:
    """Show an agent by key or id."""
    profile = await resolve_agent(ctx, ask.id)
    row = await ctx.db(agents.find, tenant=ctx.caller.tenant_id, name=profile.key)
    if row is None:  # deleted since its actor last looked
        raise Rejected(not_found("agent", ask.id))
    return _agent(ctx, row, await active_runs(ctx), await everybody(ctx))


async def loads(ctx: Context) -> list[LaneLoad]:
    """How busy each lane is."""
    return [await ctx.ask(lane(name), GetLoad(), within=2) for name in LANES]


async def active_runs(ctx: Context) -> Counter[str]:
    """Runs that work right now, by agent key."""
    active: Counter[str] = Counter()
    for load in await loads(ctx):
        for agent, count in load.by_agent:
            tenant, _, key = agent.partition("/")
            if tenant == ctx.caller.tenant_id:
                active[key] += count
    return active


def _agent(ctx: Context, row: AgentRow, active: Counter[str], providers: Providers) -> Agent:
    defaults = ctx.house.settings.agents.defaults
    provider = row.provider or default_provider(providers, defaults)
    return Agent(
        id=row.id,
        agent_key=row.agent_key,
        display_name=row.display_name or row.agent_key,
        owner_id=row.owner_id,
        agent_type=row.agent_type,
        status=row.status,
        is_default=row.is_default,
        provider=provider,
        model=row.model or default_model(provider, providers, defaults),
        context_window=row.context_window,
        max_tool_iterations=row.max_tool_iterations,
        workspace=row.workspace,
        restrict_to_workspace=row.restrict_to_workspace,
        description=row.description or "",
        emoji=row.emoji or "",
        active_runs=active[row.agent_key],
        other_config=row.other_config,
        tenant_id=ctx.caller.tenant_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
