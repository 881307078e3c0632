"""Somebody wants runs to end (T12, T13): who waits is over at once, who runs may not succeed any more."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from goclaw.domain.errors import Err
from goclaw.domain.run import Lane
from goclaw.stores.run_locks import hold_runs
from goclaw.stores.runs import LOCK_HEAD
from goclaw.stores.unit import Connection, Json, many, transaction


class Canceled(Struct, frozen=True, kw_only=True):
    run_id: str
    lane: Lane
    fence: int  # how often it had been claimed


class Stopping(Struct, frozen=True, kw_only=True):
    """A run somebody wants to end: it waited and is over, or it runs and its owner must hear of it."""

    run_id: str
    session_key: str
    lane: Lane
    fence: int
    over: bool


CANCEL_WAITING = """
WITH waiting AS (
  SELECT run_id, state FROM runs
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s::text AND state IN ('QUEUED', 'RETRY_WAIT')
    AND (%(runs)s::uuid[] IS NULL OR run_id = ANY(%(runs)s::uuid[]))
  FOR UPDATE
), gone AS (
  UPDATE runs r SET state = 'CANCELED', reason_code = %(reason)s::text, finished_at = now(), updated_at = now(),
    result = jsonb_build_object('run_id', r.run_id, 'session_key', r.session_key, 'cancelled', true,
      'finish_reason', 'cancelled', 'error', %(error)s::jsonb)
  FROM waiting WHERE r.run_id = waiting.run_id
  RETURNING r.run_id, r.lane, r.attempt, r.fence, waiting.state AS was
), head AS (
  UPDATE session_heads SET queued = queued - (SELECT count(*) FROM gone),
    next_seq = next_seq + (SELECT count(*) FROM gone),
    head_at = CASE WHEN queued > (SELECT count(*) FROM gone) THEN now() END, updated_at = now()
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s::text
  RETURNING next_seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    reason_code)
  SELECT run_id, %(tenant)s::uuid, %(key)s::text, head.next_seq - row_number() OVER (ORDER BY run_id DESC),
    'task.canceled', was, 'CANCELED', attempt, fence, %(reason)s::text FROM gone, head ORDER BY run_id
)
SELECT run_id, lane, fence FROM gone ORDER BY run_id
"""

ASK_TO_STOP = """
WITH asked AS (
  UPDATE runs SET cancel_requested = %(why)s::jsonb, updated_at = now()
  WHERE tenant_id = %(tenant)s::uuid AND run_id = ANY(%(runs)s::uuid[]) AND state IN ('CLAIMED', 'RUNNING')
    AND cancel_requested IS NULL
  RETURNING run_id, tenant_id, session_key, lane, attempt, fence
), head AS (
  UPDATE session_heads h SET next_seq = h.next_seq + a.count
  FROM (SELECT tenant_id, session_key, count(*) FROM asked GROUP BY 1, 2) AS a
  WHERE h.tenant_id = a.tenant_id AND h.session_key = a.session_key
  RETURNING h.tenant_id, h.session_key, h.next_seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, attempt, fence, actor, payload)
  SELECT a.run_id, a.tenant_id, a.session_key,
    head.next_seq - row_number() OVER (PARTITION BY a.session_key ORDER BY a.run_id DESC), 'task.cancel_requested',
    a.attempt, a.fence, %(by)s::text, %(why)s::jsonb
  FROM asked a JOIN head USING (tenant_id, session_key) ORDER BY a.run_id
)
SELECT 1
"""

STOPPING = """
SELECT run_id, session_key, lane, fence, false AS over FROM runs
WHERE tenant_id = %(tenant)s::uuid AND run_id = ANY(%(runs)s::uuid[]) AND state IN ('CLAIMED', 'RUNNING')
ORDER BY run_id
"""

WAIT_OF = """
SELECT DISTINCT session_key FROM runs
WHERE tenant_id = %(tenant)s::uuid AND run_id = ANY(%(runs)s::uuid[]) AND state IN ('QUEUED', 'RETRY_WAIT')
ORDER BY session_key
"""


@transaction
async def request_cancel(
    db: Connection, *, tenant: str, run_ids: Sequence[str], by: str, reason: str
) -> list[Stopping]:
    """Have runs ended (T12, T13), oldest first: who waits is over with this commit, who runs may not succeed any more.

    Runs that are over already are not in the answer. Asking twice changes nothing.
    """
    named = {"tenant": tenant, "runs": list(run_ids)}
    asking = {**named, "by": by, "why": {"by": by, "reason": reason}}
    over = []
    await hold_runs(db, tenant=tenant, run_ids=run_ids)
    await db.execute(ASK_TO_STOP, asking)
    for key in await many(str, db.execute(WAIT_OF, named)):
        for gone in await take_out(db, tenant, key, "CANCELED", list(run_ids)):
            over.append(Stopping(run_id=gone.run_id, session_key=key, lane=gone.lane, fence=gone.fence, over=True))
    running = await many(Stopping, db.execute(STOPPING, named))
    return sorted([*running, *over], key=lambda one: one.run_id)


@transaction
async def cancel_waiting(
    db: Connection, *, tenant: str, key: str, reason: str, runs: Sequence[str] | None = None, error: Err | None = None
) -> list[Canceled]:
    """Take waiting runs out of the queue (T12): these, or all. Who was taken, oldest first.

    `error` is what their askers hear; without it they hear that they were cancelled.
    """
    await db.execute(LOCK_HEAD, {"tenant": tenant, "key": key})
    return await take_out(db, tenant, key, reason, runs, error)


async def take_out(
    db: Connection, tenant: str, key: str, reason: str, runs: Sequence[str] | None, error: Err | None = None
) -> list[Canceled]:
    params = {
        "tenant": tenant,
        "key": key,
        "reason": reason,
        "runs": None if runs is None else list(runs),
        "error": None if error is None else Json(error),
    }
    return await many(Canceled, db.execute(CANCEL_WAITING, params))
