"""What actors that start runs by the clock share: who minds it, and how such a run is announced."""

from __future__ import annotations

from goclaw.actors.engine.voice import Voice
from goclaw.domain.address import lane, session
from goclaw.domain.events import body, of_run
from goclaw.domain.run import LANE_OF, RunKind, RunQueued
from goclaw.domain.session import RunLost
from goclaw.runtime.actor import Context
from goclaw.stores import cluster

NAME = "cron"  # of the lease; durability.md §12.1
RENEW = 3.0  # seconds between two claims of it
TTL = 10.0  # seconds a claim holds


class Lead:
    """Whether this node minds the clock, asked of the database now and then."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.held = False
        self._asked = float("-inf")

    async def held_by_us(self, ctx: Context) -> bool:
        if ctx.clock.monotonic() - self._asked >= RENEW:
            self.held = False  # until we are told
            self.held = await ctx.db(cluster.take_name, name=NAME, node=self.node_id, ttl=TTL) is not None
            self._asked = ctx.clock.monotonic()
        return self.held

    async def let_go(self, ctx: Context) -> None:
        """Another node may mind the clock at once."""
        if self.held:
            await ctx.db(cluster.release_name, name=NAME, node=self.node_id)


def begin(
    ctx: Context, kind: RunKind, *, run_id: str, tenant_id: str, user_id: str, agent_key: str, session_key: str
) -> None:
    """A run was stored: listen to it, and tell its session, its lane and whoever watches."""
    ctx.join(of_run(run_id))
    ctx.tell(session(tenant_id, session_key), RunLost())  # it did not take the run in, so it has to look
    voice = Voice(
        ctx,
        run_id=run_id,
        tenant_id=tenant_id,
        user_id=user_id,
        agent_key=agent_key,
        session_key=session_key,
        kind=kind,
    )
    voice.say("run.queued", body(position=0))
    ctx.tell(lane(LANE_OF[kind]), RunQueued(tenant_id=tenant_id, session_key=session_key))
