"""Runs become ours, and stay it by their lease. Contract: durability.md §5.

A claim locks the session's head first, in a statement of its own: one statement would read its snapshot
before it has the lock (durability.md §5.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from goclaw.domain.run import Lane
from goclaw.settings.locks import Locks
from goclaw.stores import locks
from goclaw.stores.run_heads import HEAD_OF
from goclaw.stores.runs import CLAIMED, Claimed
from goclaw.stores.unit import Connection, many, transaction

LEASE = 30  # seconds; durability.md §5.2
LOCKS = Locks()


class Waiting(Struct, frozen=True, kw_only=True):
    tenant_id: str
    session_key: str
    lane: Lane


class Renewed(Struct, frozen=True, kw_only=True):
    """A run that is still ours, and whether somebody wants it to end."""

    run_id: str
    lane: Lane
    stopping: bool


ANNOUNCES = """LATERAL (
  SELECT count(*) FILTER (WHERE state IN ('CLAIMED', 'RUNNING')) AS working,
    count(*) FILTER (WHERE state IN ('QUEUED', 'RETRY_WAIT')) AS waiting,
    count(*) FILTER (WHERE state IN ('QUEUED', 'RETRY_WAIT') AND available_at <= now()) AS due
  FROM runs WHERE tenant_id = h.tenant_id AND session_key = h.session_key AND kind = 'announce'
    AND state IN ('QUEUED', 'RETRY_WAIT', 'CLAIMED', 'RUNNING')
) AS a"""  # results have a slot of their own beside those of the head `h`; sessions-lanes-cron.md §3.5

HAS_SLOT = "(CASE WHEN w.announce THEN a.working = 0 ELSE h.running - a.working < h.max_concurrent END)"

CLAIMABLE = "(h.running - a.working < h.max_concurrent AND h.queued > a.waiting OR a.working = 0 AND a.due > 0)"

LOCK_WAITING = f"""
SELECT h.tenant_id, h.session_key, h.lane
FROM session_heads h
JOIN unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS wanted(tenant_id, session_key) USING (tenant_id, session_key)
CROSS JOIN {ANNOUNCES}
WHERE h.lane = %(lane)s AND h.queued > 0 AND h.head_at <= now() AND {CLAIMABLE}
ORDER BY h.tenant_id, h.session_key LIMIT %(limit)s
FOR UPDATE OF h SKIP LOCKED
"""

CLAIM = f"""
WITH head_of AS ({HEAD_OF}), picked AS (
  SELECT DISTINCT ON (w.tenant_id, w.session_key) w.run_id, w.state
  FROM head_of w JOIN session_heads h USING (tenant_id, session_key) CROSS JOIN {ANNOUNCES}
  WHERE w.available_at <= now() AND (w.resource_keys = '{{}}' OR w.run_id = ANY(%(holding)s::uuid[])) AND {HAS_SLOT}
  ORDER BY w.tenant_id, w.session_key, w.announce DESC
), claimed AS (
  UPDATE runs SET state = 'RUNNING', attempt = attempt + 1, fence = fence + 1, lease_owner = %(node)s::uuid,
    lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s::float8), claimed_at = now(),
    started_at = coalesce(started_at, now()), policy_version = %(policy)s::text, updated_at = now()
  WHERE run_id IN (SELECT run_id FROM picked) AND state IN ('QUEUED', 'RETRY_WAIT')
  RETURNING {CLAIMED}
), head AS (
  UPDATE session_heads h SET queued = h.queued - 1, running = h.running + 1,
    next_seq = h.next_seq + CASE WHEN p.state = 'RETRY_WAIT' THEN 3 ELSE 2 END,
    head_at = CASE WHEN h.queued > 1 THEN now() END, updated_at = now()
  FROM claimed c JOIN picked p USING (run_id) WHERE h.tenant_id = c.tenant_id AND h.session_key = c.session_key
  RETURNING h.tenant_id, h.session_key, h.next_seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    node_id)
  SELECT c.run_id, c.tenant_id, c.session_key, head.next_seq - 2 + step.place, step.type, step.before, step.after,
    c.attempt, c.fence, %(node)s::uuid
  FROM claimed c JOIN picked p USING (run_id) JOIN head USING (tenant_id, session_key),
    (VALUES (-1, 'task.requeued', 'RETRY_WAIT', 'QUEUED'), (0, 'task.claimed', 'QUEUED', 'CLAIMED'),
      (1, 'task.running', 'CLAIMED', 'RUNNING')) AS step(place, type, before, after)
  WHERE step.place >= 0 OR p.state = 'RETRY_WAIT' ORDER BY c.run_id, step.place
)
SELECT * FROM claimed ORDER BY run_id
"""  # CLAIMED and RUNNING in one commit: a slot is held before the claim, so nothing happens in between

REHEAD = f"""
UPDATE session_heads h SET head_at = coalesce((
  SELECT min(w.at) FROM (
    SELECT r.kind = 'announce' AS announce, coalesce((array_agg(r.available_at ORDER BY r.run_id)
      FILTER (WHERE r.available_at <= now() OR r.state = 'RETRY_WAIT' OR r.wait_reason = 'resource_lock'))[1],
      min(r.available_at)) AS at
    FROM runs r
    WHERE r.tenant_id = h.tenant_id AND r.session_key = h.session_key AND r.state IN ('QUEUED', 'RETRY_WAIT')
    GROUP BY r.kind = 'announce'
  ) AS w CROSS JOIN {ANNOUNCES} WHERE {HAS_SLOT}
), h.head_at)
FROM unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS locked(tenant_id, session_key)
WHERE h.tenant_id = locked.tenant_id AND h.session_key = locked.session_key
"""  # of heads whose oldest run is not due yet

OWNED = f"""
SELECT {CLAIMED}
FROM runs
WHERE state IN ('CLAIMED', 'RUNNING') AND lease_owner = %(node)s AND lane = %(lane)s
  AND claimed_at <= now() - make_interval(secs => %(older)s::float8)
ORDER BY run_id LIMIT 10000
"""

RENEW = """
UPDATE runs SET lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s::float8)
WHERE lease_owner = %(node)s AND state IN ('CLAIMED', 'RUNNING')
RETURNING run_id, lane, cancel_requested IS NOT NULL AS stopping
"""


@transaction
async def claim(
    db: Connection,
    *,
    node: str,
    lane: str,
    sessions: Sequence[tuple[str, str]],
    limit: int,
    rules: Locks = LOCKS,
    policy: str | None = None,
) -> list[Claimed]:
    """The oldest waiting run of each of these sessions, at most `limit`, now ours (T2, T3, T4)."""
    wanted = {"tenants": [tenant for tenant, _ in sessions], "keys": [key for _, key in sessions]}
    locked = await many(Waiting, db.execute(LOCK_WAITING, {**wanted, "lane": lane, "limit": limit}))
    if not locked:
        return []
    heads = _named(locked)
    params = {"node": node, "lease": LEASE, "policy": policy}
    claimed = await many(Claimed, db.execute(CLAIM, {**heads, **params, "holding": []}))
    rest = _unclaimed(locked, claimed)  # their oldest wants keys, or waits for its next try: not due, and in front
    if rest and (holding := await locks.take(db, _named(rest), rules)):
        claimed += await many(Claimed, db.execute(CLAIM, {**_named(rest), **params, "holding": holding}))
        rest = _unclaimed(locked, claimed)
    if rest:
        await db.execute(REHEAD, _named(rest))
    return claimed


@transaction(readonly=True)
async def owned(db: Connection, *, node: str, lane: str, older: float = 0.0) -> list[Claimed]:
    """What this node runs in a lane, claimed at least `older` seconds ago."""
    return await many(Claimed, db.execute(OWNED, {"node": node, "lane": lane, "older": older}))


@transaction(retry_safe=True)
async def renew(db: Connection, *, node: str) -> list[Renewed]:
    """Prolong the leases of everything this node runs; which runs those are."""
    return await many(Renewed, db.execute(RENEW, {"node": node, "lease": LEASE}))


def _named(heads: Sequence[Waiting]) -> dict[str, list[str]]:
    return {"tenants": [head.tenant_id for head in heads], "keys": [head.session_key for head in heads]}


def _unclaimed(heads: Sequence[Waiting], claimed: Sequence[Claimed]) -> list[Waiting]:
    got = {(run.tenant_id, run.session_key) for run in claimed}
    return [head for head in heads if (head.tenant_id, head.session_key) not in got]
