"""Another instruction for a subagent. Table `subagent_tasks` (migration 0034). Contract: orchestration.md §3.3."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from goclaw.domain.run import RunRequest
from goclaw.domain.session import Terms
from goclaw.domain.subagent import STEERS, Refused, Spawned
from goclaw.stores import run_stops
from goclaw.stores.run_locks import hold_runs
from goclaw.stores.subagents import TASK, Task, store_run
from goclaw.stores.unit import Connection, maybe, transaction

DIGEST = 4_000  # characters of a steered run's work that the next is told; orchestration.md §3.3

WORK = """
SELECT coalesce(right(string_agg(said, E'\\n' ORDER BY step_no), %(most)s), '') FROM (
  SELECT step_no, CASE kind WHEN 'tool' THEN left('-> ' || coalesce(message->>'content', ''), 500)
    ELSE coalesce(message->>'content', '') END AS said
  FROM run_steps WHERE run_id = %(run)s AND kind IN ('llm', 'tool')
) AS steps WHERE said <> ''
"""


class Steered(Struct, frozen=True, kw_only=True):
    task: Spawned
    generation: int
    old_run: str = ""  # that was asked to stop, if one was at work


@transaction
async def steer(db: Connection, *, tenant: str, id: str, key: str, run_id: str, message: str) -> Steered:
    """Give one another instruction: who waits has a new task, who works begins again with what it has done so far.

    Doing it again with the same `key` changes nothing. Raises `Refused`.
    """
    task = await maybe(Task, db.execute(TASK, {"id": id, "tenant": tenant}))
    if task is None:
        raise Refused("not_found", "not_found", "there is no such subagent")
    if task.steered_by == key:
        return Steered(task=task.spawned(fresh=False), generation=task.generation)
    if task.status != "running":
        raise Refused("conflict", "bad_state", f"it is {task.status}; spawn another")
    if task.steers >= STEERS:
        raise Refused("conflict", "bad_state", f"it was steered {STEERS} times; cancel it and spawn another")
    await hold_runs(db, tenant=tenant, run_ids=[task.run_id])
    named = {"id": id, "tenant": tenant, "run": task.run_id, "key": key, "message": message}
    query = """
    WITH waiting AS (
      UPDATE runs SET request = request || jsonb_build_object('message', %(message)s::text), updated_at = now()
      WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND state = 'QUEUED' AND attempt = 0 RETURNING run_id
    )
    UPDATE subagent_tasks t SET description = %(message)s, steers = t.steers + 1, steered_by = %(key)s,
      updated_at = now()
    FROM waiting WHERE t.run_id = waiting.run_id RETURNING t.generation
    """
    if (generation := await maybe(int, db.execute(query, named))) is not None:
        return Steered(task=task.spawned(fresh=False), generation=generation)
    done = await maybe(str, db.execute(WORK, {"run": task.run_id, "most": DIGEST}))
    request = msgspec.json.decode(task.stored, type=RunRequest)
    text = f"{task.description}\n\n[What you have done so far]\n{done or 'nothing'}\n\n[New instruction]\n{message}"
    await store_run(
        db,
        replace(request, message=text),
        tenant=tenant,
        run_id=run_id,
        key=task.child_session_key,
        label=task.label,
        agent_id=task.agent_id,
        agent_key=task.parent_agent_key,
        user=task.user_id,
        timeout=600.0,
        terms=Terms(priority=task.priority, max_attempts=task.max_attempts),
        lineage={"parent": task.parent_run_id, "root": task.root_run_id},
    )
    query = """
    UPDATE subagent_tasks SET run_id = %(new)s, generation = generation + 1, steers = steers + 1,
      steered_by = %(key)s, waits = false, updated_at = now()
    WHERE id = %(id)s AND run_id = %(run)s AND status = 'running' RETURNING generation
    """
    generation = await maybe(int, db.execute(query, {**named, "new": run_id}))
    if generation is None:
        raise Refused("conflict", "bad_state", "it ended, or somebody else steered it")
    await run_stops.request_cancel(db, tenant=tenant, run_ids=[task.run_id], by=task.user_id, reason="interrupt")
    steered = replace(task, run_id=run_id)
    return Steered(task=steered.spawned(fresh=True), generation=generation, old_run=task.run_id)
