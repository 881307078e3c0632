"""Subagents that shall end, and who is told how they did. Table `subagent_tasks`. Contract: orchestration.md §3."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from goclaw.stores import run_stops
from goclaw.stores.run_locks import hold_runs
from goclaw.stores.unit import Connection, many, maybe, transaction

LOOK = 200  # rows of a look


class Doomed(Struct, frozen=True, kw_only=True):
    """A run of a subagent that shall end."""

    task: str
    run_id: str
    tenant_id: str
    session_key: str
    user_id: str


BELOW = """
WITH RECURSIVE below AS (
  SELECT id, run_id, tenant_id, child_session_key, status FROM subagent_tasks
  WHERE tenant_id = %(tenant)s AND id = ANY(%(ids)s::uuid[])
  UNION SELECT t.id, t.run_id, t.tenant_id, t.child_session_key, t.status
  FROM below b JOIN subagent_tasks t ON t.parent_run_id = b.run_id
)
SELECT b.id AS task, b.run_id, b.tenant_id, b.child_session_key AS session_key, r.user_id
FROM below b JOIN runs r ON r.run_id = b.run_id WHERE b.status = 'running' ORDER BY b.run_id DESC LIMIT 1000
"""

HUSH = """
WITH hushed AS (
  UPDATE subagent_tasks SET announces = false, updated_at = now()
  WHERE tenant_id = %(tenant)s AND id = ANY(%(ids)s::uuid[]) RETURNING id
)
UPDATE announcements SET state = 'INJECTED', updated_at = now() FROM hushed
WHERE announcements.state = 'HELD' AND announcements.item->>'task' = hushed.id::text
"""

ORPHANED = f"""
SELECT t.id AS task, t.run_id, t.tenant_id, t.child_session_key AS session_key, r.user_id
FROM subagent_tasks t JOIN runs r ON r.run_id = t.run_id
LEFT JOIN runs p ON p.run_id = t.parent_run_id
LEFT JOIN sessions s ON s.tenant_id = t.tenant_id AND s.session_key = t.session_key
WHERE t.status = 'running' AND r.cancel_requested IS NULL
  AND (NOT t.detached AND (p.state = 'CANCELED' OR p.cancel_requested IS NOT NULL)
    OR s.id IS NULL OR s.generation <> t.session_generation OR s.stale_before > t.created_at)
ORDER BY t.created_at LIMIT {LOOK}
"""


@transaction
async def stop(db: Connection, *, tenant: str, ids: Sequence[str], by: str) -> list[Doomed]:
    """Have these and all below them end, and nobody told of it. Those that work are asked to in this commit; who waits
    is for its session to take out."""
    doomed = await many(Doomed, db.execute(BELOW, {"tenant": tenant, "ids": list(ids)}))
    if not doomed:
        return []
    run_ids = [one.run_id for one in doomed]
    await hold_runs(db, tenant=tenant, run_ids=run_ids)
    await db.execute(HUSH, {"tenant": tenant, "ids": [one.task for one in doomed]})
    query = """
    SELECT run_id FROM runs WHERE tenant_id = %(tenant)s AND run_id = ANY(%(runs)s::uuid[])
      AND state IN ('CLAIMED', 'RUNNING')
    """
    working = await many(str, db.execute(query, {"tenant": tenant, "runs": run_ids}))
    if working:
        await run_stops.request_cancel(db, tenant=tenant, run_ids=working, by=by, reason="user")
    return doomed


@transaction(readonly=True)
async def orphans(db: Connection) -> list[Doomed]:
    """Whose parent was stopped, or whose conversation was reset, stopped as a whole or deleted."""
    return await many(Doomed, db.execute(ORPHANED))


@transaction(retry_safe=True)
async def announce(db: Connection, *, tenant: str, id: str) -> None:
    """Its session shall be told how it ends, or ended."""
    named = {"tenant": tenant, "id": id}
    query = """
    UPDATE subagent_tasks SET announces = true, updated_at = now()
    WHERE tenant_id = %(tenant)s AND id = %(id)s AND NOT announces RETURNING status
    """
    if await maybe(str, db.execute(query, named)) in (None, "running"):
        return
    query = """
    INSERT INTO announcements (announce_id, tenant_id, origin_session_key, batch_key, item)
    SELECT gen_random_uuid(), tenant_id, session_key, 'subagent:' || parent_run_id,
      jsonb_build_object('task', id, 'run', run_id)
    FROM subagent_tasks WHERE tenant_id = %(tenant)s AND id = %(id)s
    """
    await db.execute(query, named)
