"""Claims of a lane: who was chosen becomes ours. Contract: durability.md §5; sessions-lanes-cron.md §4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.pressure import Pressure
from goclaw.actors.engine.ready import Ready
from goclaw.domain.pick import Candidate
from goclaw.domain.run import Lane
from goclaw.runtime.actor import Context
from goclaw.stores import run_claims, shards
from goclaw.stores.runs import Claimed


@dataclass(frozen=True)
class Claims:
    lane: Lane
    engine: Engine
    ready: Ready
    pressure: Pressure

    async def claim(self, ctx: Context, chosen: Sequence[Candidate]) -> list[Claimed]:
        """Those of them that still wait, in one transaction. Raises StaleOwner if one is another node's, StoreError."""
        now, since = ctx.clock.monotonic(), {one.session: one.since for one in chosen}
        own, node, rules = self.engine.ownership, self.engine.node_id, self.engine.locks
        sessions, policy = list(since), self.engine.guards.policy.version
        wanted: dict[str, Any] = {
            "node": node,
            "lane": self.lane,
            "sessions": sessions,
            "limit": len(sessions),
            "rules": rules,
            "policy": policy,
        }
        if own.alone:
            claimed = await ctx.db(run_claims.claim, **wanted)
        else:
            claimed = await ctx.db(shards.claim, fences=own.shards, **wanted)
        for run in claimed:
            self.took(ctx, run, now - since[run.tenant_id, run.session_key])
        return claimed

    def took(self, ctx: Context, run: Claimed, waited: float) -> None:
        """Its tenant and its user had their turn, and it is known how long it waited for a slot."""
        now = ctx.clock.monotonic()
        waited = max(0.0, min(waited, run.age))
        self.ready.turns.took(run.tenant_id, run.user_id)
        self.pressure.claimed(now, waited)
        ctx.system.meter.observe("run_claim_wait_seconds", waited, self.lane, run.kind)
        ctx.system.meter.observe("run_queue_seconds", run.age, self.lane, run.kind)
