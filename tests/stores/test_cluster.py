"""Nodes and names on the real database: who lives, who takes over, and that two never hold one thing."""

from __future__ import annotations

import psycopg
import pytest
import trio

from goclaw.domain.cluster import advisory_key
from goclaw.domain.ids import new_id
from goclaw.stores import cluster, shards
from goclaw.stores.cluster import Joined
from goclaw.stores.database import Database
from goclaw.stores.runs import StaleOwner
from goclaw.stores.unit import Connection, many, transaction
from tests.stores.test_runs import accept, claim


async def join(database: Database, name: str, node: str = "", *, ttl: float = 15.0, alone: bool = False) -> str:
    """A node that has just started; its id."""
    return (await joined(database, name, node, ttl=ttl, alone=alone))[0]


async def joined(
    database: Database, name: str, node: str = "", *, ttl: float = 15.0, alone: bool = False
) -> tuple[str, Joined]:
    node = node or new_id()
    url = "http://127.0.0.1:1"
    born = await database.run(
        cluster.join, node=node, name=name, url=url, version="1", pid=1, capacity=10, ttl=ttl, alone=alone
    )
    return node, born


@transaction(single=True)
async def age(db: Connection, node: str, seconds: float) -> None:
    """So much of its lease is over."""
    query = """
    UPDATE cluster_nodes SET lease_expires_at = lease_expires_at - make_interval(secs => %s) WHERE node_id = %s
    """
    await db.execute(query, [seconds, node])


@transaction(readonly=True)
async def owners(db: Connection) -> list[str | None]:
    found = await many(str, db.execute("SELECT DISTINCT coalesce(node_id::text, '') FROM shard_leases ORDER BY 1"))
    return [owner or None for owner in found]


async def test_a_node_that_starts_again_counts_its_lives_and_frees_what_it_held(database: Database) -> None:
    first, born = await joined(database, "a")
    other = await join(database, "b")
    await database.run(shards.take, node=first, shards=range(256), ttl=15)
    await database.run(cluster.take_name, name="reaper", node=first, ttl=60)

    again, reborn = await joined(database, "a")

    assert (born.incarnation, reborn.incarnation) == (1, 2)
    assert (born.past, reborn.past) == ((), (first,))
    assert await database.run(owners) == [None]
    assert await database.run(cluster.take_name, name="reaper", node=other, ttl=60) == 2
    assert [node.node_id for node in await database.run(cluster.living)] == [again, other]
    assert await database.run(cluster.renew, node=first, ttl=15) is None, "its twin is fenced off"
    assert await database.run(cluster.replaced, node=first)
    assert not await database.run(cluster.replaced, node=again)


async def test_alone_on_a_database_every_other_node_is_the_past(database: Database) -> None:
    old = await join(database, "elsewhere")
    await database.run(cluster.take_name, name="cron", node=old, ttl=60)

    node, born = await joined(database, "here", alone=True)

    assert born.past == (old,)
    assert await database.run(cluster.take_name, name="cron", node=node, ttl=60) == 2


async def test_a_node_may_join_again_under_its_own_id(database: Database) -> None:
    node, _ = await joined(database, "a")
    await database.run(age, node, 16.0)
    other = await join(database, "b")
    assert [dead.node_id for dead in await database.run(cluster.bury, node=other, early=9.0)] == [node]

    _, again = await joined(database, "a", node)

    assert again.incarnation == 1
    renewed = await database.run(cluster.renew, node=node, ttl=15)
    assert renewed is not None
    assert renewed.shards == ()


async def test_one_renewal_covers_a_node_and_all_its_shards(database: Database) -> None:
    node = await join(database, "a", ttl=1.0)
    taken = await database.run(shards.take, node=node, shards=[3, 9], ttl=1.0)

    renewed = await database.run(cluster.renew, node=node, ttl=60.0, load={"runs": 2})

    assert renewed is not None
    assert renewed.shards == tuple(taken)
    (row,) = await database.run(cluster.living)
    assert 55 < row.left <= 60
    assert row.load == {"runs": 2}
    assert not renewed.draining


async def test_a_node_asked_to_leave_hears_it_with_its_renewal(database: Database) -> None:
    node = await join(database, "a")

    assert await database.run(cluster.drain, name="a")
    assert not await database.run(cluster.drain, name="nobody")

    renewed = await database.run(cluster.renew, node=node, ttl=15)
    assert renewed is not None
    assert renewed.draining


async def test_silence_kills_early_only_without_the_lock(database: Database, dsn: str) -> None:
    """Lease age over 6 s and the session gone: dead. Session there: only the end of the lease counts."""
    judge = await join(database, "judge")
    locked, gone, fresh, over = [await join(database, name) for name in ("locked", "gone", "fresh", "over")]
    for node, seconds in ((locked, 7.0), (gone, 7.0), (fresh, 5.0), (over, 16.0)):
        await database.run(age, node, seconds)

    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("SELECT pg_advisory_lock(%s), pg_advisory_lock(%s)", [advisory_key(locked), advisory_key(over)])
        buried = await database.run(cluster.bury, node=judge, early=9.0)

    assert {dead.node_id: dead.early for dead in buried} == {gone: True, over: False}
    assert {row.name for row in await database.run(cluster.living)} == {"judge", "locked", "fresh"}
    with trio.fail_after(10):  # the server notices soon that the session ended
        while not (late := await database.run(cluster.bury, node=judge, early=9.0)):
            pass
    assert [dead.node_id for dead in late] == [locked]


async def test_a_named_lease_has_one_holder_and_a_growing_fence(database: Database) -> None:
    one, two = await join(database, "a"), await join(database, "b")

    async def take(node: str, ttl: float = 60.0) -> int | None:
        return await database.run(cluster.take_name, name="cron", node=node, ttl=ttl)

    assert [await take(one), await take(one), await take(two)] == [1, 1, None]
    await database.run(cluster.release_name, name="cron", node=two)
    assert await take(two) is None, "only the holder lets go"
    await database.run(cluster.release_name, name="cron", node=one)
    assert await take(two, ttl=0.0) == 2
    assert await take(one) == 3, "a lease that is over is anybody's"
    assert await take(two) is None
    (row,) = await database.run(cluster.names)
    assert (row.name, row.node_id, row.fence) == ("cron", one, 3)


async def test_a_write_under_a_name_needs_its_last_fence(database: Database) -> None:
    one = await join(database, "a")
    fence = await database.run(cluster.take_name, name="cron", node=one, ttl=60)
    assert fence is not None

    await database.run(cluster.hold_name, name="cron", node=one, fence=fence)
    with pytest.raises(StaleOwner):
        await database.run(cluster.hold_name, name="cron", node=one, fence=fence - 1)
    await database.run(cluster.release_name, name="cron", node=one)
    with pytest.raises(StaleOwner):
        await database.run(cluster.hold_name, name="cron", node=one, fence=fence)


async def test_the_dead_leave_orphans_and_the_living_do_not(database: Database) -> None:
    mine, dead, alive = [await join(database, name) for name in ("a", "b", "c")]
    keys = [f"agent:default:ws:direct:{n}" for n in range(3)]
    for key in keys:
        await accept(database, key=key)
    for node, key in zip((mine, dead, alive), keys, strict=True):
        await claim(database, key, node=node)
    await database.run(age, dead, 16.0)

    orphans = await database.run(cluster.orphans, node=mine)

    assert [run.session_key for run in orphans] == [keys[1]]
    assert await database.run(cluster.orphans, node=mine, own=True) == []
    again = await join(database, "b")
    assert [run.session_key for run in await database.run(cluster.orphans, node=again, own=True)] == [keys[1]]
