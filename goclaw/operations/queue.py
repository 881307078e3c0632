"""How much waits and works: runs by state, and the lanes. Contract: dashboard.md §6.3, sessions-lanes-cron.md §9.9."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, to_builtins

from goclaw.domain.access import Role
from goclaw.domain.run_states import HELD, STATES, WAITING
from goclaw.operations.agents import loads
from goclaw.operations.context import Context
from goclaw.operations.gateway import Nothing
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.stores import run_views


class QueueFigures(Struct, kw_only=True):
    """`lanes`: what each lane of this node says, with the runs of the tenant that wait for it or are held."""

    states: dict[str, int]
    dead_letters: int
    lanes: list[dict[str, Any]]


@operation(Rpc("queue.stats", Role.VIEWER), Http("GET /v1/queue", Role.VIEWER), Cli("queue stats"))
async def stats(ctx: Context, ask: Nothing) -> QueueFigures:
    """Count runs by state and lane, at most 10,000 of a state. Who is no admin has their own counted."""
    user = None if ctx.caller.is_admin else ctx.user_id
    counts = await ctx.db(run_views.counts, tenant=ctx.caller.tenant_id, user=user)
    states: dict[str, int] = {state: sum(count.runs for count in counts if count.state == state) for state in STATES}
    lanes = [
        {
            **{name: value for name, value in to_builtins(load).items() if name not in ("type", "by_agent")},
            "waiting": sum(c.runs for c in counts if c.lane == load.name and c.state in WAITING),
            "held": sum(c.runs for c in counts if c.lane == load.name and c.state in HELD),
        }
        for load in await loads(ctx)
    ]
    return QueueFigures(states=states, dead_letters=states["DEAD_LETTER"], lanes=lanes)
