"""The gateway itself: is it well, what is it doing. Contract: edge-websocket.md §7.1, edge-http.md §1."""

from __future__ import annotations

from typing import Any

import trio
from msgspec import Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import StoreError
from goclaw.domain.run import SATURATED
from goclaw.operations.agents import ListAgents, list_agents, loads
from goclaw.operations.context import Context, House
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import State
from goclaw.stores import sessions
from goclaw.stores.health import probe

PROBE = 2.0  # seconds the database has for a sign of life
PROTOCOL = 3


class Nothing(Struct, kw_only=True):
    """No parameters."""


def status_of(house: House) -> str:
    """ok, shutting_down, or degraded: the database, a critical actor or room for messages is missing, or runs have
    waited for too long. From memory."""
    if house.draining:
        return "shutting_down"
    if SATURATED in house.system.groups:
        return "degraded"
    if house.database_lost or house.system.load.queued >= house.system.load.most:
        return "degraded"
    cells = (member for member in house.system.members.values() if isinstance(member, Cell))
    down = any(cell.spec.critical and cell.state is not State.RUNNING for cell in cells)
    return "degraded" if down else "ok"


def actor_counts(house: House) -> dict[str, int]:
    states = [member.state for member in house.system.members.values() if isinstance(member, Cell)]
    return {state.value: states.count(state) for state in (State.RUNNING, State.BACKOFF, State.QUARANTINED)}


async def database_answers(house: House) -> bool:
    """Within 2 s."""
    with trio.move_on_after(PROBE):
        try:
            await house.system.database.run(probe)
            return True
        except StoreError:
            return False
    return False


@operation(Rpc("health", Role.VIEWER), Cli("health"))
async def health(ctx: Context, ask: Nothing) -> dict[str, Any]:
    """Tell whether the gateway and its database are well, and who is connected."""
    house = ctx.house
    clients = [guest.facts() for guest in house.connections.values() if ctx.caller.is_admin or guest.is_of(ctx.caller)]
    return {
        "status": status_of(house),
        "version": house.version,
        "uptime": house.uptime_ms,
        "mode": "standalone" if house.embedded else "managed",
        "database": "ok" if await database_answers(house) else "error",
        "tools": house.tools,
        "clientCount": len(house.connections),
        "clients": clients,
        "currentId": ctx.connection_id,
        "actors": actor_counts(house),
        "protocol": PROTOCOL,
    }


@operation(Rpc("status", Role.VIEWER), Cli("status"))
async def status(ctx: Context, ask: Nothing) -> dict[str, Any]:
    """Show agents, sessions and how busy the lanes are."""
    agents = (await list_agents(ctx, ListAgents())).agents
    return {
        "agents": [
            {
                "id": agent.agent_key,
                "name": agent.display_name,
                "model": agent.model,
                "provider": agent.provider,
                "isRunning": agent.active_runs > 0,
                "activeRuns": agent.active_runs,
            }
            for agent in agents
        ],
        "agentTotal": len(agents),
        "clients": len(ctx.house.connections),
        "sessions": await ctx.db(sessions.count, tenant=ctx.caller.tenant_id),
        "channels": [],
        "lanes": [
            {
                "name": load.name,
                "limit": load.limit,
                "active": load.active,
                "queued": load.queued,
                "waitP50Ms": int(load.wait_p50 * 1000),
                "waitP95Ms": int(load.wait_p95 * 1000),
                "drops": load.drops,
                "saturated": load.pressure > 0,
            }
            for load in await loads(ctx)
        ],
        "nodes": {"total": 0, "online": 0},
        "dispatch": {"total": 0, "ok": 0, "fail": 0, "avgMs": 0, "topAction": ""},
    }


@operation(Rpc("tenants.mine", Role.VIEWER))
async def tenants(ctx: Context, ask: Nothing) -> dict[str, Any]:
    """List the tenants you belong to."""
    caller = ctx.caller
    mine = {
        "id": caller.tenant_id,
        "name": caller.tenant_name,
        "slug": caller.tenant_slug,
        "role": "owner" if caller.is_owner else caller.role.label,
        "status": "active",
    }
    return {"tenants": [mine]}


@operation(Http("GET /health", Role.ANYONE))
async def alive(ctx: Context, ask: Nothing) -> dict[str, Any]:
    """Tell that the process lives; for load balancers."""
    return {"status": status_of(ctx.house), "protocol": PROTOCOL}


@operation(Http("GET /healthz", Role.ANYONE))
async def ready(ctx: Context, ask: Nothing) -> dict[str, Any]:
    """Tell whether work can be done: the database is asked."""
    house = ctx.house
    answers = await database_answers(house)
    facts: dict[str, Any] = {
        "status": "ok" if answers and not house.draining else "unhealthy",
        "healthy": answers and not house.draining,
        "db": "ok" if answers else "error",
        "uptime_seconds": house.uptime_ms // 1000,
    }
    if ctx.caller.role >= Role.VIEWER:
        facts |= {"version": house.version, "actors": actor_counts(house)}
    return facts
