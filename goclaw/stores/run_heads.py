"""Session heads: whose turn it is, and counting again what they count: a difference is a bug, and is mended.

Contract: durability.md §5.1, §15.
"""

from __future__ import annotations

from msgspec import Struct

from goclaw.stores.unit import Connection, many, transaction

MOST = 1000  # heads looked at once
BLOCK = 60  # seconds a run that waits for its next try holds up those behind it; durability.md §5.1


class HeadRepair(Struct, frozen=True, kw_only=True):
    """A head that was wrong: what it said, and what there is. One that was missing said nothing."""

    tenant_id: str
    session_key: str
    queued: int
    running: int
    counted_queued: int
    counted_running: int


HEAD_OF = f"""
  SELECT DISTINCT ON (r.tenant_id, r.session_key, r.kind = 'announce') r.tenant_id, r.session_key,
    r.kind = 'announce' AS announce, r.run_id, r.state, r.available_at, r.resource_keys
  FROM runs r
  JOIN unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS locked(tenant_id, session_key) USING (tenant_id, session_key)
  WHERE r.state IN ('QUEUED', 'RETRY_WAIT') AND (r.available_at <= now() OR r.wait_reason = 'resource_lock'
    OR (r.state = 'RETRY_WAIT' AND r.updated_at > now() - make_interval(secs => {BLOCK})))
  ORDER BY r.tenant_id, r.session_key, r.kind = 'announce', r.run_id
"""  # the run whose turn it is, due or not: who waits for keys keeps its place

DIFFERENT = """
SELECT tenant_id, session_key, coalesce(h.queued, 0) AS queued, coalesce(h.running, 0) AS running,
  coalesce(o.queued, 0) AS counted_queued, coalesce(o.running, 0) AS counted_running
FROM (SELECT tenant_id, session_key, queued, running FROM session_heads
  WHERE %(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s) AS h
FULL JOIN (
  SELECT tenant_id, session_key, count(*) FILTER (WHERE state IN ('QUEUED', 'RETRY_WAIT'))::int AS queued,
    count(*) FILTER (WHERE state IN ('CLAIMED', 'RUNNING'))::int AS running
  FROM runs
  WHERE state IN ('QUEUED', 'RETRY_WAIT', 'CLAIMED', 'RUNNING')
    AND (%(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s)
  GROUP BY tenant_id, session_key
) AS o USING (tenant_id, session_key)
WHERE (coalesce(h.queued, 0), coalesce(h.running, 0)) <> (coalesce(o.queued, 0), coalesce(o.running, 0))
ORDER BY tenant_id, session_key LIMIT %(limit)s
"""

ADD_MISSING = """
INSERT INTO session_heads (tenant_id, session_key, shard, lane, next_seq)
SELECT r.tenant_id, r.session_key, shard_of(r.tenant_id, r.session_key), min(r.lane),
  coalesce((SELECT max(e.session_seq) + 1 FROM run_events e
    WHERE e.tenant_id = r.tenant_id AND e.session_key = r.session_key), 1)
FROM runs r
JOIN unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS wrong(tenant_id, session_key)
  ON r.tenant_id = wrong.tenant_id AND r.session_key = wrong.session_key
GROUP BY r.tenant_id, r.session_key
ON CONFLICT (tenant_id, session_key) DO NOTHING
"""

LOCK = """
SELECT h.session_key FROM session_heads h
JOIN unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS wrong(tenant_id, session_key) USING (tenant_id, session_key)
ORDER BY h.tenant_id, h.session_key FOR UPDATE OF h
"""

MEND = """
UPDATE session_heads h SET queued = wrong.queued, running = wrong.running, updated_at = now(), head_at = (
  SELECT min(available_at) FROM runs r
  WHERE r.tenant_id = h.tenant_id AND r.session_key = h.session_key AND r.state IN ('QUEUED', 'RETRY_WAIT'))
FROM unnest(%(tenants)s::uuid[], %(keys)s::text[], %(queued)s::int[], %(running)s::int[])
  AS wrong(tenant_id, session_key, queued, running)
WHERE h.tenant_id = wrong.tenant_id AND h.session_key = wrong.session_key
"""


@transaction(readonly=True)
async def wrong(db: Connection, *, tenant: str | None = None, limit: int = MOST) -> list[HeadRepair]:
    """Heads that miscount their session's runs, of one tenant or of all. None in a healthy database."""
    return await many(HeadRepair, db.execute(DIFFERENT, {"tenant": tenant, "limit": limit}))


@transaction(retry_safe=True)
async def mend(db: Connection, *, tenant: str | None = None, limit: int = MOST) -> list[HeadRepair]:
    """Set them right. Returns what was wrong.

    Heads and runs change together, so whoever differs in one snapshot is wrong; they are counted again under the lock.
    """
    suspects = await wrong(db, tenant=tenant, limit=limit)
    if not suspects:
        return []
    named = {"tenants": [one.tenant_id for one in suspects], "keys": [one.session_key for one in suspects]}
    await db.execute(ADD_MISSING, named)
    await db.execute(LOCK, named)
    locked = {(one.tenant_id, one.session_key) for one in suspects}
    found = [
        one for one in await wrong(db, tenant=tenant, limit=2 * limit) if (one.tenant_id, one.session_key) in locked
    ]
    params = {
        "tenants": [one.tenant_id for one in found],
        "keys": [one.session_key for one in found],
        "queued": [one.counted_queued for one in found],
        "running": [one.counted_running for one in found],
    }
    await db.execute(MEND, params)
    return found
