"""A run of ours leaves RUNNING: one commit, fenced, with all it has to leave behind. Contract: durability.md §4."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from goclaw.domain.chat import Usage
from goclaw.domain.run import RunResult, RunState
from goclaw.stores.model_calls import CALLS
from goclaw.stores.reservations import PAID
from goclaw.stores.run_kept import BLOBS, NOTHING, RECORDS, STEPS, Kept
from goclaw.stores.runs import Claimed, Depth, StaleOwner
from goclaw.stores.sessions import GROW, GROWN, MESSAGES, NewMessage, growth
from goclaw.stores.unit import Connection, Json, maybe, transaction


class Fault(Struct, frozen=True, kw_only=True):
    """An error as poison is told by: its fingerprint, and how often it came in a row."""

    fingerprint: str
    alike: int


LEAVE = """
WITH mine AS (
  UPDATE runs r SET state = %(to)s::text, result = %(result)s::jsonb, reason_code = %(reason)s::text,
    last_error = coalesce(%(error)s::text, r.last_error), attempt = r.attempt + %(attempts)s,
    crash_count = r.crash_count + %(crashes)s,
    fingerprint = coalesce(%(fingerprint)s::text, r.fingerprint),
    fingerprint_count = CASE WHEN %(fingerprint)s::text IS NULL THEN r.fingerprint_count ELSE %(alike)s::int END,
    lease_owner = NULL, lease_expires_at = NULL, updated_at = now(),
    available_at = CASE WHEN %(delay)s::float8 > 0 THEN now() + make_interval(secs => %(delay)s::float8)
      ELSE r.available_at END, finished_at = CASE WHEN %(requeued)s = 0 THEN now() END
  WHERE r.run_id = %(run)s AND r.tenant_id = %(tenant)s AND r.lease_owner = %(owner)s::uuid AND r.fence = %(fence)s
    AND r.state IN ('CLAIMED', 'RUNNING')
    AND (%(to)s::text NOT IN ('SUCCEEDED', 'RETRY_WAIT') OR %(crashes)s > 0 OR (r.cancel_requested IS NULL AND EXISTS (
      SELECT 1 FROM sessions s
      WHERE s.tenant_id = r.tenant_id AND s.session_key = r.session_key AND s.generation = r.generation)))
  RETURNING r.run_id, r.tenant_id, r.session_key, r.attempt, r.fence, r.generation, r.available_at, r.agent_id,
    r.user_id, r.kind
), head AS (
  UPDATE session_heads h SET running = h.running - 1, queued = h.queued + %(requeued)s, next_seq = h.next_seq + 1,
    head_at = CASE
      WHEN %(requeued)s = 0 THEN CASE WHEN h.queued > 0 THEN now() END
      WHEN %(delay)s::float8 > 0 AND EXISTS (
        SELECT 1 FROM runs o WHERE o.tenant_id = mine.tenant_id AND o.session_key = mine.session_key
          AND o.state IN ('QUEUED', 'RETRY_WAIT') AND (o.run_id < mine.run_id OR 'announce' IN (o.kind, mine.kind)))
        THEN least(h.head_at, mine.available_at)
      ELSE mine.available_at END,
    updated_at = now()
  FROM mine WHERE h.tenant_id = mine.tenant_id AND h.session_key = mine.session_key
  RETURNING h.queued, h.running, h.next_seq - 1 AS seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    node_id, reason_code)
  SELECT mine.run_id, mine.tenant_id, mine.session_key, head.seq, %(event)s, 'RUNNING', %(to)s::text, mine.attempt,
    mine.fence, %(owner)s::uuid, %(reason)s::text FROM mine, head
)"""

PARTS = {
    "history": f"""session AS (
  {GROW} FROM mine
  WHERE s.tenant_id = mine.tenant_id AND s.session_key = mine.session_key AND s.generation = mine.generation
  RETURNING {GROWN}
), message AS (
  {MESSAGES}
)""",
    "steps": f"step AS ({STEPS})",
    "records": f"record AS ({RECORDS})",
    "blobs": f"blob AS ({BLOBS})",
    "calls": f"call AS ({CALLS})",
    "payers": PAID,
    "ledger": """effect AS (
  UPDATE tool_effects SET status = 'UNKNOWN', finished_at = now()
  FROM mine WHERE tool_effects.run_id = mine.run_id AND status = 'STARTED' AND %(requeued)s = 0
), checkpoint AS (
  UPDATE loop_checkpoints SET updated_at = now(), status = CASE
      WHEN max_steps IS NULL OR %(to)s::text NOT IN ('SUCCEEDED', 'FAILED') THEN lower(%(to)s::text)
      WHEN %(reason)s::text = 'TIMEOUT' THEN 'timeout'
      WHEN %(result)s::jsonb->>'stop_reason' = 'budget' THEN 'budget_exceeded'
      WHEN %(to)s::text = 'FAILED' OR %(result)s::jsonb->>'stop_reason' = 'loop_killed' THEN 'failed'
      ELSE 'completed' END
  FROM mine WHERE loop_checkpoints.run_id = mine.run_id
)""",
}


@lru_cache(maxsize=32)
def leaving(*parts: str) -> str:
    """One statement: the head changes only with the run, and the run only if it is still ours. No part for nothing."""
    return ",\n".join([LEAVE, *(PARTS[part] for part in parts)]) + "\nSELECT queued, running FROM head"


BURY = """
WITH dead AS (
  UPDATE runs SET state = 'DEAD_LETTER', reason_code = %(reason)s::text, updated_at = now()
  WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND state = 'FAILED'
  RETURNING run_id, tenant_id, session_key, attempt, fence, reason_code
), head AS (
  UPDATE session_heads h SET next_seq = h.next_seq + 1
  FROM dead d WHERE h.tenant_id = d.tenant_id AND h.session_key = d.session_key RETURNING h.next_seq - 1 AS seq
)
INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
  reason_code)
SELECT d.run_id, d.tenant_id, d.session_key, head.seq, 'task.dead_letter', 'FAILED', 'DEAD_LETTER', d.attempt, d.fence,
  d.reason_code FROM dead d, head
"""


@transaction(single=True)
async def succeed(
    db: Connection, run: Claimed, *, result: RunResult, messages: Sequence[NewMessage], kept: Kept = NOTHING
) -> Depth:
    """The answer, its messages and its counters, in one commit (T5).

    Raises `StaleOwner`, also when somebody asked it to stop or reset its session: see `standing`.
    """
    return await leave(db, run, "SUCCEEDED", "task.succeeded", result=result, messages=messages, kept=kept)


@transaction
async def fail(
    db: Connection,
    run: Claimed,
    *,
    result: RunResult,
    reason: str,
    error: str,
    messages: Sequence[NewMessage],
    kept: Kept = NOTHING,
    dead: str | None = None,
    fault: Fault | None = None,
) -> Depth:
    """The run ends without an answer (T7). What the user said stays in the history. Raises `StaleOwner`.

    `dead`: the reason why nobody may try again, and so a dead letter (T8), in the same commit.
    """
    depth = await leave(
        db,
        run,
        "FAILED",
        "task.failed",
        result=result,
        reason=reason,
        error=error,
        messages=messages,
        kept=kept,
        fault=fault,
    )
    if dead is not None:
        await db.execute(BURY, {"run": run.run_id, "tenant": run.tenant_id, "reason": dead})
    return depth


@transaction(single=True)
async def retry(
    db: Connection, run: Claimed, *, reason: str, error: str, fault: Fault, delay: float, kept: Kept = NOTHING
) -> Depth:
    """It failed in a way that may pass: again in `delay` seconds (T6). Raises `StaleOwner`."""
    return await leave(
        db, run, "RETRY_WAIT", "task.retry_wait", reason=reason, error=error, fault=fault, delay=delay, kept=kept
    )


@transaction(single=True)
async def cancel(
    db: Connection,
    run: Claimed,
    *,
    result: RunResult,
    reason: str,
    messages: Sequence[NewMessage],
    kept: Kept = NOTHING,
) -> Depth:
    """Somebody stopped it (T13). The partial text is kept, unless its session was reset. Raises `StaleOwner`."""
    return await leave(db, run, "CANCELED", "task.canceled", result=result, reason=reason, messages=messages, kept=kept)


async def leave(
    db: Connection,
    run: Claimed,
    to: RunState,
    event: str,
    *,
    result: RunResult | None = None,
    reason: str | None = None,
    error: str | None = None,
    attempts: int = 0,
    crashes: int = 0,
    fault: Fault | None = None,
    delay: float = 0.0,
    messages: Sequence[NewMessage] = (),
    kept: Kept = NOTHING,
) -> Depth:
    """Move a run of ours out of RUNNING: its head, its event, the turn's messages and tokens, in one statement."""
    parts = {
        "history": messages,
        "steps": kept.steps,
        "records": kept.records,
        "blobs": kept.blobs,
        "calls": kept.calls,
        "payers": kept.calls and kept.payers,
        "ledger": kept.ledger,
    }
    statement = leaving(*(name for name, wanted in parts.items() if wanted))
    params = {
        "run": run.run_id,
        "tenant": run.tenant_id,
        "owner": run.lease_owner,
        "fence": run.fence,
        "to": to,
        "event": event,
        "result": None if result is None else Json(result),
        "reason": reason,
        "error": None if error is None else error[:2000],
        "attempts": attempts,
        "crashes": crashes,
        "requeued": 1 if to in ("QUEUED", "RETRY_WAIT") else 0,
        "fingerprint": None if fault is None else fault.fingerprint,
        "alike": 0 if fault is None else fault.alike,
        "delay": delay,
        **kept.params(),
        **growth(messages, run.run_id, result.usage if result is not None else Usage()),
    }
    depth = await maybe(Depth, db.execute(statement, params))
    if depth is None:
        raise StaleOwner(run.run_id)
    return depth
