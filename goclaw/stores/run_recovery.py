"""Runs that lose their owner: given up in order, crashed, or left by a node that died. Contract: durability.md §6."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from goclaw.domain.errors import unavailable
from goclaw.domain.run import KINDS, RunResult, RunState
from goclaw.stores.run_ends import BURY, leave
from goclaw.stores.run_kept import NOTHING, Kept
from goclaw.stores.run_stops import take_out
from goclaw.stores.runs import CLAIMED, Claimed, Depth, asked
from goclaw.stores.unit import Connection, many, one, transaction

CRASHES = 3  # the third ends the run; durability.md §6.2
LOST = unavailable("crashed")  # what the asker of a run hears that crashed too often

Cause = Literal["crash", "lease", "restart"]
Recovered = Literal["requeued", "cancelled", "dead"]
AFTER: dict[Cause, tuple[RunState, str, str]] = {  # how a run goes on: its state, the event, the reason
    "crash": ("RETRY_WAIT", "task.retry_wait", "RETRY_ACTOR_CRASH"),
    "lease": ("QUEUED", "task.lease_expired_requeued", "LEASE_EXPIRED"),
    "restart": ("QUEUED", "task.recovered", "NODE_RESTARTED"),
}


class Forsaken(Struct, frozen=True, kw_only=True):
    run_id: str
    tenant_id: str
    session_key: str


ORPHANS = f"""
SELECT {CLAIMED}
FROM runs
WHERE state IN ('CLAIMED', 'RUNNING') AND lease_owner <> %(node)s
  AND (%(alone)s OR lease_expires_at < clock_timestamp())
ORDER BY run_id LIMIT 50
"""


@transaction
async def put_back(db: Connection, run: Claimed, *, reason: str, kept: Kept = NOTHING) -> Depth:
    """Give the run up so that somebody else takes it, not counted as an attempt (T9). Raises `StaleOwner`.

    Nobody takes a run over whose asker goes with us.
    """
    depth = await leave(db, run, "QUEUED", "task.released", reason=reason, attempts=-1, kept=kept)
    if await _given_up(db, run):
        return Depth(depth.queued - 1, depth.running)
    return depth


@transaction
async def recover(db: Connection, run: Claimed, cause: Cause = "lease", *, delay: float = 0.0) -> Recovered:
    """What becomes of a run whose actor crashed (T6) or whose owner died (T10) or starts anew (T11): again, unless
    its asker is gone, somebody wanted it to stop or it crashed too often.

    `delay`: seconds until then. Raises `StaleOwner` if somebody else was faster.
    """
    if run.crash_count + 1 >= CRASHES:
        result = RunResult(run_id=run.run_id, session_key=run.session_key, error=LOST)
        await leave(
            db,
            run,
            "FAILED",
            "task.failed",
            result=result,
            reason=AFTER[cause][2],
            attempts=-1,
            crashes=1,
            messages=asked(run),
        )
        await db.execute(BURY, {"run": run.run_id, "tenant": run.tenant_id, "reason": "DEAD_LETTER_CRASH_LOOP"})
        return "dead"
    to, event, reason = AFTER[cause]
    await leave(db, run, to, event, reason=reason, attempts=-1, crashes=1, delay=delay)
    return "cancelled" if await _given_up(db, run) else "requeued"


@transaction(readonly=True)
async def orphans(db: Connection, *, node: str, alone: bool) -> list[Claimed]:
    """Runs whose owner is dead: its lease is over, or nobody else can be alive (`alone`)."""
    return await many(Claimed, db.execute(ORPHANS, {"node": node, "alone": alone}))


@transaction(readonly=True)
async def forsaken(db: Connection, *, node: str) -> list[Forsaken]:
    """Runs that wait for a slot although their asker held a line that a dead process took with it.

    They are older than `node`, the id of the process that asks: ids are in the order of their making.
    """
    query = """
    SELECT run_id, tenant_id, session_key FROM runs
    WHERE state = 'QUEUED' AND kind = 'http' AND ingress_key IS NULL AND run_id < %(node)s::uuid
    ORDER BY run_id LIMIT 1000
    """
    return await many(Forsaken, db.execute(query, {"node": node}))


async def _given_up(db: Connection, run: Claimed) -> bool:
    """End a requeued run that nobody wants any more: its asker held the line of a process that ends, its kind is not
    resumed (sessions-lanes-cron.md §9.4), or somebody asked it to stop. True if so.
    """
    query = "SELECT cancel_requested IS NOT NULL FROM runs WHERE run_id = %(run)s"
    if await one(bool, db.execute(query, {"run": run.run_id})):
        reason = "CANCELED"
    elif not KINDS[run.kind].recovers and not (run.kind == "http" and run.idempotent):
        reason = "CLIENT_GONE" if run.kind == "http" else "CANCELED"
    else:
        return False
    await take_out(db, run.tenant_id, run.session_key, reason, [run.run_id])
    return True
