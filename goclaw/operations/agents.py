"""Agents: who can be talked to. Contract: edge-websocket.md §7.3, edge-http.md §5, wire-compat.md E1."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.address import lane
from goclaw.domain.agent import DEFAULT_KEY, AgentRole, AgentStatus
from goclaw.domain.errors import Rejected, not_found
from goclaw.domain.run import LANES, GetLoad, LaneLoad
from goclaw.operations.agent_shapes import Agent, AgentPage, view_of
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.provider_health import everybody
from goclaw.operations.turns import checked_key, resolve_agent, role_of
from goclaw.providers.choose import default_model, default_provider
from goclaw.settings.providers import Providers
from goclaw.stores import agents
from goclaw.stores.agents import AgentRow

PAGE = 200  # rows of a list that is paged


class ListAgents(Struct, kw_only=True):
    """Without a limit the list comes whole, which is what deployed clients read (wire-compat.md A12)."""

    search: Annotated[str, Meta(max_length=200)] | None = None
    status: AgentStatus | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class GetAgent(Struct, kw_only=True):
    id: str


class Which(Struct, kw_only=True):
    agent_id: str = DEFAULT_KEY


class Standing(Struct, kw_only=True, rename="camel"):
    """`id` is the key, as everywhere on the socket."""

    id: str
    key: str
    agent_id: str
    is_running: bool
    active_runs: int
    status: str


class WhoseIdentity(Struct, kw_only=True):
    agent_id: str | None = None
    session_key: str | None = None


class Identity(Struct, kw_only=True, rename="camel"):
    agent_id: str
    name: str
    emoji: str
    avatar: str
    description: str


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
    limit = agents.LISTED if ask.limit is None else min(ask.limit, PAGE)
    rows = await ctx.db(
        agents.visible,
        tenant=ctx.caller.tenant_id,
        user=ctx.caller.user_id,
        everything=ctx.caller.is_admin,
        search=ask.search,
        status=ask.status,
        limit=limit,
        offset=ask.offset,
    )
    active = await active_runs(ctx)
    providers = await everybody(ctx)
    found = [shown(ctx, row, row.my_role, active, providers) for row in rows]
    total = rows[0].total if rows else 0
    return AgentPage(agents=found, total=total, limit=limit, offset=ask.offset)


@operation(Http("GET /v1/agents/{id}", Role.VIEWER), Rpc("agents.get", Role.VIEWER), Cli("agent show"))
async def get_agent(ctx: Context, ask: GetAgent) -> Agent:
    """Show an agent by key or id."""
    row, role = await found_agent(ctx, ask.id)
    return shown(ctx, row, role, await active_runs(ctx), await everybody(ctx))


@operation(Rpc("agent", Role.VIEWER))
async def standing(ctx: Context, ask: Which) -> Standing:
    """Say whether an agent works right now."""
    profile = await resolve_agent(ctx, ask.agent_id)
    active = (await active_runs(ctx))[profile.key]
    return Standing(
        id=profile.key,
        key=profile.key,
        agent_id=profile.id,
        is_running=active > 0,
        active_runs=active,
        status=profile.status,
    )


@operation(Rpc("agent.identity.get", Role.VIEWER))
async def identity(ctx: Context, ask: WhoseIdentity) -> Identity:
    """Say who an agent is: its name and its face."""
    named = ask.agent_id or (checked_key(ask.session_key).agent_key if ask.session_key else DEFAULT_KEY)
    row, _ = await found_agent(ctx, named)
    return Identity(
        agent_id=row.agent_key,
        name=row.display_name or row.agent_key,
        emoji=row.emoji or "",
        avatar=row.avatar or "",
        description=row.description or "",
    )


async def found_agent(ctx: Context, name: str) -> tuple[AgentRow, AgentRole]:
    """An agent's row, and what the caller may do with it. Refused like one that is not there if he may nothing."""
    profile = await resolve_agent(ctx, name)
    row = await ctx.db(agents.find, tenant=ctx.caller.tenant_id, name=profile.id)
    if row is None:  # deleted since its actor last looked
        raise Rejected(not_found("agent", name[:100]))
    return row, await role_of(ctx, profile)


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


def shown(ctx: Context, row: AgentRow, role: AgentRole, active: Counter[str], providers: Providers) -> Agent:
    defaults = ctx.house.settings.agents.defaults
    provider = row.provider or default_provider(providers, defaults)
    return view_of(
        row,
        tenant=ctx.caller.tenant_id,
        role=role,
        provider=provider,
        model=row.model or default_model(provider, providers, defaults),
        active_runs=active[row.agent_key],
    )
