"""Which node owns which of the 256 shards. Table `shard_leases` (migration 0016).

A write that depends on ownership repeats the fence and locks the lease's row FOR KEY SHARE; whoever takes a lease
over locks it FOR UPDATE first, so there is no moment at which two owners can both commit (durability.md §12.2).
Renewal goes between. Lock order: session heads, runs, shard leases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from goclaw.domain.cluster import shard_of
from goclaw.settings.locks import Locks
from goclaw.stores import run_claims
from goclaw.stores.run_claims import LOCKS
from goclaw.stores.runs import Claimed, StaleOwner
from goclaw.stores.unit import Connection, many, one, transaction


class Shard(Struct, frozen=True):
    shard: int
    fence: int


class ShardRow(Struct, frozen=True, kw_only=True):
    shard: int
    node_id: str | None
    fence: int
    moving_to: str | None
    free: bool  # nobody alive holds it


LIVES = "n.stopped_at IS NULL AND n.lease_expires_at > clock_timestamp()"
TTL = "clock_timestamp() + make_interval(secs => %(ttl)s::float8)"
HELD = """
SELECT count(*) FROM (
  SELECT 1 FROM shard_leases s JOIN unnest(%(shards)s::int[], %(fences)s::bigint[]) AS ours(shard, fence) USING (shard)
  WHERE s.node_id = %(node)s::uuid AND s.fence = ours.fence ORDER BY s.shard FOR KEY SHARE OF s
) AS held
"""


@transaction(readonly=True)
async def listed(db: Connection) -> list[ShardRow]:
    query = f"""
    SELECT s.shard, s.node_id, s.fence, s.moving_to, n.node_id IS NULL AS free
    FROM shard_leases s LEFT JOIN cluster_nodes n ON n.node_id = s.node_id AND {LIVES}
    ORDER BY s.shard LIMIT 256
    """
    return await many(ShardRow, db.execute(query))


@transaction
async def take(db: Connection, *, node: str, shards: Sequence[int], ttl: float) -> list[Shard]:
    """Those of `shards` that nobody alive holds, now ours with a new fence."""
    lock = f"""
    SELECT s.shard FROM shard_leases s
    WHERE s.shard = ANY(%(shards)s::int[]) AND s.node_id IS DISTINCT FROM %(node)s::uuid
      AND NOT EXISTS (SELECT 1 FROM cluster_nodes n WHERE n.node_id = s.node_id AND {LIVES})
    ORDER BY s.shard FOR UPDATE OF s
    """
    free = await many(int, db.execute(lock, {"shards": list(shards), "node": node}))
    query = f"""
    UPDATE shard_leases SET node_id = %(node)s, fence = fence + 1, expires_at = {TTL}
    WHERE shard = ANY(%(shards)s::int[])
      AND EXISTS (SELECT 1 FROM cluster_nodes n WHERE n.node_id = %(node)s AND {LIVES})
    RETURNING shard, fence
    """
    return await many(Shard, db.execute(query, {"shards": free, "node": node, "ttl": ttl})) if free else []


@transaction
async def give(db: Connection, *, node: str, shards: Sequence[int]) -> None:
    """Hold these shards of ours no longer."""
    await give_up(db, [node], shards)


@transaction(retry_safe=True)
async def send(db: Connection, *, shard: int, to: str) -> bool:
    """Wish that the node of this name holds the shard from now on. False if there is no such living node."""
    query = f"""
    UPDATE shard_leases SET moving_to = n.node_id FROM cluster_nodes n
    WHERE shard = %(shard)s AND n.name = %(to)s AND NOT n.draining AND {LIVES} RETURNING true
    """
    return bool(await many(bool, db.execute(query, {"shard": shard, "to": to})))


@transaction
async def hold(db: Connection, *, node: str, held: dict[int, int]) -> None:
    """Inside a transaction: these shards, with these fences, are and stay ours until it ends. Raises `StaleOwner`."""
    params = {"node": node, "shards": list(held), "fences": list(held.values())}
    if await one(int, db.execute(HELD, params)) != len(held):
        raise StaleOwner("shard")


@transaction
async def claim(
    db: Connection,
    *,
    node: str,
    lane: str,
    sessions: Sequence[tuple[str, str]],
    limit: int,
    fences: Mapping[int, int],
    rules: Locks = LOCKS,
    policy: str | None = None,
) -> list[Claimed]:
    """As `run_claims.claim`, but only while every session of the batch is ours. Raises `StaleOwner`."""
    claimed = await run_claims.claim(
        db, node=node, lane=lane, sessions=sessions, limit=limit, rules=rules, policy=policy
    )
    mine = {shard: fences.get(shard, -1) for shard in map(_shard, claimed)}
    if mine:
        await hold(db, node=node, held=mine)
    return claimed


async def give_up(db: Connection, nodes: Sequence[str], shards: Sequence[int] | None = None) -> None:
    """In two statements: the lock waits for writes that rely on the lease, and then nobody relies on it."""
    lock = """
    SELECT shard FROM shard_leases
    WHERE node_id = ANY(%(nodes)s::uuid[]) AND (%(shards)s::int[] IS NULL OR shard = ANY(%(shards)s::int[]))
    ORDER BY shard FOR UPDATE
    """
    params = {"nodes": list(nodes), "shards": None if shards is None else list(shards)}
    held = await many(int, db.execute(lock, params))
    query = """
    UPDATE shard_leases SET node_id = NULL, fence = fence + 1, expires_at = NULL WHERE shard = ANY(%(shards)s::int[])
    """
    await db.execute(query, {"shards": held})


def _shard(run: Claimed) -> int:
    return shard_of(run.tenant_id, run.session_key)
