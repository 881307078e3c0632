"""The queue as its lanes see it: who waits, how much, and who is suspected. Tables as in `runs`.

What waits is read without a lock; a claim looks again under the lock of the session's head.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from goclaw.domain.run import SUSPICIOUS, Lane, RunState
from goclaw.stores.run_claims import ANNOUNCES, CLAIMABLE
from goclaw.stores.runs import Claimed, StaleOwner
from goclaw.stores.unit import Connection, many, maybe, one, transaction

SCAN = 200  # sessions of a lane in one look; durability.md §5.1


class Waiting(Struct, frozen=True, kw_only=True):
    """A session that could be claimed now, and its oldest waiting run."""

    tenant_id: str
    session_key: str
    lane: Lane
    user_id: str
    priority: int
    crash_count: int
    waited: float  # seconds since it became due, by the database's clock


class Crowd(Struct, frozen=True):
    """Runs that wait, counted up to the limits asked for."""

    tenant: int
    user: int


class Census(Struct, frozen=True):
    lane: str
    state: RunState
    runs: int


FIRST = f"""
  SELECT h.tenant_id, h.session_key, h.lane, r.user_id, r.priority, r.crash_count,
    extract(epoch FROM now() - h.head_at)::float8 AS waited,
    least(10, r.priority + floor(extract(epoch FROM now() - h.head_at) / 30)) AS effective
  FROM session_heads h CROSS JOIN {ANNOUNCES} CROSS JOIN LATERAL (
    SELECT user_id, priority, crash_count FROM runs r
    WHERE r.tenant_id = h.tenant_id AND r.session_key = h.session_key AND r.state IN ('QUEUED', 'RETRY_WAIT')
      AND (r.kind = 'announce') = (a.working = 0 AND a.due > 0)
    ORDER BY r.run_id LIMIT 1
  ) AS r
  WHERE h.queued > 0 AND h.head_at <= now() AND {CLAIMABLE}
    AND (%(shards)s::int[] IS NULL OR h.shard = ANY(%(shards)s::int[]))
"""

WAITING = f"""
WITH due AS ({FIRST}), users AS (
  SELECT *, row_number() OVER (PARTITION BY lane, tenant_id, user_id ORDER BY effective DESC, waited DESC) AS turn
  FROM due
), tenants AS (
  SELECT *, row_number() OVER (PARTITION BY lane, tenant_id ORDER BY turn, effective DESC, waited DESC) AS place
  FROM users
), lanes AS (
  SELECT *, row_number() OVER (PARTITION BY lane ORDER BY place, effective DESC, waited DESC) AS rank FROM tenants
)
SELECT tenant_id, session_key, lane, user_id, priority, crash_count, waited FROM lanes
WHERE rank <= %(limit)s ORDER BY lane, rank
"""  # the first of every tenant before the second of any, and in a tenant the first of every user

SUSPECTS = f"""
SELECT tenant_id, session_key, lane, user_id, priority, crash_count, waited FROM ({FIRST}) AS due
WHERE lane = %(lane)s AND crash_count >= {SUSPICIOUS} ORDER BY waited DESC LIMIT %(limit)s
"""

CROWD = """
SELECT (
  SELECT count(*) FROM (
    SELECT 1 FROM runs WHERE tenant_id = %(tenant)s AND state IN ('QUEUED', 'RETRY_WAIT') LIMIT %(most)s
  ) AS theirs
) AS tenant, (
  SELECT count(*) FROM (
    SELECT 1 FROM runs
    WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND state IN ('QUEUED', 'RETRY_WAIT') LIMIT %(most_of_user)s
  ) AS his
) AS "user"
"""

CENSUS = """
SELECT lane, state, count(*) AS runs FROM runs
WHERE state IN ('QUEUED', 'RETRY_WAIT') GROUP BY lane, state
UNION ALL
SELECT lane, state, count(*) AS runs FROM runs
WHERE state IN ('CLAIMED', 'RUNNING') GROUP BY lane, state
"""  # two halves, so that each reads its own partial index

SUSPECT = """
WITH head AS (
  UPDATE session_heads SET next_seq = next_seq + 1
  WHERE tenant_id = %(tenant)s AND session_key = %(key)s
    AND EXISTS (
      SELECT 1 FROM runs WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND lease_owner = %(owner)s
        AND fence = %(fence)s AND state IN ('CLAIMED', 'RUNNING')
    )
  RETURNING next_seq - 1 AS seq
)
INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, attempt, fence, node_id)
SELECT %(run)s, %(tenant)s, %(key)s, head.seq, 'task.suspect', %(attempt)s, %(fence)s, %(owner)s FROM head
RETURNING session_seq
"""


@transaction(readonly=True)
async def waiting(db: Connection, *, limit: int = SCAN, shards: Sequence[int] | None = None) -> list[Waiting]:
    """Sessions that could be claimed now, `limit` for each lane. No crowd hides a lane, a tenant or a user.

    `shards` are those to look in; None means all.
    """
    return await many(Waiting, db.execute(WAITING, {"limit": limit, "shards": shards}))


@transaction(readonly=True)
async def suspects(
    db: Connection, *, lane: str, limit: int = SCAN, shards: Sequence[int] | None = None
) -> list[Waiting]:
    """Sessions of a lane whose next run has crashed before, longest waiting first."""
    return await many(Waiting, db.execute(SUSPECTS, {"lane": lane, "limit": limit, "shards": shards}))


@transaction(readonly=True)
async def crowd(db: Connection, *, tenant: str, user: str, most: int, most_of_user: int) -> Crowd:
    """How many runs wait in a tenant and of a user, neither counted beyond its limit."""
    params = {"tenant": tenant, "user": user, "most": most, "most_of_user": most_of_user}
    return await one(Crowd, db.execute(CROWD, params))


@transaction(readonly=True)
async def census(db: Connection) -> list[Census]:
    """How many runs are in each state that is not an end, by lane."""
    return await many(Census, db.execute(CENSUS))


@transaction(single=True)
async def suspect(db: Connection, run: Claimed) -> None:
    """Write into the run's trail that it begins under suspicion. Raises `StaleOwner`."""
    params = {
        "run": run.run_id,
        "tenant": run.tenant_id,
        "key": run.session_key,
        "owner": run.lease_owner,
        "fence": run.fence,
        "attempt": run.attempt,
    }
    if await maybe(int, db.execute(SUSPECT, params)) is None:
        raise StaleOwner(run.run_id)
