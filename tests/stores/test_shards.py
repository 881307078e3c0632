"""Shards on the real database, and the race of durability.md §12.2 with two connections."""

from __future__ import annotations

import psycopg
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.cluster import shard_of
from goclaw.stores import cluster, runs, shards
from goclaw.stores.database import Database
from goclaw.stores.runs import StaleOwner
from goclaw.stores.shards import Shard
from tests.stores.test_cluster import age, join
from tests.stores.test_runs import KEY, accept, head

MINE = shard_of(MASTER_TENANT, KEY)


async def take(database: Database, node: str, *wanted: int) -> dict[int, int]:
    taken = await database.run(shards.take, node=node, shards=wanted, ttl=15.0)
    return {shard.shard: shard.fence for shard in taken}


async def test_the_shard_of_a_session_is_the_same_in_python_and_in_the_database(database: Database, dsn: str) -> None:
    keys = [KEY, "agent:default:ws:direct:ü", "agent:a:telegram:group:-1"]
    with psycopg.connect(dsn) as db:
        for key in keys:
            assert db.execute("SELECT shard_of(%s, %s)", [MASTER_TENANT, key]).fetchone() == (
                shard_of(MASTER_TENANT, key),
            )


async def test_only_what_nobody_alive_holds_can_be_taken(database: Database) -> None:
    one, two = await join(database, "a"), await join(database, "b")

    first = await take(database, one, 1, 2)

    assert first == {1: 1, 2: 1}
    assert await take(database, two, 1, 2, 3) == {3: 1}
    assert await take(database, one, 1) == {}, "what is ours is not taken again"
    await database.run(shards.give, node=two, shards=[1])
    assert await take(database, two, 1) == {}, "and not given away by others"
    await database.run(shards.give, node=one, shards=[1])
    assert await take(database, two, 1) == {1: 3}
    await database.run(age, one, 16.0)
    assert await take(database, two, 1, 2) == {2: 2}


async def test_a_node_whose_lease_is_over_takes_nothing(database: Database) -> None:
    node = await join(database, "a")
    await database.run(age, node, 16.0)

    assert await take(database, node, 5) == {}


async def test_a_run_is_claimed_only_under_the_last_fence(database: Database) -> None:
    node = await join(database, "a")
    held = await take(database, node, MINE)
    await accept(database)
    wanted = [(MASTER_TENANT, KEY)]

    for fences in ({}, {MINE: held[MINE] + 1}):
        with pytest.raises(StaleOwner):
            await database.run(shards.claim, node=node, lane="main", sessions=wanted, limit=8, fences=fences)
        assert await database.run(head) == runs.Depth(1, 0)

    (claimed,) = await database.run(shards.claim, node=node, lane="main", sessions=wanted, limit=8, fences=held)
    assert claimed.lease_owner == node


async def test_two_owners_never_both_commit(database: Database, dsn: str) -> None:
    """A takeover waits for a fenced write that is open; renewal does not; afterwards the old fence writes nothing."""
    old, new = await join(database, "a"), await join(database, "b")
    held = await take(database, old, 7)
    await database.run(age, old, 16.0)
    taken: list[Shard] = []
    order: list[str] = []

    async def take_over() -> None:
        taken.extend(await database.run(shards.take, node=new, shards=[7], ttl=15.0))
        order.append("taken")

    async def too_late() -> None:
        with pytest.raises(StaleOwner):
            await database.run(shards.hold, node=old, held=held)
        order.append("refused")

    with psycopg.connect(dsn) as write:
        write.execute("SELECT 1 FROM shard_leases WHERE shard = 7 AND node_id = %s FOR KEY SHARE", [old])
        with trio.fail_after(5):
            await database.run(cluster.renew, node=old, ttl=15.0)  # goes between
        await database.run(age, old, 16.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_over)
            await waits(dsn, "FOR UPDATE")
            assert taken == []
            write.execute("UPDATE shard_leases SET moving_to = NULL WHERE shard = 7")
            order.append("written")
            write.commit()
            await wait_all_tasks_blocked()
            nursery.start_soon(too_late)

    assert order[0] == "written"
    assert taken == [Shard(shard=7, fence=held[7] + 1)]


async def test_a_check_that_waits_for_a_takeover_finds_itself_replaced(database: Database, dsn: str) -> None:
    old, new = await join(database, "a"), await join(database, "b")
    held = await take(database, old, 7)

    async def check() -> None:
        with pytest.raises(StaleOwner):
            await database.run(shards.hold, node=old, held=held)

    with psycopg.connect(dsn) as takeover, trio.fail_after(10):
        takeover.execute("SELECT 1 FROM shard_leases WHERE shard = 7 FOR UPDATE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(check)
            await waits(dsn, "FOR KEY SHARE")
            takeover.execute("UPDATE shard_leases SET node_id = %s, fence = fence + 1 WHERE shard = 7", [new])
            takeover.commit()


async def test_an_operators_wish_is_kept_with_the_shard(database: Database) -> None:
    one, two = await join(database, "a"), await join(database, "b")
    await take(database, one, 7)

    assert await database.run(shards.send, shard=7, to="b")
    assert not await database.run(shards.send, shard=7, to="c")

    row = (await database.run(shards.listed))[7]
    assert (row.node_id, row.moving_to, row.free) == (one, two, False)


async def waits(dsn: str, query: str) -> None:
    """Until a statement like `query` waits for a lock."""
    looking = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    with psycopg.connect(dsn, autocommit=True) as db, trio.fail_after(10):
        while db.execute(looking, [f"%{query}%"]).fetchone() == (0,):  # noqa: ASYNC110 - the server tells nobody
            await trio.sleep(0.01)
