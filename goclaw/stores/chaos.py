"""Chaos plans and what they cost. Table `chaos_plans` (migration 0015); reads `runs`, `session_heads`, `run_events`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from goclaw.domain.chaos import PlanState
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

KEPT = 50  # plans; supervision.md §21
DRIFT = timedelta(minutes=10)  # between the clock ids are made by and the database's
LATE = 60  # seconds after its planned end until a plan of another node counts as dead


class PlanRow(Struct, frozen=True, kw_only=True):
    id: str
    node_id: str
    name: str
    seed: int
    plan: dict[str, Any]
    state: PlanState
    reason: str | None
    report: dict[str, Any] | None
    started_by: str
    started_at: datetime
    ended_at: datetime | None


class Account(Struct, frozen=True, kw_only=True):
    """What became of the turns taken in during one window of a plan. Milliseconds from acceptance to answer."""

    part: int  # 0 before the faults, 1 while they fall, 2 after
    accepted: int
    answered: int
    failed: int
    cancelled: int
    pending: int
    lost: int
    n: int
    p50: float | None
    p99: float | None
    longest: float | None


COLUMNS = "id, node_id, name, seed, plan, state, reason, report, started_by, started_at, ended_at"

START = """
INSERT INTO chaos_plans (id, node_id, name, seed, plan, started_by)
VALUES (%(id)s, %(node)s, %(name)s, %(seed)s, %(plan)s, %(by)s)
"""

FORGET = """
DELETE FROM chaos_plans WHERE state <> 'running' AND id IN (
  SELECT id FROM chaos_plans ORDER BY started_at DESC, id DESC OFFSET %(kept)s)
"""

END = """
UPDATE chaos_plans SET state = %(state)s, reason = %(reason)s, report = %(report)s, ended_at = now()
WHERE id = %(id)s AND state = 'running'
"""

INTERRUPT = f"""
UPDATE chaos_plans SET state = 'interrupted', reason = 'process ended', ended_at = now()
WHERE state = 'running' AND id IS DISTINCT FROM %(living)s::uuid
  AND (node_id = %(node)s OR %(alone)s OR now() > started_at + make_interval(secs => %(late)s
    + (plan->>'before_sec')::float8 + (plan->>'duration_sec')::float8 + (plan->>'after_sec')::float8))
RETURNING {COLUMNS}
"""

ACCOUNT = """
WITH mine AS (
  SELECT r.run_id, r.state, r.lease_expires_at, r.wait_reason, r.tenant_id, r.session_key,
    (r.created_at >= %(faults)s)::int + (r.created_at >= %(calm)s)::int AS part,
    extract(epoch FROM r.finished_at - r.created_at) * 1000 AS took
  FROM runs r
  WHERE r.run_id >= %(oldest)s::uuid AND r.created_at >= %(began)s AND r.created_at < %(until)s
    AND (%(keys)s::text[] IS NULL OR (r.tenant_id = %(tenant)s AND r.session_key = ANY(%(keys)s::text[])))
)
SELECT m.part, count(*) AS accepted,
  count(*) FILTER (WHERE m.state = 'SUCCEEDED') AS answered,
  count(*) FILTER (WHERE m.state IN ('FAILED', 'DEAD_LETTER')) AS failed,
  count(*) FILTER (WHERE m.state = 'CANCELED') AS cancelled,
  count(*) FILTER (WHERE m.state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT')) AS pending,
  count(*) FILTER (WHERE m.state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT') AND m.lease_expires_at IS NULL
    AND m.wait_reason IS NULL AND (h.head_at IS NULL OR h.queued = 0)) AS lost,
  count(*) FILTER (WHERE m.state = 'SUCCEEDED') AS n,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY m.took) FILTER (WHERE m.state = 'SUCCEEDED')::float8 AS p50,
  percentile_disc(0.99) WITHIN GROUP (ORDER BY m.took) FILTER (WHERE m.state = 'SUCCEEDED')::float8 AS p99,
  max(m.took) FILTER (WHERE m.state = 'SUCCEEDED')::float8 AS longest
FROM mine m LEFT JOIN session_heads h USING (tenant_id, session_key)
GROUP BY m.part ORDER BY m.part
"""

MISSING = """
SELECT count(*) FROM unnest(%(runs)s::uuid[]) AS said(run_id)
WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.run_id = said.run_id)
"""

TWICE = """
SELECT count(*) FROM (
  SELECT e.run_id FROM run_events e JOIN runs r USING (run_id)
  WHERE r.run_id >= %(oldest)s::uuid AND r.created_at >= %(began)s AND e.type = 'task.succeeded'
  GROUP BY e.run_id HAVING count(*) > 1) AS twice
"""

CROOKED = """
SELECT count(*) FROM session_heads h,
  LATERAL (SELECT count(*) FILTER (WHERE state = 'QUEUED') AS queued,
      count(*) FILTER (WHERE state IN ('CLAIMED', 'RUNNING')) AS running
    FROM runs r WHERE r.tenant_id = h.tenant_id AND r.session_key = h.session_key
      AND r.state IN ('QUEUED', 'CLAIMED', 'RUNNING')) AS truth
WHERE h.updated_at >= %(began)s AND (h.queued, h.running) <> (truth.queued, truth.running)
"""

ADD_AGENT = """
INSERT INTO agents (id, tenant_id, agent_key, display_name, owner_id, provider, model)
VALUES (%(id)s, %(tenant)s, %(key)s, %(name)s, %(owner)s, 'offline', 'offline-load')
ON CONFLICT DO NOTHING RETURNING id
"""

SWEEP = (
    "DELETE FROM run_steps WHERE run_id IN (SELECT run_id FROM runs WHERE {mine})",
    "DELETE FROM runs WHERE {mine}",
    "DELETE FROM session_heads WHERE {mine}",
    "DELETE FROM sessions WHERE {mine}",
)


@transaction
async def start(db: Connection, *, id: str, node: str, name: str, seed: int, plan: Json, by: str) -> datetime:
    """Write down that a plan begins, forget the oldest ones. The database's time."""
    await db.execute(START, {"id": id, "node": node, "name": name, "seed": seed, "plan": plan, "by": by})
    await db.execute(FORGET, {"kept": KEPT})
    return await one(datetime, db.execute("SELECT now()"))


@transaction(retry_safe=True)
async def end(db: Connection, *, id: str, state: PlanState, reason: str | None, report: Json | None) -> None:
    """Doing it twice is the same as once."""
    await db.execute(END, {"id": id, "state": state, "reason": reason and reason[:60], "report": report})


@transaction(readonly=True)
async def page(db: Connection) -> list[PlanRow]:
    """Newest first."""
    query = f"SELECT {COLUMNS} FROM chaos_plans ORDER BY started_at DESC, id DESC LIMIT %(kept)s"
    return await many(PlanRow, db.execute(query, {"kept": KEPT}))


@transaction(readonly=True)
async def get(db: Connection, *, id: str) -> PlanRow | None:
    return await maybe(PlanRow, db.execute(f"SELECT {COLUMNS} FROM chaos_plans WHERE id = %(id)s", {"id": id}))


@transaction(retry_safe=True)
async def interrupt(db: Connection, *, node: str, alone: bool, living: str | None) -> list[PlanRow]:
    """End the rows of plans that died with their process: ours, all if nobody else can be alive, and overdue ones.

    `living` is the one of ours that does run.
    """
    params = {"node": node, "alone": alone, "living": living, "late": LATE}
    return await many(PlanRow, db.execute(INTERRUPT, params))


@transaction(readonly=True)
async def clock(db: Connection) -> datetime:
    """The time that rows are stamped with."""
    return await one(datetime, db.execute("SELECT clock_timestamp()"))


@transaction(readonly=True)
async def account(
    db: Connection,
    *,
    tenant: str,
    keys: Sequence[str] | None,
    began: datetime,
    faults: datetime,
    calm: datetime,
    until: datetime,
) -> list[Account]:
    """What became of the turns since `began`, by the window they were accepted in; of these sessions, or of all."""
    span = {"began": began, "oldest": oldest(began), "faults": faults, "calm": calm, "until": until}
    return await many(
        Account, db.execute(ACCOUNT, {**span, "tenant": tenant, "keys": None if keys is None else list(keys)})
    )


@transaction(readonly=True)
async def missing(db: Connection, *, runs: Sequence[str]) -> int:
    """How many of these acknowledged runs have no row."""
    return await one(int, db.execute(MISSING, {"runs": list(runs)}))


@transaction(readonly=True)
async def answered_twice(db: Connection, *, began: datetime) -> int:
    """Runs that succeeded more than once."""
    return await one(int, db.execute(TWICE, {"began": began, "oldest": oldest(began)}))


@transaction(readonly=True)
async def crooked_heads(db: Connection, *, began: datetime) -> int:
    """Session heads touched since then whose counts are not those of their runs."""
    return await one(int, db.execute(CROOKED, {"began": began}))


@transaction(retry_safe=True)
async def add_agent(db: Connection, *, id: str, tenant: str, key: str, name: str, owner: str) -> None:
    """The agent synthetic turns talk to, unless there is one with this key."""
    await db.execute(ADD_AGENT, {"id": id, "tenant": tenant, "key": key, "name": name, "owner": owner})


@transaction(retry_safe=True)
async def sweep(db: Connection, *, tenant: str, keys: Sequence[str], agent: str | None) -> None:
    """Delete synthetic sessions with all that was said in them, and the agent with this id. The run log stays."""
    params = {"tenant": tenant, "keys": list(keys)}
    for statement in SWEEP:
        await db.execute(statement.format(mine="tenant_id = %(tenant)s AND session_key = ANY(%(keys)s)"), params)
    if agent is not None:
        await db.execute("DELETE FROM agents WHERE tenant_id = %(tenant)s AND id = %(id)s", {**params, "id": agent})


def oldest(began: datetime) -> str:
    """No run accepted since then has a smaller id (UUIDv7), so that a scan can begin there."""
    text = f"{int((began - DRIFT).timestamp() * 1000):012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-000000000000"
