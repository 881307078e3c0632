"""What every caller of the store may rely on (supervision.md §12), whatever carries the statements.

Real server, real wire; the wire can be cut where it hurts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import psycopg
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from goclaw.domain.errors import StartupFatal, StoreError
from goclaw.stores.database import Database, open_database
from goclaw.stores.unit import Connection, many, one, transaction
from tests.fakes.wire import open_wire


@transaction
async def create(db: Connection) -> None:
    await db.execute("CREATE TABLE t (n int PRIMARY KEY)")


@transaction
async def add(db: Connection, n: int) -> int:
    return await one(int, db.execute("INSERT INTO t VALUES (%s) RETURNING n", [n]))


@transaction(readonly=True)
async def numbers(db: Connection) -> list[int]:
    return await many(int, db.execute("SELECT n FROM t ORDER BY n LIMIT 1000"))


@transaction(readonly=True)
async def backend(db: Connection) -> int:
    return await one(int, db.execute("SELECT pg_backend_pid()"))


@pytest.fixture
async def table(database: Database) -> Database:
    await database.run(create)
    return database


def terminate(dsn: str, pid: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


async def test_a_unit_of_work_is_stored_whole(table: Database) -> None:
    @transaction
    async def both(db: Connection) -> list[int]:
        return [await add(db, 1), await add(db, 2)]  # called directly, it joins this transaction

    assert await table.run(both) == [1, 2]
    assert await table.run(numbers) == [1, 2]


async def test_an_error_reaches_the_caller_and_undoes_the_unit(table: Database) -> None:
    @transaction
    async def half(db: Connection) -> None:
        await add(db, 1)
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        await table.run(half)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await table.run(transaction(lambda db: twice(db, 1)))
    assert await table.run(numbers) == []
    assert (table.size, table.in_use) == (1, 0)


async def twice(db: Connection, n: int) -> None:
    await add(db, n)
    await add(db, n)


async def test_an_error_caught_around_a_savepoint_costs_only_the_savepoint(table: Database) -> None:
    @transaction
    async def careful(db: Connection) -> None:
        await add(db, 1)
        try:
            async with db.transaction():
                await add(db, 2)
                await add(db, 1)
        except psycopg.errors.UniqueViolation:
            await add(db, 3)

    await table.run(careful)
    assert await table.run(numbers) == [1, 3]


async def test_an_error_swallowed_without_a_savepoint_is_not_taken_for_success(table: Database) -> None:
    @transaction
    async def careless(db: Connection) -> None:
        try:
            await twice(db, 1)
        except psycopg.errors.UniqueViolation:
            return

    with pytest.raises(RuntimeError, match="swallowed"):
        await table.run(careless)
    assert await table.run(numbers) == []
    assert table.in_use == 0


async def test_a_cancelled_statement_stops_and_its_unit_is_undone(table: Database) -> None:
    before = await table.run(backend)

    @transaction
    async def slow(db: Connection) -> None:
        await add(db, 1)
        await db.execute("SELECT pg_sleep(60)")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(table.run, slow)
        await wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert await table.run(numbers) == []
    assert await table.run(backend) == before  # the connection was worth keeping
    assert table.in_use == 0


async def test_a_unit_cancelled_between_two_statements_is_undone(table: Database) -> None:
    @transaction
    async def cancelled(db: Connection) -> None:
        await add(db, 1)
        scope.cancel()
        await add(db, 2)

    with trio.CancelScope() as scope:
        await table.run(cancelled)
    assert scope.cancelled_caught
    assert await table.run(numbers) == []
    assert table.in_use == 0


async def test_a_unit_cancelled_after_its_last_statement_is_stored(table: Database) -> None:
    @transaction
    async def finished(db: Connection) -> int:
        n = await add(db, 1)
        scope.cancel()
        return n

    with trio.CancelScope() as scope:
        assert await table.run(finished) == 1
    assert await table.run(numbers) == [1]


async def test_fifty_callers_share_eight_connections(dsn: str) -> None:
    most = 0
    async with open_database(dsn, pool_min=1, pool_max=8) as database:
        await database.run(create)

        async def caller(n: int) -> None:
            nonlocal most
            for step in range(10):
                assert await database.run(add, n * 10 + step) == n * 10 + step
                most = max(most, database.in_use)

        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(caller, n)
        assert await database.run(numbers) == list(range(500))
        assert 1 < most <= 8
        assert 1 < database.size <= 8
        assert (database.in_use, database.waiting) == (0, 0)


async def test_a_connection_lost_while_idle_is_not_noticed_by_the_next_caller(table: Database, postgres: str) -> None:
    terminate(postgres, await table.run(backend))
    assert await table.run(add, 1) == 1


async def test_a_connection_lost_in_the_middle_is_unavailable_and_the_next_call_works(
    table: Database, postgres: str
) -> None:
    @transaction
    async def unlucky(db: Connection) -> None:
        await add(db, 1)
        terminate(postgres, await backend(db))
        await add(db, 2)

    with pytest.raises(StoreError) as lost:
        await table.run(unlucky)
    assert lost.value.kind == "unavailable"
    assert await table.run(numbers) == []


async def test_a_retry_safe_unit_survives_a_lost_connection(table: Database, postgres: str) -> None:
    tries = 0

    @transaction(retry_safe=True)
    async def unlucky_once(db: Connection) -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            terminate(postgres, await backend(db))
        return await add(db, tries)

    assert await table.run(unlucky_once) == 2
    assert await table.run(numbers) == [2]


@pytest.mark.parametrize("lucky", [2, 3, 4])
async def test_a_retry_safe_unit_is_tried_three_times_after_conflicts(table: Database, dsn: str, lucky: int) -> None:
    tries = 0

    async def conflicting(db: Connection) -> int:
        nonlocal tries
        tries += 1
        await db.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        await numbers(db)
        if tries < lucky:
            with psycopg.connect(dsn) as rival:
                rival.execute("UPDATE t SET n = n + 1")
        return await one(int, db.execute("UPDATE t SET n = n + 100 RETURNING n"))

    await table.run(add, 0)
    if lucky <= 3:
        assert await table.run(transaction(retry_safe=True)(conflicting)) == 100 + lucky - 1
        assert tries == lucky
    else:
        with pytest.raises(StoreError) as conflict:
            await table.run(transaction(retry_safe=True)(conflicting))
        assert (conflict.value.kind, tries) == ("conflict", 3)
    tries = 0
    with pytest.raises(StoreError) as conflict:
        await table.run(transaction(conflicting))  # made no promise
    assert (conflict.value.kind, tries) == ("conflict", 1)


@pytest.mark.parametrize(("broken", "stored"), [("before", []), ("after", [1])])
async def test_a_commit_without_an_answer_is_reported_and_never_repeated(
    dsn: str, tmp_path: Path, broken: Literal["before", "after"], stored: list[int]
) -> None:
    @transaction(retry_safe=True)
    async def add_again(db: Connection) -> None:
        await db.execute("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING")

    async with open_wire(dsn, tmp_path) as wire, open_database(wire.dsn, pool_min=1) as database:
        await database.run(create)
        wire.break_commit = broken
        with pytest.raises(StoreError) as unknown:
            await database.run(add_again)
        assert (unknown.value.kind, wire.broken) == ("commit_unknown", 1)
        wire.break_commit = ""
        assert await database.run(numbers) == stored


async def test_a_database_that_is_away_is_unavailable_until_it_is_back(dsn: str, tmp_path: Path) -> None:
    async with (
        open_wire(dsn, tmp_path) as wire,
        open_database(wire.dsn, pool_min=1, acquire_within=0.2) as database,
    ):
        await database.run(create)
        wire.cut()
        await wait_all_tasks_blocked()
        with pytest.raises(StoreError) as away:
            await database.run(add, 1)
        assert away.value.kind == "unavailable"
        await wire.mend()
        with trio.fail_after(5):
            while True:
                try:
                    await database.run(add, 1)
                    break
                except StoreError as still:
                    assert still.kind == "unavailable"  # noqa: PT017
        assert await database.run(numbers) == [1]


async def test_a_statement_over_its_time_is_unavailable_and_not_tried_again(dsn: str) -> None:
    tries = 0

    @transaction(retry_safe=True)
    async def slow(db: Connection) -> None:
        nonlocal tries
        tries += 1
        await db.execute("SELECT pg_sleep(60)")

    async with open_database(dsn, pool_min=1, statement_timeout_ms=200) as database:
        with pytest.raises(StoreError) as late:
            await database.run(slow)
        assert (late.value.kind, tries, database.in_use) == ("unavailable", 1, 0)


@pytest.mark.parametrize(
    ("dsn", "sentence"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/x", "127.0.0.1:1"),
        ("host=/nowhere password=hunter2", "/nowhere"),
        ("hunter2@nonsense", "cannot be read"),
    ],
)
async def test_a_database_that_cannot_be_opened_ends_the_start_without_telling_the_password(
    dsn: str, sentence: str
) -> None:
    with pytest.raises(StartupFatal) as fatal:
        async with open_database(dsn):
            pass
    assert (fatal.value.reason, fatal.value.exit_code) == ("E_STORE_OPEN", 72)
    assert sentence in fatal.value.detail
    assert "hunter2" not in f"{fatal.value.detail} {fatal.value.hint}"
