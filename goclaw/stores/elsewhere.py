"""Runs as nodes see them that do not execute them. Table `runs`. Contract: durability.md §5.2, §12."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from goclaw.domain.run import Lane, RunKind, RunResult, RunState
from goclaw.stores.unit import Connection, many, maybe, transaction


class Ending(Struct, frozen=True, kw_only=True):
    """A run that is over."""

    run_id: str
    tenant_id: str
    session_key: str
    user_id: str
    agent_key: str
    kind: RunKind
    state: RunState
    fence: int
    result: RunResult | None
    reason: str = "user"  # it was stopped for
    by: str = ""


class StopWish(Struct, frozen=True, kw_only=True):
    """A run that somebody wants to end, and why."""

    run_id: str
    lane: Lane
    reason: str
    by: str


@transaction(readonly=True)
async def endings(db: Connection, *, runs: Sequence[str], older: float = 0.0) -> list[Ending]:
    """How those of these runs ended that are over for at least `older` seconds. What became part of another run is not
    over with its row."""
    query = """
    SELECT run_id, tenant_id, session_key, user_id, agent_key, kind, state, fence, result,
      coalesce(cancel_requested->>'reason', CASE reason_code WHEN 'CLIENT_GONE' THEN 'client_gone'
        WHEN 'INTERRUPTED' THEN 'interrupt' WHEN 'QUEUE_DROPPED' THEN 'dropped' ELSE 'user' END) AS reason,
      coalesce(cancel_requested->>'by', '') AS by
    FROM runs
    WHERE run_id = ANY(%(runs)s::uuid[]) AND finished_at <= now() - make_interval(secs => %(older)s::float8)
      AND state IN ('SUCCEEDED', 'FAILED', 'CANCELED', 'DEAD_LETTER') AND merged_into IS NULL
    ORDER BY run_id LIMIT 10000
    """
    return await many(Ending, db.execute(query, {"runs": list(runs), "older": older}))


@transaction(readonly=True)
async def stop_wishes(db: Connection, *, node: str) -> list[StopWish]:
    """Runs on this node whose cancel flag is set."""
    query = """
    SELECT run_id, lane, coalesce(cancel_requested->>'reason', 'user') AS reason,
      coalesce(cancel_requested->>'by', '') AS by
    FROM runs WHERE lease_owner = %(node)s AND state IN ('CLAIMED', 'RUNNING') AND cancel_requested IS NOT NULL
    ORDER BY run_id LIMIT 1000
    """
    return await many(StopWish, db.execute(query, {"node": node}))


@transaction(readonly=True)
async def stop_wish(db: Connection, *, tenant: str, run_id: str) -> StopWish | None:
    """Who wanted a run to end, whether it has or not; None if nobody did."""
    query = """
    SELECT run_id, lane, coalesce(cancel_requested->>'reason', 'user') AS reason,
      coalesce(cancel_requested->>'by', '') AS by
    FROM runs WHERE tenant_id = %(tenant)s AND run_id = %(run)s AND cancel_requested IS NOT NULL
    """
    return await maybe(StopWish, db.execute(query, {"tenant": tenant, "run": run_id}))
