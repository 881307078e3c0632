"""Durable runs: accepted, claimed, ended. Tables `runs`, `session_heads`, `run_events` (migration 0006).

A claim locks the session's head first, in a statement of its own: one statement would read its snapshot
before it has the lock (durability.md §5.1). Writes of a running run name its owner and fence.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct, convert, field

from goclaw.domain.chat import Usage
from goclaw.domain.cluster import shard_of
from goclaw.domain.errors import Err, unavailable
from goclaw.domain.run import KINDS, LANES, Lane, RunKind, RunRequest, RunResult, RunState
from goclaw.stores.sessions import GROW, GROWN, MESSAGES, NewMessage, append, growth
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

LEASE = 30  # seconds; durability.md §5.2
CRASHES = 3  # the third ends the run; durability.md §6.2
SCAN = 200  # sessions of a lane looked at for work; durability.md §5.1
LOST = unavailable("crashed")  # what the asker of a run hears that crashed too often


class StaleOwner(Exception):
    """The run is no longer ours: another node took it over, or it ended. Nothing was written."""


class Depth(Struct, frozen=True):
    queued: int
    running: int


class Stored(Struct, frozen=True):
    """An accepted turn. `started`: it is ours already, because its session was idle."""

    queued: int
    running: int
    started: bool


class Claimed(Struct, frozen=True, kw_only=True):
    """A run that is ours as long as the lease holds and the fence is the row's."""

    run_id: str
    tenant_id: str
    session_key: str
    agent_id: str | None
    agent_key: str
    user_id: str
    kind: RunKind
    lane: Lane
    attempt: int
    crash_count: int
    fence: int
    lease_owner: str
    stored: str = field(name="request")  # JSON
    created_at: datetime
    age: float  # seconds since it was accepted, by the database's clock
    first: bool = False  # nothing was said before it, so there is no history to read

    @property
    def request(self) -> RunRequest:
        """Read by the run itself: one that cannot be read breaks its own run, not the lane that claims for all."""
        request: RunRequest = msgspec.json.decode(self.stored, type=RunRequest)
        return request


class OpenRun(Struct, frozen=True, kw_only=True):
    run_id: str
    state: RunState
    kind: RunKind
    user_id: str
    stored: dict[str, Any] = field(name="request")
    created_at: datetime

    @property
    def request(self) -> RunRequest:
        return convert(self.stored, RunRequest)


class Forsaken(Struct, frozen=True, kw_only=True):
    run_id: str
    tenant_id: str
    session_key: str


class Canceled(Struct, frozen=True, kw_only=True):
    run_id: str
    fence: int  # how often it had been claimed


class Known(Struct, frozen=True, kw_only=True):
    """A run found by its idempotency key. `result` is there once it has ended."""

    run_id: str
    request_hash: str | None
    result: RunResult | None


class Waiting(Struct, frozen=True, kw_only=True):
    tenant_id: str
    session_key: str
    lane: Lane


CLAIMED = """run_id, tenant_id, session_key, agent_id, agent_key, user_id, kind, lane, attempt, crash_count,
  fence, lease_owner, request::text AS request, created_at, extract(epoch FROM now() - created_at)::float8 AS age"""

STARTS = "%(node)s::uuid IS NOT NULL AND h.queued = 0 AND h.running < h.max_concurrent"

ACCEPT = f"""
WITH head AS (
  INSERT INTO session_heads AS h
    (tenant_id, session_key, shard, lane, max_concurrent, queued, running, head_at, next_seq)
  SELECT %(tenant)s::uuid, %(key)s::text, %(shard)s::int, %(lane)s::text, %(max_concurrent)s::int,
    1 - start.now, start.now, CASE WHEN start.now = 0 THEN now() END, 2 + 2 * start.now
  FROM (SELECT (%(node)s::uuid IS NOT NULL)::int AS now) AS start
  ON CONFLICT (tenant_id, session_key) DO UPDATE SET
    queued = h.queued + CASE WHEN {STARTS} THEN 0 ELSE 1 END,
    running = h.running + CASE WHEN {STARTS} THEN 1 ELSE 0 END,
    head_at = CASE WHEN {STARTS} THEN NULL ELSE least(h.head_at, now()) END,
    next_seq = h.next_seq + CASE WHEN {STARTS} THEN 3 ELSE 1 END, updated_at = now()
  RETURNING queued, running, queued = 0 AS started, next_seq - CASE WHEN queued = 0 THEN 3 ELSE 1 END AS seq
), session AS (
  INSERT INTO sessions (id, tenant_id, session_key, agent_id, agent_key, user_id, kind, channel, label)
  SELECT %(session_id)s::uuid, %(tenant)s::uuid, %(key)s::text, %(agent_id)s::uuid, %(agent_key)s::text, %(user)s::text,
    %(session_kind)s::text, %(channel)s::text, %(label)s::text FROM head
  ON CONFLICT (tenant_id, session_key) DO UPDATE SET last_active_at = now(), updated_at = now()
  RETURNING generation
), run AS (
  INSERT INTO runs (run_id, tenant_id, session_key, shard, agent_id, agent_key, user_id, kind, lane, max_attempts,
    generation, request, request_hash, ingress_key, deadline, state, attempt, fence, lease_owner, lease_expires_at,
    claimed_at, started_at)
  SELECT %(run_id)s::uuid, %(tenant)s::uuid, %(key)s::text, %(shard)s::int, %(agent_id)s::uuid,
    %(agent_key)s::text, %(user)s::text, %(kind)s::text, %(lane)s::text, %(max_attempts)s::int, session.generation,
    %(request)s::jsonb, %(request_hash)s::text, %(ingress_key)s::text,
    now() + make_interval(secs => %(timeout)s::float8), CASE WHEN head.started THEN 'RUNNING' ELSE 'QUEUED' END,
    head.started::int, head.started::int, CASE WHEN head.started THEN %(node)s::uuid END,
    CASE WHEN head.started THEN clock_timestamp() + make_interval(secs => %(lease)s::float8) END,
    CASE WHEN head.started THEN now() END, CASE WHEN head.started THEN now() END
  FROM session, head
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    node_id)
  SELECT %(run_id)s::uuid, %(tenant)s::uuid, %(key)s::text, head.seq + step.place, step.type, step.before, step.after,
    step.counts, step.counts, CASE WHEN step.counts = 1 THEN %(node)s::uuid END
  FROM head, (VALUES (0, 'task.enqueued', NULL, 'QUEUED', 0), (1, 'task.claimed', 'QUEUED', 'CLAIMED', 1),
    (2, 'task.running', 'CLAIMED', 'RUNNING', 1)) AS step(place, type, before, after, counts)
  WHERE step.place = 0 OR head.started
)
SELECT queued, running, started FROM head
"""  # the head is locked by its upsert, so an idle session can be started in the same statement

LOCK_WAITING = """
SELECT h.tenant_id, h.session_key, h.lane
FROM session_heads h
JOIN unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS wanted(tenant_id, session_key) USING (tenant_id, session_key)
WHERE h.lane = %(lane)s AND h.queued > 0 AND h.running < h.max_concurrent AND h.head_at <= now()
ORDER BY h.tenant_id, h.session_key LIMIT %(limit)s
FOR UPDATE OF h SKIP LOCKED
"""

CLAIM = f"""
WITH picked AS (
  SELECT DISTINCT ON (r.tenant_id, r.session_key) r.run_id
  FROM runs r
  JOIN unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS locked(tenant_id, session_key) USING (tenant_id, session_key)
  WHERE r.state = 'QUEUED' ORDER BY r.tenant_id, r.session_key, r.run_id
), claimed AS (
  UPDATE runs SET state = 'RUNNING', attempt = attempt + 1, fence = fence + 1, lease_owner = %(node)s::uuid,
    lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s::float8), claimed_at = now(),
    started_at = coalesce(started_at, now()), updated_at = now()
  WHERE run_id IN (SELECT run_id FROM picked) AND state = 'QUEUED'
  RETURNING {CLAIMED}
), head AS (
  UPDATE session_heads h SET queued = h.queued - 1, running = h.running + 1, next_seq = h.next_seq + 2,
    head_at = CASE WHEN h.queued > 1 THEN now() END, updated_at = now()
  FROM claimed c WHERE h.tenant_id = c.tenant_id AND h.session_key = c.session_key
  RETURNING h.tenant_id, h.session_key, h.next_seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    node_id)
  SELECT c.run_id, c.tenant_id, c.session_key, head.next_seq - 2 + step.place, step.type, step.before, step.after,
    c.attempt, c.fence, %(node)s::uuid
  FROM claimed c JOIN head USING (tenant_id, session_key),
    (VALUES (0, 'task.claimed', 'QUEUED', 'CLAIMED'), (1, 'task.running', 'CLAIMED', 'RUNNING'))
      AS step(place, type, before, after)
)
SELECT * FROM claimed ORDER BY run_id
"""  # CLAIMED and RUNNING in one commit: a slot is held before the claim, so nothing happens in between

LOCK_HEAD = "SELECT 1 FROM session_heads WHERE tenant_id = %(tenant)s AND session_key = %(key)s FOR UPDATE"

LEAVE = f"""
WITH done AS (
  UPDATE runs SET state = %(to)s::text, result = %(result)s::jsonb, reason_code = %(reason)s::text,
    last_error = %(error)s::text, attempt = attempt + %(attempts)s, crash_count = crash_count + %(crashes)s,
    lease_owner = NULL, lease_expires_at = NULL, available_at = now(), updated_at = now(),
    finished_at = CASE WHEN %(to)s::text <> 'QUEUED' THEN now() END
  WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND lease_owner = %(owner)s::uuid AND fence = %(fence)s
    AND state IN ('CLAIMED', 'RUNNING')
  RETURNING run_id, tenant_id, session_key, attempt, fence
), head AS (
  UPDATE session_heads h SET running = h.running - 1, queued = h.queued + %(requeued)s, next_seq = h.next_seq + 1,
    head_at = CASE WHEN h.queued + %(requeued)s > 0 THEN now() END, updated_at = now()
  FROM done d WHERE h.tenant_id = d.tenant_id AND h.session_key = d.session_key
  RETURNING h.queued, h.running, h.next_seq - 1 AS seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    node_id, reason_code)
  SELECT d.run_id, d.tenant_id, d.session_key, head.seq, %(event)s, 'RUNNING', %(to)s::text, d.attempt, d.fence,
    %(owner)s::uuid, %(reason)s::text FROM done d, head
), session AS (
  {GROW} FROM done d
  WHERE s.tenant_id = d.tenant_id AND s.session_key = d.session_key AND %(count)s::int > 0 RETURNING {GROWN}
), message AS (
  {MESSAGES}
)
SELECT queued, running FROM head
"""  # one statement: the head changes only with the run, and the run only if it is still ours

CANCEL_WAITING = """
WITH gone AS (
  UPDATE runs SET state = 'CANCELED', reason_code = %(reason)s::text, finished_at = now(), updated_at = now(),
    result = jsonb_build_object('run_id', run_id, 'session_key', session_key, 'cancelled', true,
      'finish_reason', 'cancelled', 'error', %(error)s::jsonb)
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s::text AND state = 'QUEUED'
    AND (%(runs)s::uuid[] IS NULL OR run_id = ANY(%(runs)s::uuid[]))
  RETURNING run_id, attempt, fence
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
    'task.canceled', 'QUEUED', 'CANCELED', attempt, fence, %(reason)s::text FROM gone, head
)
SELECT run_id, fence FROM gone ORDER BY run_id
"""

BURY = """
WITH dead AS (
  UPDATE runs SET state = 'DEAD_LETTER', updated_at = now()
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

OPEN = """
SELECT run_id, state, kind, user_id, request, created_at FROM runs
WHERE tenant_id = %(tenant)s AND session_key = %(key)s AND state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT')
ORDER BY run_id LIMIT 1000
"""

WAITING = """
SELECT w.tenant_id, w.session_key, w.lane FROM unnest(%(lanes)s::text[]) AS l(name) CROSS JOIN LATERAL (
  SELECT tenant_id, session_key, lane, head_at FROM session_heads
  WHERE lane = l.name AND queued > 0 AND running < max_concurrent AND head_at <= now()
    AND (%(shards)s::int[] IS NULL OR shard = ANY(%(shards)s::int[]))
  ORDER BY head_at LIMIT %(limit)s
) AS w
ORDER BY w.head_at
"""

RENEW = """
UPDATE runs SET lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s::float8)
WHERE lease_owner = %(node)s AND state IN ('CLAIMED', 'RUNNING') RETURNING run_id
"""

ORPHANS = f"""
SELECT {CLAIMED}
FROM runs
WHERE state IN ('CLAIMED', 'RUNNING') AND lease_owner <> %(node)s
  AND (%(alone)s OR lease_expires_at < clock_timestamp())
ORDER BY run_id LIMIT 50
"""

OWNED = f"""
SELECT {CLAIMED}
FROM runs
WHERE state IN ('CLAIMED', 'RUNNING') AND lease_owner = %(node)s AND lane = %(lane)s
  AND claimed_at <= now() - make_interval(secs => %(older)s::float8)
ORDER BY run_id LIMIT 10000
"""


@transaction(single=True)
async def accept(
    db: Connection,
    *,
    run_id: str,
    session_id: str,
    tenant: str,
    key: str,
    session_kind: str,
    channel: str,
    label: str,
    max_concurrent: int,
    agent_id: str,
    agent_key: str,
    user: str,
    kind: RunKind,
    lane: Lane,
    timeout: float,
    request: RunRequest,
    request_hash: str,
    ingress_key: str | None = None,
    node: str | None = None,
) -> Stored:
    """Store a turn: its session if it is new, its run, its place in the queue (T1). All or nothing.

    `label` names a new session; one that exists keeps its own. With `node`, which must hold a slot for it, the run
    of an idle session is claimed and started in the same commit (T2, T4).
    """
    params = {
        "run_id": run_id,
        "session_id": session_id,
        "tenant": tenant,
        "key": key,
        "shard": shard_of(tenant, key),
        "session_kind": session_kind,
        "channel": channel,
        "label": label,
        "max_concurrent": max_concurrent,
        "agent_id": agent_id,
        "agent_key": agent_key,
        "user": user,
        "kind": kind,
        "lane": lane,
        "max_attempts": KINDS[kind].attempts,
        "timeout": timeout,
        "request": request,
        "request_hash": request_hash,
        "ingress_key": ingress_key,
        "node": node,
        "lease": LEASE,
    }
    return await one(Stored, db.execute(ACCEPT, params))


@transaction
async def accept_with_history(
    db: Connection, /, *, tenant: str, key: str, earlier: Sequence[NewMessage], **turn: Any
) -> Stored:
    """As `accept`, in a fresh session that begins with what the caller brought along."""
    stored = await accept(db, tenant=tenant, key=key, **turn)
    await append(db, tenant=tenant, key=key, messages=earlier)
    return stored


@transaction
async def claim(
    db: Connection, *, node: str, lane: str, sessions: Sequence[tuple[str, str]], limit: int
) -> list[Claimed]:
    """The oldest waiting run of each of these sessions, at most `limit`, now ours (T2, T4)."""
    wanted = {"tenants": [tenant for tenant, _ in sessions], "keys": [key for _, key in sessions]}
    locked = await many(Waiting, db.execute(LOCK_WAITING, {**wanted, "lane": lane, "limit": limit}))
    if not locked:
        return []
    heads = {"tenants": [head.tenant_id for head in locked], "keys": [head.session_key for head in locked]}
    return await many(Claimed, db.execute(CLAIM, {**heads, "node": node, "lease": LEASE}))


@transaction(single=True)
async def succeed(db: Connection, run: Claimed, *, result: RunResult, messages: Sequence[NewMessage]) -> Depth:
    """The answer, its messages and its counters, in one commit (T5). Raises `StaleOwner`."""
    return await _leave(db, run, "SUCCEEDED", "task.succeeded", result=result, messages=messages)


@transaction(single=True)
async def fail(
    db: Connection, run: Claimed, *, result: RunResult, reason: str, error: str, messages: Sequence[NewMessage]
) -> Depth:
    """The run ends without an answer (T7). What the user said stays in the history. Raises `StaleOwner`."""
    return await _leave(db, run, "FAILED", "task.failed", result=result, reason=reason, error=error, messages=messages)


@transaction(single=True)
async def cancel(
    db: Connection, run: Claimed, *, result: RunResult, reason: str, messages: Sequence[NewMessage]
) -> Depth:
    """Somebody stopped it (T13). The partial text is kept. Raises `StaleOwner`."""
    return await _leave(db, run, "CANCELED", "task.canceled", result=result, reason=reason, messages=messages)


@transaction
async def put_back(db: Connection, run: Claimed, *, reason: str) -> Depth:
    """Give the run up so that somebody else takes it, not counted as an attempt (T9). Raises `StaleOwner`.

    Nobody takes a run over whose asker goes with us.
    """
    depth = await _leave(db, run, "QUEUED", "task.released", reason=reason, attempts=-1)
    if await _asker_gone(db, run):
        return Depth(depth.queued - 1, depth.running)
    return depth


Recovered = Literal["requeued", "cancelled", "dead"]


@transaction
async def recover(db: Connection, run: Claimed) -> Recovered:
    """What becomes of a run whose owner died (T10, T11): again, unless its asker is gone or it crashed too often.

    Raises `StaleOwner` if somebody else was faster.
    """
    if run.crash_count + 1 >= CRASHES:
        reason = "DEAD_LETTER_CRASH_LOOP"
        result = RunResult(run_id=run.run_id, session_key=run.session_key, error=LOST)
        await _leave(db, run, "FAILED", "task.failed", result=result, reason=reason, attempts=-1, crashes=1)
        await db.execute(BURY, {"run": run.run_id, "tenant": run.tenant_id})  # FAILED and on, in one commit (T7, T8)
        return "dead"
    event = "task.lease_expired_requeued"
    await _leave(db, run, "QUEUED", event, reason="LEASE_EXPIRED", attempts=-1, crashes=1)
    return "cancelled" if await _asker_gone(db, run) else "requeued"


@transaction
async def cancel_waiting(
    db: Connection, *, tenant: str, key: str, reason: str, runs: Sequence[str] | None = None, error: Err | None = None
) -> list[Canceled]:
    """Take waiting runs out of the queue (T12): these, or all. Who was taken, oldest first.

    `error` is what their askers hear; without it they hear that they were cancelled.
    """
    await db.execute(LOCK_HEAD, {"tenant": tenant, "key": key})
    return await _cancel_waiting(db, tenant, key, reason, runs, error)


@transaction(readonly=True)
async def open_runs(db: Connection, *, tenant: str, key: str) -> list[OpenRun]:
    """Runs of a session that have not ended, oldest first."""
    return await many(OpenRun, db.execute(OPEN, {"tenant": tenant, "key": key}))


@transaction(readonly=True)
async def known(db: Connection, *, tenant: str, ingress_key: str) -> Known | None:
    """The run a key was used for."""
    query = """
    SELECT run_id, request_hash, result FROM runs WHERE tenant_id = %(tenant)s AND ingress_key = %(key)s
    """
    return await maybe(Known, db.execute(query, {"tenant": tenant, "key": ingress_key}))


@transaction(readonly=True)
async def result(db: Connection, *, tenant: str, run_id: str) -> RunResult | None:
    """How a run ended; None while it has not."""
    query = "SELECT run_id, request_hash, result FROM runs WHERE tenant_id = %(tenant)s AND run_id = %(run)s"
    found = await maybe(Known, db.execute(query, {"tenant": tenant, "run": run_id}))
    return None if found is None else found.result


@transaction(readonly=True)
async def left(db: Connection, run: Claimed) -> bool:
    """Whether the run has left our hands: it ended, went back, or belongs to somebody else."""
    query = """
    SELECT count(*) = 0 FROM runs WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND lease_owner = %(owner)s
      AND fence = %(fence)s AND state IN ('CLAIMED', 'RUNNING')
    """
    params = {"run": run.run_id, "tenant": run.tenant_id, "owner": run.lease_owner, "fence": run.fence}
    return await one(bool, db.execute(query, params))


@transaction(readonly=True)
async def session_of(db: Connection, *, tenant: str, run_id: str) -> str | None:
    """Which session a run belongs to; None for an id nobody gave out."""
    try:
        run_id = str(uuid.UUID(run_id))
    except ValueError:
        return None
    query = "SELECT session_key FROM runs WHERE tenant_id = %(tenant)s AND run_id = %(run)s"
    return await maybe(str, db.execute(query, {"tenant": tenant, "run": run_id}))


@transaction(readonly=True)
async def waiting(db: Connection, *, shards: Sequence[int] | None = None) -> list[Waiting]:
    """Sessions with work that could be claimed now, longest waiting first. A full lane hides no other.

    `shards` are those to look in; None means all.
    """
    where = None if shards is None else list(shards)
    return await many(Waiting, db.execute(WAITING, {"lanes": list(LANES), "limit": SCAN, "shards": where}))


@transaction(readonly=True)
async def orphans(db: Connection, *, node: str, alone: bool) -> list[Claimed]:
    """Runs whose owner is dead: its lease is over, or nobody else can be alive (`alone`)."""
    return await many(Claimed, db.execute(ORPHANS, {"node": node, "alone": alone}))


@transaction(readonly=True)
async def forsaken(db: Connection, *, node: str) -> list[Forsaken]:
    """Runs that wait for a slot although their asker held a line that a dead process took with it.

    They are older than `node`, the id of the process that asks: ids are in the order of their making.
    """
    query = """
    SELECT run_id, tenant_id, session_key FROM runs
    WHERE state = 'QUEUED' AND kind = 'http' AND ingress_key IS NULL AND run_id < %(node)s::uuid
    ORDER BY run_id LIMIT 1000
    """
    return await many(Forsaken, db.execute(query, {"node": node}))


@transaction(readonly=True)
async def owned(db: Connection, *, node: str, lane: str, older: float = 0.0) -> list[Claimed]:
    """What this node runs in a lane, claimed at least `older` seconds ago."""
    return await many(Claimed, db.execute(OWNED, {"node": node, "lane": lane, "older": older}))


@transaction(retry_safe=True)
async def renew(db: Connection, *, node: str) -> list[str]:
    """Prolong the leases of everything this node runs; which runs those are."""
    return await many(str, db.execute(RENEW, {"node": node, "lease": LEASE}))


async def _leave(
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
    messages: Sequence[NewMessage] = (),
) -> Depth:
    """Move a run of ours out of RUNNING: its head, its event, the turn's messages and tokens, in one statement."""
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
        "requeued": 1 if to == "QUEUED" else 0,
        **growth(messages, run.run_id, result.usage if result is not None else Usage()),
    }
    depth = await maybe(Depth, db.execute(LEAVE, params))
    if depth is None:
        raise StaleOwner(run.run_id)
    return depth


async def _asker_gone(db: Connection, run: Claimed) -> bool:
    """End a requeued run whose asker held the line of a process that ends (sessions-lanes-cron.md §9.4). True if so."""
    if run.kind == "http":
        await _cancel_waiting(db, run.tenant_id, run.session_key, "CLIENT_GONE", [run.run_id])
    return run.kind == "http"


async def _cancel_waiting(
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
