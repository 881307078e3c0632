"""An operator wants a run that is over to be tried again. Contract: durability.md §4 (T15)."""

from __future__ import annotations

from msgspec import Struct

from goclaw.domain.run import KINDS, Lane, RunKind
from goclaw.stores.sessions import withdraw
from goclaw.stores.unit import Connection, maybe, transaction


class Retried(Struct, frozen=True, kw_only=True):
    """A run that is in the queue again, under its own id or a new one."""

    run_id: str
    session_key: str
    lane: Lane
    new: bool


TRY_AGAIN = """
WITH counted AS (
  SELECT r.generation, least(coalesce((r.result->'usage'->>'prompt_tokens')::int, 0), kept.input) AS input,
    least(coalesce((r.result->'usage'->>'completion_tokens')::int, 0), kept.output) AS output
  FROM runs r, (SELECT coalesce(sum((usage->>'prompt_tokens')::int), 0)::int AS input,
      coalesce(sum((usage->>'completion_tokens')::int), 0)::int AS output
    FROM run_steps WHERE run_id = %(run)s::uuid AND NOT %(forget)s) AS kept
  WHERE r.run_id = %(run)s::uuid
), again AS (
  UPDATE runs SET state = 'RETRY_WAIT', reason_code = 'RETRY_OPERATOR', attempt = 0, crash_count = 0,
    fingerprint = NULL, fingerprint_count = 0, result = NULL, cancel_requested = NULL, finished_at = NULL,
    available_at = now(), updated_at = now(), deadline = now() + make_interval(secs => %(timeout)s::float8),
    generation = s.generation, log = runs.log + %(forget)s::int
  FROM sessions s
  WHERE run_id = %(run)s::uuid AND runs.tenant_id = %(tenant)s::uuid AND state = 'FAILED'
    AND s.tenant_id = runs.tenant_id AND s.session_key = runs.session_key
  RETURNING run_id, runs.tenant_id, runs.session_key, lane, fence
), head AS (
  UPDATE session_heads h SET queued = h.queued + 1, head_at = now(), next_seq = h.next_seq + 1, updated_at = now()
  FROM again a WHERE h.tenant_id = a.tenant_id AND h.session_key = a.session_key RETURNING h.next_seq - 1 AS seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, fence, actor,
    reason_code)
  SELECT run_id, tenant_id, session_key, head.seq, 'task.requeued_by_operator', 'FAILED', 'RETRY_WAIT', fence,
    %(by)s::text, 'RETRY_OPERATOR' FROM again, head
), message AS (
  UPDATE session_messages m SET id = gen_random_uuid(), archived_at = coalesce(m.archived_at, now())
  FROM again WHERE m.run_id = again.run_id
), session AS (
  UPDATE sessions s SET input_tokens = s.input_tokens - c.input, output_tokens = s.output_tokens - c.output
  FROM again a, counted c
  WHERE s.tenant_id = a.tenant_id AND s.session_key = a.session_key AND s.generation = c.generation
)
SELECT run_id, session_key, lane, false AS new FROM again
"""  # what was asked is said again by the new life, under its own id, and the tokens of its steps are counted again

ANEW = """
WITH old AS (
  SELECT r.*, s.generation AS current FROM runs r JOIN sessions s USING (tenant_id, session_key)
  WHERE r.run_id = %(run)s::uuid AND r.tenant_id = %(tenant)s::uuid AND r.state IN ('CANCELED', 'DEAD_LETTER')
), head AS (
  UPDATE session_heads h SET queued = h.queued + 1, head_at = least(h.head_at, now()), next_seq = h.next_seq + 1,
    updated_at = now()
  FROM old o WHERE h.tenant_id = o.tenant_id AND h.session_key = o.session_key RETURNING h.next_seq - 1 AS seq
), run AS (
  INSERT INTO runs (run_id, tenant_id, session_key, shard, agent_id, agent_key, user_id, sender_id, kind, lane,
    priority, max_attempts, generation, request, request_hash, resource_keys, keys_inferred, requeued_from, deadline)
  SELECT %(new)s::uuid, o.tenant_id, o.session_key, o.shard, o.agent_id, o.agent_key, o.user_id, o.sender_id, o.kind,
    o.lane, o.priority, o.max_attempts, o.current, o.request, o.request_hash, o.resource_keys, o.keys_inferred,
    o.run_id, now() + make_interval(secs => %(timeout)s::float8)
  FROM old o, head
  RETURNING run_id, tenant_id, session_key, lane
), step AS (
  INSERT INTO run_steps (run_id, step_no, tenant_id, kind, message, usage)
  SELECT run.run_id, s.step_no, s.tenant_id, s.kind, s.message,
    CASE WHEN coalesce((old.result->'usage'->>'prompt_tokens')::int, 0) = 0 THEN s.usage END  -- else it was counted
  FROM run, old, run_steps s WHERE s.run_id = %(run)s::uuid AND NOT %(forget)s
), effect AS (
  INSERT INTO tool_effects (idempotency_key, run_id, tenant_id, step_no, call_index, tool, effect_class, request_hash,
    status, result, result_hash, external_id, started_at, finished_at, adopts)
  SELECT concat_ws(':', run.run_id, e.step_no, e.call_index), run.run_id, e.tenant_id, e.step_no, e.call_index, e.tool,
    e.effect_class, e.request_hash, e.status, e.result, e.result_hash, e.external_id, e.started_at, e.finished_at,
    coalesce(e.adopts, e.idempotency_key)
  FROM run, old, tool_effects e WHERE e.run_id = old.run_id AND e.log = old.log AND NOT %(forget)s
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_to, actor, reason_code, payload)
  SELECT run.run_id, run.tenant_id, run.session_key, head.seq, 'task.enqueued', 'QUEUED', %(by)s::text,
    'RETRY_OPERATOR', jsonb_build_object('requeued_from', %(run)s::text) FROM run, head
), message AS (
  UPDATE session_messages m SET archived_at = now() FROM run WHERE m.run_id = %(run)s::uuid AND m.archived_at IS NULL
)
SELECT run_id, session_key, lane, true AS new FROM run
"""  # what was said is said again by the new run


@transaction
async def try_again(
    db: Connection,
    *,
    tenant: str,
    run_id: str,
    new_id: str,
    kind: RunKind,
    by: str,
    timeout: float = 600.0,
    fresh: bool = False,
) -> Retried | None:
    """An operator wants it tried again (T15): a failed run as itself, with all its counters new; one that was
    cancelled or buried as a new run, `new_id`, that remembers where it comes from.

    `timeout`: seconds it has, unless its kind says otherwise. `fresh` forgets the steps, never the ledger of effects.
    None if the run is in no state for that.
    """
    named = {
        "tenant": tenant,
        "run": run_id,
        "by": by,
        "timeout": KINDS[kind].timeout or timeout,
        "new": new_id,
    }
    query = """
    SELECT EXISTS (SELECT FROM run_steps s WHERE s.run_id = r.run_id AND s.step_no = 0) FROM runs r
    WHERE r.tenant_id = %(tenant)s AND r.run_id = %(run)s
    """  # retention may have taken the steps, and the ledger knows its places by them
    logged = await maybe(bool, db.execute(query, named))
    if logged is None:
        return None
    named["forget"] = fresh or not logged
    again = await maybe(Retried, db.execute(TRY_AGAIN, named))
    same = again is not None
    if again is None:
        again = await maybe(Retried, db.execute(ANEW, named))
    if again is None:
        return None
    await withdraw(db, tenant=tenant, key=again.session_key)
    if same and named["forget"]:
        await db.execute("DELETE FROM run_steps WHERE run_id = %(run)s", named)
    if same and fresh:
        for table in ("loop_checkpoints", "run_records"):
            await db.execute(f"DELETE FROM {table} WHERE run_id = %(run)s", named)
    return again
