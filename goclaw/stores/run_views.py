"""Runs as people look at them: lists, one run with its trail, figures. Reads only. Tables of migrations 0006, 0016.

Runs that an operator discarded are gone for everybody; retention removes their rows (data-model.md §18).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from goclaw.domain.run import Lane, RunKind, RunState
from goclaw.domain.run_states import STATES
from goclaw.stores.unit import Connection, many, maybe, one, transaction

PREVIEW = 200  # characters of what was asked, in lists
COUNTED = 10_000  # runs of a state: its count is looked at every 2 s (dashboard.md §6.3)


class RunRow(Struct, frozen=True, kw_only=True):
    run_id: str
    session_key: str
    agent_id: str | None
    agent_key: str
    user_id: str
    kind: RunKind
    lane: Lane
    state: RunState
    priority: int
    attempt: int
    max_attempts: int
    crash_count: int
    available_at: datetime
    deadline: datetime | None
    lease_owner: str | None
    lease_expires_at: datetime | None
    fence: int
    cancel_requested: dict[str, Any] | None
    parent_run_id: str | None
    policy_version: str | None
    resource_keys: list[str]
    wait_reason: str | None
    merged_into: str | None
    requeued_from: str | None
    trace_id: str | None
    preview: str
    request: dict[str, Any] | None  # this and the result only of a run looked at alone
    result: dict[str, Any] | None
    reason_code: str | None
    last_error: str | None
    slot_taken: bool  # its session runs as much as it may
    later: bool  # it is not due yet
    created_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime


class EventRow(Struct, frozen=True, kw_only=True):
    event_id: int
    run_id: str
    session_seq: int
    type: str
    state_from: RunState | None
    state_to: RunState | None
    reason_code: str | None
    actor: str | None
    node_id: str | None
    attempt: int
    fence: int
    trace_id: str | None
    payload: dict[str, Any]
    at: datetime


class LinkRow(EventRow, frozen=True, kw_only=True):
    """An event and how it hangs in the chain. `hashed` is false for those older than the chain."""

    run_state: RunState  # of the same moment
    hashed: bool
    sound: bool  # its hash is that of its content
    linked: bool  # it names the hash of the event before


class StepRow(Struct, frozen=True, kw_only=True):
    step_no: int
    kind: str
    message: Any
    usage: dict[str, Any] | None
    fence: int
    at: datetime


class EffectRow(Struct, frozen=True, kw_only=True):
    idempotency_key: str
    step_no: int
    call_index: int
    tool: str
    effect_class: str
    status: str
    result: Any
    external_id: str | None
    fence: int
    started_at: datetime
    finished_at: datetime | None


class Child(Struct, frozen=True, kw_only=True):
    run_id: str
    kind: RunKind
    state: RunState
    agent_key: str
    session_key: str


class Count(Struct, frozen=True, kw_only=True):
    state: RunState
    lane: Lane
    runs: int


class Gaps(Struct, frozen=True, kw_only=True):
    """The order of a session between the first and the last event of one of its runs."""

    there: int
    wanted: int


class Wanted(Struct, frozen=True, kw_only=True):
    """Which runs; None means any. `user` is None for those who may see everybody's."""

    tenant: str
    user: str | None = None
    state: RunState | None = None
    kind: RunKind | None = None
    agent: str | None = None
    session: str | None = None
    since: datetime | None = None
    until: datetime | None = None


COLUMNS = f"""r.run_id, r.session_key, r.agent_id, r.agent_key, r.user_id, r.kind, r.lane, r.state, r.priority,
  r.attempt, r.max_attempts, r.crash_count, r.available_at, r.deadline, r.lease_owner, r.lease_expires_at, r.fence,
  r.cancel_requested, r.parent_run_id, r.policy_version, r.resource_keys, r.wait_reason, r.merged_into,
  r.requeued_from, r.trace_id, left(coalesce(r.request->>'message', ''), {PREVIEW}) AS preview, r.reason_code,
  r.last_error, coalesce(h.running >= h.max_concurrent, false) AS slot_taken, r.available_at > now() AS later,
  r.created_at, r.claimed_at, r.started_at, r.finished_at, r.updated_at"""

FROM = "FROM runs r LEFT JOIN session_heads h USING (tenant_id, session_key)"

MATCHING = """r.tenant_id = %(tenant)s AND NOT r.discarded
  AND (%(user)s::text IS NULL OR r.user_id = %(user)s)
  AND (%(state)s::text IS NULL OR r.state = %(state)s)
  AND (%(kind)s::text IS NULL OR r.kind = %(kind)s)
  AND (%(agent)s::text IS NULL OR r.agent_key = %(agent)s OR r.agent_id::text = %(agent)s)
  AND (%(session)s::text IS NULL OR r.session_key = %(session)s)
  AND (%(since)s::timestamptz IS NULL OR r.created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR r.created_at < %(until)s)"""

PAGE = f"""
SELECT {COLUMNS}, NULL::jsonb AS request, NULL::jsonb AS result {FROM} WHERE {MATCHING}
ORDER BY r.created_at DESC, r.run_id DESC LIMIT %(limit)s OFFSET %(offset)s
"""

TOTAL = f"SELECT count(*) FROM runs r WHERE {MATCHING}"

FIND = f"""
SELECT {COLUMNS}, r.request, r.result {FROM} WHERE r.tenant_id = %(tenant)s AND r.run_id = %(run)s AND NOT r.discarded
"""

COUNTS = """
SELECT s.state, c.lane, c.runs FROM unnest(%(states)s::text[]) AS s(state) CROSS JOIN LATERAL (
  SELECT picked.lane, count(*) AS runs FROM (
    SELECT r.lane FROM runs r
    WHERE r.tenant_id = %(tenant)s AND r.state = s.state AND NOT r.discarded
      AND (%(user)s::text IS NULL OR r.user_id = %(user)s)
    LIMIT %(limit)s
  ) AS picked GROUP BY picked.lane
) AS c ORDER BY s.state, c.lane LIMIT 100
"""

EVENT = """e.event_id, e.run_id, e.session_seq, e.type, e.state_from, e.state_to, e.reason_code, e.actor, e.node_id,
  e.attempt, e.fence, e.trace_id, e.payload, e.at"""

EVENTS = f"""
SELECT {EVENT} FROM run_events e WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND event_id > %(after)s
ORDER BY event_id LIMIT %(limit)s
"""

CHAIN = f"""
SELECT {EVENT}, r.state AS run_state, e.hash IS NOT NULL AS hashed,
  coalesce(e.hash = run_event_hash(e), false) AS sound,
  coalesce(e.prev_hash = coalesce(lag(e.hash) OVER chain, repeat('0', 64)), false) AS linked
FROM run_events e JOIN runs r USING (run_id)
WHERE e.run_id = %(run)s AND e.tenant_id = %(tenant)s
WINDOW chain AS (ORDER BY e.event_id) ORDER BY e.event_id LIMIT %(limit)s
"""

GAPS = """
SELECT count(DISTINCT session_seq) AS there, coalesce(max(session_seq) - min(session_seq) + 1, 0) AS wanted
FROM run_events
WHERE tenant_id = %(tenant)s AND session_key = %(key)s AND session_seq BETWEEN %(first)s AND %(last)s
"""

STEPS = """
SELECT step_no, kind, message, usage, fence, at FROM run_steps
WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND step_no >= %(first)s ORDER BY step_no LIMIT %(limit)s
"""

EFFECTS = """
SELECT idempotency_key, step_no, call_index, tool, effect_class, status, result, external_id, fence, started_at,
  finished_at
FROM tool_effects WHERE run_id = %(run)s AND tenant_id = %(tenant)s ORDER BY step_no, call_index LIMIT %(limit)s
"""

CHILDREN = """
SELECT run_id, kind, state, agent_key, session_key FROM runs
WHERE parent_run_id = %(run)s AND tenant_id = %(tenant)s ORDER BY run_id LIMIT %(limit)s
"""

TRIED_AGAIN = """
SELECT EXISTS (
  SELECT FROM runs old JOIN runs r USING (tenant_id, session_key)
  WHERE old.run_id = %(run)s AND old.tenant_id = %(tenant)s AND r.requeued_from = old.run_id AND r.finished_at IS NULL)
"""

DISCARD = """
WITH letter AS (
  SELECT run_id, tenant_id, ingress_key, split_part(ingress_key, ':', 1) IN ('http', 'ws') AS keyed FROM runs
  WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND state = 'DEAD_LETTER' FOR UPDATE
), freed AS (
  DELETE FROM ingress_log i USING letter l
  WHERE l.keyed AND i.tenant_id = l.tenant_id AND i.source = split_part(l.ingress_key, ':', 1)
    AND i.external_id = substr(l.ingress_key, strpos(l.ingress_key, ':') + 1) AND i.run_id = l.run_id
)
UPDATE runs r SET discarded = true, ingress_key = CASE WHEN l.keyed THEN NULL ELSE r.ingress_key END, updated_at = now()
FROM letter l WHERE r.run_id = l.run_id RETURNING r.run_id
"""  # a client's key that led to it is free again; a platform's message stays known


@transaction(readonly=True)
async def page(db: Connection, wanted: Wanted, *, limit: int, offset: int = 0) -> list[RunRow]:
    """Newest first."""
    return await many(RunRow, db.execute(PAGE, {**asdict(wanted), "limit": limit, "offset": offset}))


@transaction(readonly=True)
async def total(db: Connection, wanted: Wanted) -> int:
    return await one(int, db.execute(TOTAL, asdict(wanted)))


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, run_id: str) -> RunRow | None:
    return await maybe(RunRow, db.execute(FIND, {"tenant": tenant, "run": run_id}))


@transaction(readonly=True)
async def counts(db: Connection, *, tenant: str, user: str | None = None, limit: int = COUNTED) -> list[Count]:
    """How many runs are in each state of each lane; of one state at most `limit` are counted."""
    params = {"tenant": tenant, "user": user, "states": list(STATES), "limit": limit}
    return await many(Count, db.execute(COUNTS, params))


@transaction(readonly=True)
async def events(db: Connection, *, tenant: str, run_id: str, after: int = 0, limit: int = 200) -> list[EventRow]:
    """What befell a run, oldest first."""
    params = {"tenant": tenant, "run": run_id, "after": after, "limit": limit}
    return await many(EventRow, db.execute(EVENTS, params))


@transaction(readonly=True)
async def chain(db: Connection, *, tenant: str, run_id: str, limit: int) -> list[LinkRow]:
    """The same with the links of the hash chain, worked out anew."""
    return await many(LinkRow, db.execute(CHAIN, {"tenant": tenant, "run": run_id, "limit": limit}))


@transaction(readonly=True)
async def gaps(db: Connection, *, tenant: str, key: str, first: int, last: int) -> Gaps:
    """Whether the numbers of a session's events have holes between `first` and `last`."""
    return await one(Gaps, db.execute(GAPS, {"tenant": tenant, "key": key, "first": first, "last": last}))


@transaction(readonly=True)
async def steps(db: Connection, *, tenant: str, run_id: str, first: int = 0, limit: int = 200) -> list[StepRow]:
    return await many(StepRow, db.execute(STEPS, {"tenant": tenant, "run": run_id, "first": first, "limit": limit}))


@transaction(readonly=True)
async def effects(db: Connection, *, tenant: str, run_id: str, limit: int = 200) -> list[EffectRow]:
    """What its tools did to the world, in the order of the calls."""
    return await many(EffectRow, db.execute(EFFECTS, {"tenant": tenant, "run": run_id, "limit": limit}))


@transaction(readonly=True)
async def children(db: Connection, *, tenant: str, run_id: str, limit: int = 200) -> list[Child]:
    return await many(Child, db.execute(CHILDREN, {"tenant": tenant, "run": run_id, "limit": limit}))


@transaction(readonly=True)
async def tried_again(db: Connection, *, tenant: str, run_id: str) -> bool:
    """Whether a run made from this one has not ended yet."""
    return await one(bool, db.execute(TRIED_AGAIN, {"tenant": tenant, "run": run_id}))


@transaction(retry_safe=True, single=True)
async def discard(db: Connection, *, tenant: str, run_id: str) -> bool:
    """Put a dead letter away for good. False if it is none. Doing it twice is the same as once."""
    return await maybe(str, db.execute(DISCARD, {"tenant": tenant, "run": run_id})) is not None
