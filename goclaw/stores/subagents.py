"""Subagents: asked for. Table `subagent_tasks` (migration 0034).

How one ended is written by the database itself in the commit that ends its run (`subagent_moved`), whoever ends it.
Locks are taken as in `runs`, and a task's row after its run.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from goclaw.domain.ids import new_id
from goclaw.domain.run import KINDS, ChildOf, Lane, RunRequest, RunState
from goclaw.domain.session import Terms
from goclaw.domain.subagent import ITERATIONS, Refused, Spawned, Wish, child_key
from goclaw.settings.orchestration import Orchestration, Subagents
from goclaw.stores import run_acceptance, run_intake
from goclaw.stores.unit import Connection, maybe, one, transaction

TURN = 34_001  # advisory lock: one admits at a time, so that limits hold
NEVER = datetime(2999, 1, 1, tzinfo=UTC)  # when a held run is due

NOTE = (
    "You are a subagent: another run of this agent handed you one task. Do it on your own; nobody can answer "
    "questions. Your last answer is your result, and all the other one sees of your work."
)


class Parent(Struct, frozen=True, kw_only=True):
    """The run that asks."""

    session_key: str
    agent_id: str
    agent_key: str
    user_id: str
    priority: int
    root_run_id: str | None
    stored: str = field(name="request")
    state: RunState
    stopping: bool
    generation: int
    own: dict[str, Any] | None  # what its agent says of subagents

    @property
    def request(self) -> RunRequest:
        request: RunRequest = msgspec.json.decode(self.stored, type=RunRequest)
        return request


class Tally(Struct, frozen=True):
    children: int  # of the parent, that have not ended
    working: int  # below its root …
    held: int  # … and held back there
    ever: int
    working_all: int  # everywhere
    held_all: int


class Task(Struct, frozen=True, kw_only=True):
    id: str
    tenant_id: str
    agent_id: str
    parent_agent_key: str
    child_session_key: str
    run_id: str
    parent_run_id: str
    root_run_id: str
    label: str
    description: str
    status: str
    held: bool
    generation: int
    steers: int
    steered_by: str | None
    session_generation: int
    user_id: str
    state: RunState
    attempt: int
    lane: Lane
    priority: int
    max_attempts: int
    stored: str = field(name="request")

    def spawned(self, *, fresh: bool) -> Spawned:
        return Spawned(
            id=self.id,
            run_id=self.run_id,
            label=self.label,
            session_key=self.child_session_key,
            agent_key=self.parent_agent_key,
            user_id=self.user_id,
            fresh=fresh,
            held=self.held,
        )


PARENT = """
SELECT r.session_key, r.agent_id, r.agent_key, r.user_id, r.priority, r.root_run_id, r.request::text AS request,
  r.state, r.cancel_requested IS NOT NULL AS stopping, s.generation, a.subagents_config AS own
FROM runs r JOIN sessions s USING (tenant_id, session_key) JOIN agents a ON a.id = r.agent_id
WHERE r.run_id = %(run)s AND r.tenant_id = %(tenant)s FOR UPDATE OF r
"""

TALLY = """
SELECT count(*) FILTER (WHERE parent_run_id = %(parent)s AND status = 'running') AS children,
  count(*) FILTER (WHERE root_run_id = %(root)s AND status = 'running' AND NOT held AND NOT waits) AS working,
  count(*) FILTER (WHERE root_run_id = %(root)s AND status = 'running' AND held) AS held,
  count(*) FILTER (WHERE root_run_id = %(root)s) AS ever,
  count(*) FILTER (WHERE status = 'running' AND NOT held AND NOT waits) AS working_all,
  count(*) FILTER (WHERE status = 'running' AND held) AS held_all
FROM subagent_tasks WHERE status = 'running' OR root_run_id = %(root)s
"""

TASK = """
SELECT t.id, t.tenant_id, t.agent_id, t.parent_agent_key, t.child_session_key, t.run_id, t.parent_run_id, t.root_run_id,
  t.label, t.description, t.status, t.held, t.generation, t.steers, t.steered_by, t.session_generation, r.user_id,
  r.state, r.attempt, r.lane, r.priority, r.max_attempts, r.request::text AS request
FROM subagent_tasks t JOIN runs r ON r.run_id = t.run_id WHERE t.id = %(id)s AND t.tenant_id = %(tenant)s
"""

ADD = """
INSERT INTO subagent_tasks (id, tenant_id, agent_id, parent_agent_key, session_key, session_generation,
  child_session_key, run_id, parent_run_id, root_run_id, depth, label, description, model, held, detached, announces)
VALUES (%(id)s, %(tenant)s, %(agent_id)s, %(agent_key)s, %(session)s, %(generation)s, %(child)s, %(run)s, %(parent)s,
  %(root)s, %(depth)s, %(label)s, %(task)s, %(model)s, %(held)s, %(detached)s, %(announces)s)
"""

LINEAGE = """
UPDATE runs SET parent_run_id = %(parent)s, root_run_id = %(root)s WHERE run_id = %(run)s AND tenant_id = %(tenant)s
"""

SPAWNED_BY = """
UPDATE sessions SET spawned_by = %(by)s, spawn_depth = %(depth)s
WHERE tenant_id = %(tenant)s AND session_key = %(key)s AND spawned_by IS NULL
"""


@transaction
async def spawn(
    db: Connection, *, wish: Wish, defaults: Subagents, rules: Orchestration, timeout: float = 600.0
) -> Spawned:
    """The task, its run and its session, in one commit; asked again with the same id it is the one that is there.

    Raises `Refused`. The parent's row is held, so that none is born to a run that was told to stop.
    """
    parent = await maybe(Parent, db.execute(PARENT, {"run": wish.parent_run_id, "tenant": wish.tenant_id}))
    there = await maybe(Task, db.execute(TASK, {"id": wish.id, "tenant": wish.tenant_id}))
    if there is not None:
        return there.spawned(fresh=False)
    if parent is None or parent.stopping or parent.state not in ("CLAIMED", "RUNNING"):
        raise Refused("cancelled", "cancelled", "this run ends, so it starts nothing more")
    request, limits = parent.request, defaults.of_agent(parent.own)
    root = parent.root_run_id or wish.parent_run_id
    depth = 1 + (request.child_of.depth if request.child_of is not None else 0)
    await db.execute("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": TURN})
    tally = await one(Tally, db.execute(TALLY, {"parent": wish.parent_run_id, "root": root}))
    held = _admit(tally, depth, limits, rules)
    session = child_key(parent.agent_key, wish.label, wish.id)
    provider, model = _model(wish, limits, request)
    asked = RunRequest(
        message=wish.task,
        stream=False,
        instructions=f"{NOTE}\nYour role: {wish.role}" if wish.role else NOTE,
        tool_allow=request.tool_allow,
        max_iterations=ITERATIONS,
        sender=request.sender,
        provider=provider,
        model=model,
        max_cost_usd=request.max_cost_usd,
        skip_hooks=request.skip_hooks,
        child_of=ChildOf(root=root, depth=depth, leaf=depth >= limits.max_spawn_depth),
    )
    await store_run(
        db,
        asked,
        tenant=wish.tenant_id,
        run_id=wish.run_id,
        key=session,
        label=wish.label,
        agent_id=parent.agent_id,
        agent_key=parent.agent_key,
        user=parent.user_id,
        timeout=timeout,
        terms=Terms(priority=parent.priority, max_attempts=1 + limits.max_retries, run_at=NEVER if held else None),
        lineage={"parent": wish.parent_run_id, "root": root},
    )
    born = {"tenant": wish.tenant_id, "key": session, "by": parent.session_key, "depth": depth}
    await db.execute(SPAWNED_BY, born)
    await db.execute(
        ADD,
        {
            "id": wish.id,
            "tenant": wish.tenant_id,
            "agent_id": parent.agent_id,
            "agent_key": parent.agent_key,
            "session": parent.session_key,
            "generation": parent.generation,
            "child": session,
            "run": wish.run_id,
            "parent": wish.parent_run_id,
            "root": root,
            "depth": depth,
            "label": wish.label,
            "task": wish.task,
            "model": model,
            "held": held,
            "detached": wish.detached,
            "announces": wish.announces,
        },
    )
    return Spawned(
        id=wish.id,
        run_id=wish.run_id,
        label=wish.label,
        session_key=session,
        agent_key=parent.agent_key,
        user_id=parent.user_id,
        active=tally.children + 1,
        limit=limits.max_children_per_agent,
        held=held,
    )


def _admit(tally: Tally, depth: int, limits: Subagents, rules: Orchestration) -> bool:
    """Whether one more has to wait. Raises `Refused` (orchestration.md §3.2, §11 H7)."""
    if depth > limits.max_spawn_depth:
        raise Refused("denied_policy", "spawn_depth", "a subagent at this depth has none of its own; do it yourself")
    if tally.children >= limits.max_children_per_agent:
        much = (
            f"{tally.children} of {limits.max_children_per_agent} subagents are at work; wait for one or do it yourself"
        )
        raise Refused("conflict", "spawn_children", much)
    if tally.ever >= rules.max_runs_per_root:
        raise Refused(
            "conflict", "queue_full", f"this task has started {tally.ever} subagents already; do the rest yourself"
        )
    held = bool(tally.held) or tally.working >= limits.max_concurrent
    held = held or tally.working_all >= rules.child_runs.process_cap
    if held and tally.held_all >= rules.child_runs.pending_cap:
        raise Refused("conflict", "queue_full", "too many subagents wait already; try later or do it yourself")
    return held


def _model(wish: Wish, limits: Subagents, request: RunRequest) -> tuple[str, str]:
    """Who answers: as asked, as set, or as the parent."""
    if wish.model:
        return wish.provider, wish.model
    return ("", limits.model) if limits.model else (request.provider, request.model)


async def store_run(
    db: Connection, request: RunRequest, *, key: str, label: str, terms: Terms, lineage: dict[str, str], **turn: Any
) -> None:
    kind = KINDS["subagent"]
    turn["timeout"] = kind.timeout or turn["timeout"]
    await run_intake.accept(
        db,
        run_acceptance.accept,
        terms=terms,
        key=key,
        session_id=new_id(),
        session_kind="subagent",
        channel="subagent",
        label=label,
        max_concurrent=1,
        kind="subagent",
        lane=kind.lane,
        request=request,
        request_hash=hashlib.sha256(request.message.encode()).hexdigest(),
        **turn,
    )
    await db.execute(LINEAGE, {**lineage, "run": turn["run_id"], "tenant": turn["tenant"]})
