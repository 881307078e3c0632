"""A turn is stored: its session, its run, its place in the queue. Contract: durability.md §4 (T1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from goclaw.domain.cluster import shard_of
from goclaw.domain.run import KINDS, Lane, RunKind, RunRequest
from goclaw.stores.run_claims import LEASE
from goclaw.stores.sessions import NewMessage, append
from goclaw.stores.unit import Connection, one, transaction


class Stored(Struct, frozen=True):
    """An accepted turn. `started`: it is ours already, because its session was idle."""

    queued: int
    running: int
    started: bool


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
    priority, generation, request, request_hash, ingress_key, deadline, state, attempt, fence, lease_owner,
    lease_expires_at, claimed_at, started_at, policy_version)
  SELECT %(run_id)s::uuid, %(tenant)s::uuid, %(key)s::text, %(shard)s::int, %(agent_id)s::uuid,
    %(agent_key)s::text, %(user)s::text, %(kind)s::text, %(lane)s::text, %(max_attempts)s::int,
    %(priority)s::int, session.generation,
    %(request)s::jsonb, %(request_hash)s::text, %(ingress_key)s::text,
    now() + make_interval(secs => %(timeout)s::float8), CASE WHEN head.started THEN 'RUNNING' ELSE 'QUEUED' END,
    head.started::int, head.started::int, CASE WHEN head.started THEN %(node)s::uuid END,
    CASE WHEN head.started THEN clock_timestamp() + make_interval(secs => %(lease)s::float8) END,
    CASE WHEN head.started THEN now() END, CASE WHEN head.started THEN now() END,
    CASE WHEN head.started THEN %(policy)s::text END
  FROM session, head
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    node_id)
  SELECT %(run_id)s::uuid, %(tenant)s::uuid, %(key)s::text, head.seq + step.place, step.type, step.before, step.after,
    step.counts, step.counts, CASE WHEN step.counts = 1 THEN %(node)s::uuid END
  FROM head, (VALUES (0, 'task.enqueued', NULL, 'QUEUED', 0), (1, 'task.claimed', 'QUEUED', 'CLAIMED', 1),
    (2, 'task.running', 'CLAIMED', 'RUNNING', 1)) AS step(place, type, before, after, counts)
  WHERE step.place = 0 OR head.started ORDER BY step.place
)
SELECT queued, running, started FROM head
"""  # the head is locked by its upsert, so an idle session can be started in the same statement


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
    priority: int | None = None,
    node: str | None = None,
    policy: str | None = None,
) -> Stored:
    """Store a turn: its session if it is new, its run, its place in the queue (T1). All or nothing.

    `label` names a new session; one that exists keeps its own. `priority` is 0–10, of the kind unless told. With
    `node`, which must hold a slot for it, the run of an idle session is claimed and started in the same commit
    (T2, T4), under the `policy` of that version.
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
        "priority": KINDS[kind].priority if priority is None else priority,
        "timeout": timeout,
        "request": request,
        "request_hash": request_hash,
        "ingress_key": ingress_key,
        "node": node,
        "policy": policy,
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
