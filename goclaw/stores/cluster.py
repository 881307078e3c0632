"""Who lives, and who holds which name. Tables `cluster_nodes`, `named_leases` (migration 0016).

All times are the database's. Shards are in `shards.py`. Contract: durability.md §12.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.domain.cluster import advisory_key
from goclaw.stores.runs import CLAIMED as CLAIMED_RUN
from goclaw.stores.runs import Claimed, StaleOwner
from goclaw.stores.shards import LIVES, TTL, Shard, give_up
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

KEPT = 7  # days a stopped node is listed
PASS = 50  # runs recovered in one look; durability.md §5.2


class Joined(Struct, frozen=True):
    incarnation: int
    past: tuple[str, ...]  # node ids this one has replaced


class Renewed(Struct, frozen=True):
    draining: bool  # somebody wants us to leave
    shards: tuple[Shard, ...]


class NodeRow(Struct, frozen=True, kw_only=True):
    node_id: str
    name: str
    incarnation: int
    url: str | None
    version: str
    started_at: datetime
    left: float  # seconds of its lease
    draining: bool
    capacity: int
    load: dict[str, Any]


class NameRow(Struct, frozen=True, kw_only=True):
    name: str
    node_id: str
    fence: int
    left: float  # seconds; negative when it is over


class Buried(Struct, frozen=True, kw_only=True):
    node_id: str
    name: str
    early: bool  # its database session ended before its lease did


# --- nodes ----------------------------------------------------------------------------------------


@transaction(retry_safe=True)
async def join(
    db: Connection,
    *,
    node: str,
    name: str,
    url: str,
    version: str,
    pid: int,
    capacity: int,
    ttl: float,
    alone: bool,
) -> Joined:
    """Be a node. Older incarnations of the name end here, and with `alone` everybody else; what they held is free."""
    await db.execute("LOCK TABLE cluster_nodes IN SHARE ROW EXCLUSIVE MODE")
    end = """
    UPDATE cluster_nodes SET stopped_at = clock_timestamp()
    WHERE (name = %(name)s::text OR %(alone)s) AND stopped_at IS NULL AND node_id <> %(node)s::uuid
    """
    await db.execute(end, {"name": name, "alone": alone, "node": node})
    add = f"""
    INSERT INTO cluster_nodes (node_id, name, incarnation, url, version, pid, lease_expires_at, capacity, advisory_key)
    SELECT %(node)s::uuid, %(name)s::text, coalesce(max(incarnation), 0) + 1, %(url)s::text, %(version)s::text,
      %(pid)s::int, {TTL}, %(capacity)s::int, %(key)s::bigint FROM cluster_nodes WHERE name = %(name)s::text
    ON CONFLICT (node_id) DO UPDATE SET stopped_at = NULL, lease_expires_at = EXCLUDED.lease_expires_at
    RETURNING incarnation
    """
    row = {"node": node, "name": name, "url": url, "version": version, "pid": pid, "ttl": ttl, "capacity": capacity}
    incarnation = await one(int, db.execute(add, {**row, "key": advisory_key(node)}))
    dead = """
    SELECT node_id FROM cluster_nodes WHERE (name = %(name)s::text OR %(alone)s) AND node_id <> %(node)s::uuid
    ORDER BY started_at DESC LIMIT 1000
    """
    past = await many(str, db.execute(dead, {"name": name, "alone": alone, "node": node}))
    await _free(db, past)
    forget = """
    DELETE FROM cluster_nodes n WHERE stopped_at < now() - make_interval(days => %(days)s)
      AND EXISTS (SELECT 1 FROM cluster_nodes later WHERE later.name = n.name AND later.incarnation > n.incarnation)
    """
    await db.execute(forget, {"days": KEPT})
    return Joined(incarnation, tuple(past))


@transaction(retry_safe=True)
async def renew(
    db: Connection, *, node: str, ttl: float, draining: bool = False, load: dict[str, Any] | None = None
) -> Renewed | None:
    """Prolong the leases of a node and of all its shards. None when somebody has ended it: it owns nothing."""
    query = f"""
    UPDATE cluster_nodes SET lease_expires_at = {TTL}, draining = draining OR %(draining)s, load = %(load)s
    WHERE node_id = %(node)s AND stopped_at IS NULL RETURNING draining
    """
    params = {"node": node, "ttl": ttl, "draining": draining, "load": Json(load or {})}
    leaves = await maybe(bool, db.execute(query, params))
    if leaves is None:
        return None
    query = f"UPDATE shard_leases SET expires_at = {TTL} WHERE node_id = %(node)s RETURNING shard, fence"
    shards = await many(Shard, db.execute(query, {"node": node, "ttl": ttl}))
    return Renewed(leaves, tuple(sorted(shards, key=lambda held: held.shard)))


@transaction(retry_safe=True)
async def leave(db: Connection, *, node: str) -> None:
    """The orderly end of a node: all it holds is free."""
    await db.execute("UPDATE cluster_nodes SET stopped_at = clock_timestamp() WHERE node_id = %(node)s", {"node": node})
    await _free(db, [node])


@transaction(readonly=True)
async def living(db: Connection) -> list[NodeRow]:
    """Nodes whose lease holds, by name."""
    query = f"""
    SELECT node_id, name, incarnation, url, version, started_at,
      extract(epoch FROM lease_expires_at - clock_timestamp())::float8 AS left, draining, capacity, load
    FROM cluster_nodes n WHERE {LIVES} ORDER BY name, node_id LIMIT 1000
    """
    return await many(NodeRow, db.execute(query))


@transaction(readonly=True)
async def replaced(db: Connection, *, node: str) -> bool:
    """A newer incarnation of this node's name has started."""
    query = """
    SELECT EXISTS (SELECT 1 FROM cluster_nodes mine JOIN cluster_nodes later USING (name)
      WHERE mine.node_id = %(node)s AND later.incarnation > mine.incarnation)
    """
    return await one(bool, db.execute(query, {"node": node}))


@transaction(single=True)
async def bury(db: Connection, *, node: str, early: float) -> list[Buried]:
    """End nodes whose lease is over, and those with less than `early` seconds left whose advisory lock is free."""
    query = """
    UPDATE cluster_nodes SET stopped_at = clock_timestamp()
    WHERE stopped_at IS NULL AND node_id <> %(node)s AND (
      lease_expires_at < clock_timestamp()
      OR CASE WHEN lease_expires_at < clock_timestamp() + make_interval(secs => %(early)s::float8)
           THEN pg_try_advisory_xact_lock(advisory_key) ELSE false END)
    RETURNING node_id, name, lease_expires_at > clock_timestamp() AS early
    """
    return await many(Buried, db.execute(query, {"node": node, "early": early}))


@transaction(retry_safe=True)
async def drain(db: Connection, *, name: str) -> bool:
    """Ask the living node of this name to leave. False if there is none."""
    query = f"UPDATE cluster_nodes n SET draining = true WHERE name = %(name)s::text AND {LIVES} RETURNING true"
    return bool(await many(bool, db.execute(query, {"name": name})))


# --- names ----------------------------------------------------------------------------------------


@transaction(single=True)
async def take_name(db: Connection, *, name: str, node: str, ttl: float) -> int | None:
    """Take or renew a named lease for `ttl` seconds: its fence, or None while another living node holds it.

    The fence grows whenever the lease was not ours just before.
    """
    query = f"""
    INSERT INTO named_leases AS l (name, node_id, fence, expires_at) VALUES (%(name)s::text, %(node)s::uuid, 1, {TTL})
    ON CONFLICT (name) DO UPDATE SET node_id = EXCLUDED.node_id, expires_at = EXCLUDED.expires_at,
      fence = l.fence + CASE WHEN l.node_id = EXCLUDED.node_id AND l.expires_at > clock_timestamp() THEN 0 ELSE 1 END
    WHERE l.node_id = EXCLUDED.node_id OR l.expires_at <= clock_timestamp()
      OR EXISTS (SELECT 1 FROM cluster_nodes n WHERE n.node_id = l.node_id AND n.stopped_at IS NOT NULL)
    RETURNING fence
    """
    return await maybe(int, db.execute(query, {"name": name, "node": node, "ttl": ttl}))


@transaction(retry_safe=True)
async def release_name(db: Connection, *, name: str, node: str) -> None:
    """Let go of a named lease. Nothing happens if it is not ours."""
    query = "UPDATE named_leases SET expires_at = clock_timestamp() WHERE name = %(name)s::text AND node_id = %(node)s"
    await db.execute(query, {"name": name, "node": node})


@transaction(readonly=True)
async def hold_name(db: Connection, *, name: str, node: str, fence: int) -> None:
    """Inside a transaction: the named lease is and stays ours until it ends. Raises `StaleOwner`."""
    query = """
    SELECT 1 FROM named_leases WHERE name = %(name)s::text AND node_id = %(node)s AND fence = %(fence)s
      AND expires_at > clock_timestamp() FOR SHARE
    """
    if await maybe(int, db.execute(query, {"name": name, "node": node, "fence": fence})) is None:
        raise StaleOwner(name)


@transaction(readonly=True)
async def names(db: Connection) -> list[NameRow]:
    query = """
    SELECT name, node_id, fence, extract(epoch FROM expires_at - clock_timestamp())::float8 AS left
    FROM named_leases ORDER BY name LIMIT 1000
    """
    return await many(NameRow, db.execute(query))


# --- what dead nodes left -------------------------------------------------------------------------


@transaction(readonly=True)
async def orphans(db: Connection, *, node: str, own: bool = False) -> list[Claimed]:
    """Runs whose own lease is over or whose node is dead. `own`: those of older incarnations of our name only."""
    query = f"""
    SELECT {CLAIMED_RUN} FROM runs WHERE state IN ('CLAIMED', 'RUNNING') AND lease_owner <> %(node)s
      AND (EXISTS (SELECT 1 FROM cluster_nodes n WHERE n.node_id = lease_owner AND NOT ({LIVES})
          AND (NOT %(own)s OR n.name = (SELECT name FROM cluster_nodes WHERE node_id = %(node)s)))
        OR (NOT %(own)s AND lease_expires_at < clock_timestamp()))
    ORDER BY run_id LIMIT %(limit)s
    """
    return await many(Claimed, db.execute(query, {"node": node, "own": own, "limit": PASS}))


async def _free(db: Connection, nodes: Sequence[str]) -> None:
    """What these nodes held is there for others at once; their runs are recovered one by one."""
    if not nodes:
        return
    await give_up(db, nodes)
    params = {"nodes": list(nodes)}
    await db.execute(
        "UPDATE named_leases SET expires_at = clock_timestamp() WHERE node_id = ANY(%(nodes)s::uuid[])", params
    )
    await db.execute(
        "UPDATE outbox SET lease_expires_at = now() WHERE state = 'SENDING' AND lease_owner = ANY(%(nodes)s::uuid[])",
        params,
    )
