"""Subagents that are held back until there is a place. Table `subagent_tasks`. Contract: orchestration.md §11."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from goclaw.settings.orchestration import ChildRuns, Subagents
from goclaw.stores.run_intake import SET_HEAD
from goclaw.stores.runs import LOCK_HEAD
from goclaw.stores.subagents import TALLY, TURN, Tally
from goclaw.stores.unit import Connection, many, maybe, one, transaction

ADMITTED = 50  # in one transaction

HELD = """
SELECT t.id, t.tenant_id, t.run_id, t.root_run_id, t.parent_run_id, t.child_session_key, t.parent_agent_key, t.label,
  r.user_id, a.subagents_config AS own
FROM subagent_tasks t JOIN runs r ON r.run_id = t.run_id LEFT JOIN agents a ON a.id = t.agent_id
WHERE t.status = 'running' AND t.held ORDER BY t.created_at, t.id LIMIT 200
"""

ADMIT = """
WITH due AS (
  UPDATE runs SET available_at = now(), deadline = now() + (deadline - available_at), updated_at = now()
  WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND state = 'QUEUED' RETURNING run_id
)
UPDATE subagent_tasks SET held = false, updated_at = now() FROM due WHERE id = %(id)s AND held RETURNING id
"""


ARCHIVE = """
UPDATE sessions s SET archived_at = now()
FROM subagent_tasks t LEFT JOIN agents a ON a.id = t.agent_id
WHERE t.completed_at < now() - make_interval(mins => CASE jsonb_typeof(a.subagents_config->'archiveAfterMinutes')
    WHEN 'number' THEN least(greatest((a.subagents_config->>'archiveAfterMinutes')::numeric, 1), 43200)::int
    ELSE %(minutes)s END)
  AND t.completed_at > now() - interval '31 days'
  AND s.tenant_id = t.tenant_id AND s.session_key = t.child_session_key AND s.archived_at IS NULL
RETURNING s.id
"""


class Held(Struct, frozen=True, kw_only=True):
    id: str
    tenant_id: str
    run_id: str
    root_run_id: str
    parent_run_id: str
    child_session_key: str
    parent_agent_key: str
    label: str
    user_id: str
    own: dict[str, Any] | None


@transaction
async def admit(db: Connection, *, defaults: Subagents, rules: ChildRuns) -> list[tuple[str, Held]]:
    """Let those begin for whom there is a place now, in order of arrival. Their parents' runs, and they."""
    await db.execute("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": TURN})
    let_in: list[tuple[str, Held]] = []
    full: set[str] = set()
    for row in await many(Held, db.execute(HELD)):
        if row.root_run_id in full:
            continue
        tally = await one(Tally, db.execute(TALLY, {"parent": row.parent_run_id, "root": row.root_run_id}))
        if tally.working_all >= rules.process_cap or len(let_in) >= ADMITTED:
            break
        if tally.working >= defaults.of_agent(row.own).max_concurrent:
            full.add(row.root_run_id)
            continue
        where = {"tenant": row.tenant_id, "key": row.child_session_key}
        await db.execute(LOCK_HEAD, where)
        named = {"run": row.run_id, "tenant": row.tenant_id, "id": row.id}
        if await maybe(str, db.execute(ADMIT, named)) is not None:
            await db.execute(SET_HEAD, where)
            let_in.append((row.parent_run_id, row))
    return let_in


@transaction(retry_safe=True, single=True)
async def waits(db: Connection, *, tenant: str, run_id: str, waiting: bool) -> None:
    """A run waits for children: if it is a subagent itself, it takes no place meanwhile (orchestration.md §11 H4)."""
    query = """
    UPDATE subagent_tasks SET waits = %(waiting)s
    WHERE tenant_id = %(tenant)s AND run_id = %(run)s AND status = 'running'
    """
    await db.execute(query, {"tenant": tenant, "run": run_id, "waiting": waiting})


@transaction(readonly=True)
async def open_tasks(db: Connection) -> int:
    """How many have not ended."""
    return await one(int, db.execute("SELECT count(*) FROM subagent_tasks WHERE status = 'running'"))


@transaction(retry_safe=True, single=True)
async def archive(db: Connection, *, minutes: int) -> int:
    """Take the conversations of subagents off the lists that ended so long ago, or as long as their agent says."""
    return len(await many(str, db.execute(ARCHIVE, {"minutes": minutes})))
