"""What was used: from snapshots, from calls or from both, it is the same figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.stores import agents, run_ends, usage
from goclaw.stores.database import Database
from goclaw.stores.run_kept import Kept
from goclaw.stores.usage import KNOWN, By, Figures, Wanted, on_the_hour
from tests.stores.test_model_calls import call
from tests.stores.test_runs import accept, claim, result

HOUR = timedelta(hours=1)
NOW = on_the_hour(datetime.now(UTC)) + timedelta(minutes=40)
THIS = on_the_hour(NOW)

SHIFT = """
SET session_replication_role = replica;
UPDATE run_events SET at = at + started.by FROM (SELECT %(to)s::timestamptz - started_at AS by FROM runs
  WHERE run_id = %(run)s) AS started WHERE run_id = %(run)s;
UPDATE runs SET started_at = %(to)s, finished_at = %(to)s::timestamptz + interval '2 s' WHERE run_id = %(run)s;
SET session_replication_role = origin;
"""


class Past:
    """Turns that happened at some time, through a connection that may change history."""

    def __init__(self, database: Database, dsn: str) -> None:
        self.database = database
        self.db = psycopg.connect(dsn, autocommit=True)

    async def turn(self, at: datetime, *, session: int = 1, fails: bool = False, **more: Any) -> None:
        """A turn of one call with 10 tokens in and 3 out, begun at `at` and over two seconds later."""
        key = f"agent:default:{more.pop('channel', 'ws')}:direct:{session}"
        kind, user = more.pop("kind", "chat"), more.pop("user", "lan")
        run_id = await accept(self.database, key=key, user=user, kind=kind)
        (run,) = await claim(self.database, key)
        kept = Kept(calls=(call(at=at, **more),))
        if fails:
            failed: dict[str, Any] = {"reason": "FAILED_PROVIDER", "error": "no", "messages": []}
            await self.database.run(run_ends.fail, run, result=result(run), kept=kept, **failed)
        else:
            await self.database.run(run_ends.succeed, run, result=result(run), messages=[], kept=kept)
        for statement in SHIFT.split(";\n"):
            if statement.strip():
                self.db.execute(statement, {"to": at, "run": run_id})

    def snapshots(self) -> list[tuple[Any, ...]]:
        query = """
        SELECT bucket_hour, provider, model, channel, input_tokens, request_count, error_count, unique_users,
          avg_duration_ms, llm_call_count FROM usage_snapshots ORDER BY 1, 2, 3, 4
        """
        return self.db.execute(query).fetchall()


@pytest.fixture
def past(database: Database, dsn: str) -> Any:
    past = Past(database, dsn)
    yield past
    past.db.close()


async def report(database: Database, by: By, hours: float, until: datetime = NOW, **more: Any) -> list[Figures]:
    since = until - timedelta(hours=hours)
    now = more.pop("now", NOW)
    wanted = Wanted(tenant=MASTER_TENANT, since=since, until=until, **more)
    return await database.run(usage.report, wanted, by, now=now)


async def compute_all(database: Database, days: int = 90) -> list[datetime]:
    hours = await database.run(usage.missing, since=THIS - timedelta(days=days), until=THIS)
    await database.run(usage.compute, hours)
    return hours


async def test_an_hour_is_added_up_once_however_often_that_is_done(database: Database, past: Past) -> None:
    hour = THIS - 5 * HOUR
    await past.turn(hour)
    await past.turn(hour + timedelta(minutes=59), fails=True, user="ann", session=2)
    await past.turn(hour + HOUR)
    for _ in range(2):
        await database.run(usage.compute, [hour])

    assert past.snapshots() == [
        (hour, "", "", "ws", 0, 2, 1, 2, 2000, 0),
        (hour, "openai", "m-1", "ws", 20, 0, 0, 2, 0, 2),
    ]
    await past.turn(hour + timedelta(minutes=30))
    await database.run(usage.compute, [hour])
    assert [row[4:6] for row in past.snapshots()] == [(0, 3), (30, 0)], "what came late is put right"


async def test_hours_that_nobody_saw_are_found_once(database: Database, past: Past) -> None:
    at = [THIS - hours * HOUR for hours in (3, 30, 100)]
    for hour in at:
        await past.turn(hour + timedelta(minutes=1))
    await past.turn(THIS - 9 * HOUR, kind="replay", input_tokens=0)
    await past.turn(THIS + timedelta(minutes=1))

    found = await compute_all(database)
    assert found == [at[0], THIS - 9 * HOUR, *at[1:]], "newest first, and the hour that is not over is not among them"
    assert await compute_all(database) == []
    replayed = [row for row in past.snapshots() if row[0] == THIS - 9 * HOUR]
    assert [row[5] for row in replayed] == [0], "a replay is nobody's request, its calls are calls"


async def test_the_figures_are_the_same_with_and_without_snapshots(database: Database, past: Past) -> None:
    moments = (0.2, 0.9, 1.5, 2.1, 3.3, 4.0, 4.5, 20.25, 40.75, 55.5, 70.0)
    for place, ago in enumerate(moments):
        await past.turn(
            NOW - ago * HOUR,
            session=place,
            channel=("ws", "http")[place % 2],
            provider=("openai", "groq", "openai")[place % 3],
            fails=place % 4 == 0,
            user=("lan", "ann", "bob")[place % 3],
            total_cost=Decimal("0.00000150") * place if place % 2 else None,
            tool_calls=place,
        )

    windows = [(24.0, NOW), (48.0, NOW), (71.0, NOW), (1.0, NOW), (13.37, NOW - 3.21 * HOUR), (0.5, NOW - 40.5 * HOUR)]
    reports: list[tuple[By, float, datetime, dict[str, Any]]] = [
        (by, hours, until, more)
        for by in ("hour", "day", "week", "provider", "model", "channel", "agent", "all")
        for hours, until in windows
        for more in ({}, {"provider": "openai"}, {"channel": "http", "agent": "default"}, {"user": "ann"})
    ]
    unsettled = NOW - timedelta(days=100)  # nothing is taken from snapshots
    before = [await report(database, by, hours, until, now=unsettled, **more) for by, hours, until, more in reports]
    await compute_all(database)
    after = [await report(database, by, hours, until, **more) for by, hours, until, more in reports]

    assert after == before
    (whole,) = await report(database, "all", 71)
    assert (whole.llm_call_count, whole.request_count, whole.error_count, whole.unique_users) == (11, 11, 3, 3)
    assert (whole.input_tokens, whole.tool_call_count, whole.unpriced_calls) == (110, 55, 6)
    assert whole.total_cost == Decimal("0.00000150") * 25
    assert whole.avg_duration_ms == 2000


async def test_settled_hours_come_from_their_snapshots_and_the_last_ones_do_not(database: Database, past: Past) -> None:
    """Retention has taken the calls, or they came late: each hour has one source."""
    for ago in (1, 2, 3, 4):
        await past.turn(THIS - ago * HOUR)
    await compute_all(database)
    past.db.execute("UPDATE usage_snapshots SET input_tokens = input_tokens + 1000 WHERE provider <> ''")

    found = {row.key: row.input_tokens for row in await report(database, "hour", 10)}
    assert [found[f"{THIS - ago * HOUR:%Y-%m-%dT%H:%M:%SZ}"] for ago in (1, 2, 3, 4)] == [10, 10, 1010, 1010]
    past.db.execute("DELETE FROM model_calls")
    (whole,) = await report(database, "all", 10)
    assert whole.input_tokens == 2020


async def test_users_of_a_long_time_are_the_most_of_an_hour(database: Database, past: Past) -> None:
    await past.turn(NOW - 50 * HOUR, user="ann")
    await past.turn(NOW - 60 * HOUR, user="bob", session=2)
    await compute_all(database)
    beyond = (KNOWN + HOUR) / HOUR
    assert [row.unique_users for row in await report(database, "all", beyond - 2)] == [2]
    assert [row.unique_users for row in await report(database, "all", beyond)] == [1]


async def test_the_most_expensive_comes_first_and_other_tenants_do_not(database: Database, past: Past) -> None:
    await past.turn(NOW - HOUR, provider="cheap", total_cost=Decimal("0.1"))
    await past.turn(NOW - HOUR, provider="dear", total_cost=Decimal(3))
    await past.turn(NOW - HOUR, provider="many", input_tokens=10**12)
    past.db.execute("INSERT INTO tenants (id, slug, name) VALUES (%s, 'other', 'Other')", [(other := new_id())])
    past.db.execute("UPDATE model_calls SET tenant_id = %s WHERE provider = 'cheap'", [other])

    assert [row.key for row in await report(database, "provider", 24)] == ["dear", "many", ""]
    await database.run(usage.compute, [THIS - HOUR])
    theirs = Wanted(tenant=other, since=NOW - 10 * HOUR, until=NOW)
    assert [row.key for row in await database.run(usage.report, theirs, "provider", now=NOW + 9 * HOUR)] == ["cheap"]


async def test_old_hours_become_days_and_their_sums_stay(database: Database, past: Past) -> None:
    day = (NOW - timedelta(days=9)).replace(hour=0, minute=0, second=0, microsecond=0)
    for hour in (0, 3, 23):
        await past.turn(day + hour * HOUR, user=f"user{hour}", fails=hour == 3)
    await past.turn(day + 30 * HOUR)
    await past.turn(day + timedelta(days=8, hours=1))
    await compute_all(database)
    before = await report(database, "day", 24 * 10)

    gone = [await database.run(usage.fold, days=2) for _ in range(3)]
    assert gone == [4, 2, 0]
    old = [row for row in past.snapshots() if row[0] < day + timedelta(days=1)]
    assert old == [(day, "", "", "ws", 0, 3, 1, 1, 2000, 0), (day, "openai", "m-1", "ws", 30, 0, 0, 1, 0, 3)]
    assert await report(database, "day", 24 * 10) == before
    assert await database.run(usage.missing, since=THIS - timedelta(days=2), until=THIS) == []


async def test_the_agent_of_a_row_is_named_by_its_key(database: Database, past: Past) -> None:
    await past.turn(NOW - HOUR)
    agent = await database.run(agents.default, tenant=MASTER_TENANT)
    assert agent is not None
    for name in ("default", agent.id):
        assert [row.key for row in await report(database, "agent", 24, agent=name)] == ["default"]
    assert await report(database, "agent", 24, agent="nobody") == []
