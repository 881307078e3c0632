"""What became of subagents, for whoever asked for them. Table `subagent_tasks` (migration 0034)."""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.subagent import RESULT, Subagent
from goclaw.stores.unit import Connection, many, maybe, transaction

MOST = 200  # rows of a list
LOG = 50  # lines; orchestration.md §3.1
LINE = 500  # characters
TASK = 120  # characters of one in a roster

LISTED = """
WITH numbered AS (
  SELECT t.*, row_number() OVER (ORDER BY t.created_at, t.id) AS n FROM subagent_tasks t
  WHERE t.tenant_id = %(tenant)s AND t.session_key = %(key)s
)
SELECT t.n, t.id, t.run_id, t.label, CASE WHEN t.status <> 'running' THEN t.status
    WHEN t.held OR r.state IN ('QUEUED', 'RETRY_WAIT') THEN 'queued' WHEN t.waits THEN 'waiting_child'
    ELSE 'running' END AS status, t.model,
  (extract(epoch FROM coalesce(t.completed_at, now()) - t.created_at) * 1000)::bigint AS elapsed_ms, t.steers,
  t.description AS task, left(coalesce(t.result, ''), %(most)s) AS content, t.error, t.generation, t.iterations,
  t.input_tokens, t.output_tokens
FROM numbered t LEFT JOIN runs r ON r.run_id = t.run_id
WHERE (%(ids)s::uuid[] IS NULL OR t.id = ANY(%(ids)s::uuid[]))
  AND (%(ids)s::uuid[] IS NOT NULL
    OR t.completed_at IS NULL OR t.completed_at > now() - make_interval(mins => %(archive)s::int))
  AND (%(recent)s::int IS NULL OR t.created_at > now() - make_interval(mins => %(recent)s::int))
ORDER BY t.n DESC LIMIT %(limit)s
"""

WORKING = """
SELECT '- ' || t.label || ' (' || left(t.id::text, 8) || ', ' ||
  CASE WHEN t.held THEN 'queued' WHEN t.waits THEN 'waiting for its own' ELSE 'running' END || '): ' ||
  left(regexp_replace(t.description, '\\s+', ' ', 'g'), %(task)s)
FROM subagent_tasks t
WHERE t.tenant_id = %(tenant)s AND t.session_key = %(key)s AND t.status = 'running'
ORDER BY t.created_at, t.id LIMIT %(limit)s
"""

CONSUME = """
UPDATE announcements a SET state = 'INJECTED', updated_at = now()
FROM subagent_tasks t
WHERE t.tenant_id = %(tenant)s AND t.id = ANY(%(ids)s::uuid[]) AND t.status <> 'running'
  AND a.tenant_id = t.tenant_id AND a.origin_session_key = t.session_key AND a.item->>'task' = t.id::text
  AND a.state = 'HELD'
"""


@transaction(readonly=True)
async def listed(
    db: Connection,
    *,
    tenant: str,
    key: str,
    archive: int,
    recent: int | None = None,
    ids: Sequence[str] | None = None,
    most: int = RESULT,
) -> list[Subagent]:
    """Those of a session, in order of their numbers; without `ids` who ended less than `archive` minutes ago.

    `recent`: only those asked for in so many minutes. `most`: characters of a result.
    """
    params = {
        "tenant": tenant,
        "key": key,
        "archive": archive,
        "recent": recent,
        "ids": None if ids is None else list(ids),
        "most": most,
        "limit": MOST,
    }
    return (await many(Subagent, db.execute(LISTED, params)))[::-1]


@transaction(readonly=True)
async def at_work(db: Connection, *, tenant: str, ids: Sequence[str]) -> list[str]:
    """Which of these tasks have not ended."""
    query = """
    SELECT id FROM subagent_tasks WHERE tenant_id = %(tenant)s AND id = ANY(%(ids)s::uuid[]) AND status = 'running'
    """
    return await many(str, db.execute(query, {"tenant": tenant, "ids": list(ids)}))


@transaction(readonly=True)
async def roster(db: Connection, *, tenant: str, key: str) -> list[str]:
    """Those of a session that have not ended, a line each: label, state and task."""
    return await many(str, db.execute(WORKING, {"tenant": tenant, "key": key, "task": TASK, "limit": MOST}))


@transaction(retry_safe=True, single=True)
async def consume(db: Connection, *, tenant: str, ids: Sequence[str]) -> None:
    """Whoever waited has the results of those that ended: nobody need be told of them."""
    await db.execute(CONSUME, {"tenant": tenant, "ids": list(ids)})


@transaction(readonly=True)
async def log(db: Connection, *, tenant: str, run_id: str) -> list[str]:
    """The latest lines of what it said and what its tools said, oldest first."""
    query = """
    SELECT line FROM (
      SELECT step_no, kind || ': ' || left(coalesce(message->>'content', ''), %(line)s) ||
        coalesce(' -> ' || (SELECT string_agg(c->>'name', ', ') FROM jsonb_array_elements(
          CASE WHEN jsonb_typeof(message->'tool_calls') = 'array' THEN message->'tool_calls' END) AS c), '') AS line
      FROM run_steps WHERE tenant_id = %(tenant)s AND run_id = %(run)s ORDER BY step_no DESC LIMIT %(limit)s
    ) AS latest ORDER BY step_no
    """
    return await many(str, db.execute(query, {"tenant": tenant, "run": run_id, "line": LINE, "limit": LOG}))


@transaction(readonly=True)
async def lane_of(db: Connection, *, tenant: str, run_id: str) -> str | None:
    query = "SELECT lane FROM runs WHERE tenant_id = %(tenant)s AND run_id = %(run)s"
    return await maybe(str, db.execute(query, {"tenant": tenant, "run": run_id}))
