"""Accepting a run on terms of its own: when it may start, how urgent it is, how often it is tried."""

from __future__ import annotations

from typing import Any

from goclaw.domain.session import Terms
from goclaw.stores.run_acceptance import Stored
from goclaw.stores.unit import Connection, Work, transaction

Accept = Work[..., Any]

SET_TERMS = """
UPDATE runs SET priority = %(priority)s::int, max_attempts = %(max_attempts)s::int, resource_keys = %(keys)s::text[],
  keys_inferred = %(inferred)s,
  available_at = greatest(available_at, %(run_at)s::timestamptz),
  deadline = deadline + greatest(interval '0', %(run_at)s::timestamptz - available_at)
WHERE run_id = %(run)s AND tenant_id = %(tenant)s
"""

SET_HEAD = """
UPDATE session_heads h SET
  head_at = CASE WHEN h.queued > 0 THEN first.at END, head_priority = coalesce(first.priority, h.head_priority)
FROM (
  SELECT min(available_at) AS at, (array_agg(priority ORDER BY available_at, run_id))[1] AS priority FROM runs
  WHERE tenant_id = %(tenant)s AND session_key = %(key)s AND state IN ('QUEUED', 'RETRY_WAIT')
) AS first
WHERE h.tenant_id = %(tenant)s AND h.session_key = %(key)s
"""  # its session's head is locked by the acceptance before


@transaction
async def accept(
    db: Connection, work: Accept, /, *, terms: Terms, tenant: str, key: str, run_id: str, **turn: Any
) -> Any:
    """Store a turn with `work` and put its terms on it, in one commit. What `work` did not store stays as it is.

    A run for later waits unclaimed until its time, and its deadline counts from there.
    """
    stored = await work(db, tenant=tenant, key=key, run_id=run_id, **turn)
    if not isinstance(stored, Stored):
        return stored
    params = {
        "run": run_id,
        "tenant": tenant,
        "priority": terms.priority,
        "max_attempts": terms.max_attempts,
        "keys": list(terms.resource_keys),
        "inferred": terms.keys_inferred,
        "run_at": terms.run_at,
    }
    await db.execute(SET_TERMS, params)
    await db.execute(SET_HEAD, {"tenant": tenant, "key": key})
    return stored
