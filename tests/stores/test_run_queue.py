"""Who waits, seen from a lane, on the real database. Contract: durability.md §5.1, §6.4, §11."""

from __future__ import annotations

from collections import Counter

import pytest

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.stores import agents, run_queue, run_recovery
from goclaw.stores.database import Database
from goclaw.stores.runs import StaleOwner
from goclaw.stores.unit import Connection, many, transaction
from tests.stores.test_runs import KEY, accept, claim, trail

OTHER = "0193a5b0-7000-7000-8000-000000000002"

CROWDS = """
INSERT INTO runs (run_id, tenant_id, session_key, shard, agent_key, user_id, kind, lane, priority, available_at)
SELECT gen_random_uuid(), %(tenant)s, %(user)s || n, 0, 'default', %(user)s, 'chat', %(lane)s, %(priority)s, now()
FROM generate_series(1, %(count)s) AS n
"""
HEADS = """
INSERT INTO session_heads (tenant_id, session_key, shard, lane, queued, head_at)
SELECT tenant_id, session_key, 0, lane, 1, now() - make_interval(secs => %(age)s) FROM runs WHERE user_id = %(user)s
"""


@transaction
async def crowd_of(
    db: Connection,
    user: str,
    count: int,
    *,
    tenant: str = MASTER_TENANT,
    lane: str = "main",
    priority: int = 5,
    age: float = 0.0,
) -> None:
    """`count` sessions of a user, each with a run that has waited for `age` seconds."""
    slug = f"t{tenant[-12:]}"
    await db.execute(
        "INSERT INTO tenants (id, name, slug) VALUES (%(id)s, %(slug)s, %(slug)s) ON CONFLICT DO NOTHING",
        {"id": tenant, "slug": slug},
    )
    params = {"tenant": tenant, "user": user, "count": count, "lane": lane, "priority": priority, "age": age}
    await db.execute(CROWDS, params)
    await db.execute(HEADS, params)


@transaction
async def crashed(db: Connection, key: str) -> None:
    await db.execute("UPDATE runs SET crash_count = 2 WHERE session_key = %s", [key])


async def test_a_look_tells_who_waits_and_for_how_long(database: Database) -> None:
    await database.run(crowd_of, "lan", 1, priority=3, age=40.0)

    (found,) = await database.run(run_queue.waiting)

    assert (found.tenant_id, found.session_key, found.lane) == (MASTER_TENANT, "lan1", "main")
    assert (found.user_id, found.priority, found.crash_count) == ("lan", 3, 0)
    assert 40.0 <= found.waited < 60.0


async def test_a_crowd_hides_no_lane_no_tenant_and_no_user(database: Database) -> None:
    await database.run(crowd_of, "crowd", 300, age=100.0)
    await database.run(crowd_of, "quiet", 1)
    await database.run(crowd_of, "far", 1, tenant=OTHER)
    await database.run(crowd_of, "child", 2, lane="team")

    found = await database.run(run_queue.waiting)

    counts = Counter(row.user_id for row in found)
    assert counts == {"crowd": 198, "quiet": 1, "far": 1, "child": 2}
    assert [row.lane for row in found] == ["main"] * 200 + ["team"] * 2


async def test_of_one_user_the_most_urgent_are_told_first(database: Database) -> None:
    await database.run(crowd_of, "lan", 3, priority=5)
    await database.run(crowd_of, "low", 1, priority=0, age=250.0)
    await database.run(agents.seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="G", owner="system")

    found = await database.run(run_queue.waiting, limit=2)

    assert [row.user_id for row in found] == ["low", "lan"], "250 s of waiting are worth eight steps"


async def test_a_session_that_is_full_or_not_due_is_not_told(database: Database) -> None:
    await accept(database, "runs")
    await claim(database)
    await accept(database, "waits behind it")
    await database.run(crowd_of, "later", 1, age=-60.0)

    assert await database.run(run_queue.waiting) == []


async def test_suspects_are_known_by_their_next_run(database: Database) -> None:
    await accept(database, key="agent:default:ws:direct:good")
    await accept(database, key="agent:default:ws:direct:bad")
    await accept(database, key="agent:default:ws:direct:team", kind="delegation", lane="team")
    for key in ("agent:default:ws:direct:bad", "agent:default:ws:direct:team"):
        await database.run(crashed, key)

    found = await database.run(run_queue.suspects, lane="main")

    assert [row.session_key for row in found] == ["agent:default:ws:direct:bad"]


async def test_what_waits_is_counted_up_to_the_limits(database: Database) -> None:
    await database.run(crowd_of, "lan", 30)
    await database.run(crowd_of, "anh", 3)
    await database.run(crowd_of, "far", 5, tenant=OTHER)
    ask = {"tenant": MASTER_TENANT, "most": 1000, "most_of_user": 100}

    assert await database.run(run_queue.crowd, user="anh", **ask) == run_queue.Crowd(33, 3)
    assert await database.run(run_queue.crowd, user="lan", **{**ask, "most": 32, "most_of_user": 10}) == (
        run_queue.Crowd(32, 10)
    )


async def test_the_census_counts_states_by_lane(database: Database) -> None:
    await accept(database)
    await claim(database)
    await database.run(crowd_of, "clock", 4, lane="cron")

    found = await database.run(run_queue.census)

    assert {(row.lane, row.state): row.runs for row in found} == {("main", "RUNNING"): 1, ("cron", "QUEUED"): 4}


async def test_suspicion_is_written_into_the_trail_by_the_owner_only(database: Database) -> None:
    await accept(database)
    (run,) = await claim(database)

    await database.run(run_queue.suspect, run)

    assert await database.run(trail) == [
        (1, "task.enqueued"),
        (2, "task.claimed"),
        (3, "task.running"),
        (4, "task.suspect"),
    ]
    await database.run(run_recovery.put_back, run, reason="RELEASE_SHUTDOWN")
    with pytest.raises(StaleOwner):
        await database.run(run_queue.suspect, run)


@transaction(readonly=True)
async def plan(db: Connection, statement: str, params: dict[str, object]) -> str:
    return "\n".join(await many(str, db.execute(f"EXPLAIN {statement}", params)))


async def test_a_look_finds_the_runs_of_a_session_by_index(database: Database) -> None:
    """It happens ten times a second."""
    await accept(database, key=KEY)
    await claim(database)

    shown = await database.run(plan, run_queue.WAITING, {"limit": 200, "shards": None})

    assert "Seq Scan on runs" not in shown
