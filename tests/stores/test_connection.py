"""One test per seam of psycopg that `Connection` touches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import trio
from psycopg.conninfo import make_conninfo
from psycopg.errors import QueryCanceled, UniqueViolation, _WaitTimeout
from trio.testing import wait_all_tasks_blocked

from goclaw.stores.connection import Connection, connect
from goclaw.stores.unit import one
from tests.fakes.wire import open_wire


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Connection]:
    db = await connect(dsn)
    yield db
    db.close_now()


async def cancelled_in(db: Connection, sql: str) -> None:
    """Run `sql` until it waits for the server, then cancel it."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.execute, sql)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught


async def test_a_session_starts_with_our_settings(dsn: str) -> None:
    db = await connect(dsn, statement_timeout_ms=1234)
    names = "statement_timeout", "idle_in_transaction_session_timeout", "TimeZone", "application_name"
    found = [await one(str, db.execute(f"SHOW {name}")) for name in names]
    assert found == ["1234ms", "10s", "UTC", "goclaw"]
    db.close_now()


async def test_a_statement_over_its_time_is_stopped_by_the_server(dsn: str) -> None:
    db = await connect(dsn, statement_timeout_ms=20)
    with pytest.raises(QueryCanceled):
        await db.execute("SELECT pg_sleep(30)")
    assert db.idle
    db.close_now()


async def test_connect_tries_every_host_and_reports_the_last_failure(dsn: str) -> None:
    sockets = psycopg.conninfo.conninfo_to_dict(dsn)["host"]
    db = await connect(make_conninfo(dsn, host=f"/nowhere,{sockets}", port="1,5432"))
    assert await one(int, db.execute("SELECT 1")) == 1
    db.close_now()
    with pytest.raises(psycopg.OperationalError, match="No such file"):
        await connect(make_conninfo(dsn, host="/nowhere"))


async def test_connect_gives_up_on_a_host_that_says_nothing(dsn: str) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with listeners[0]:
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            await connect(make_conninfo(dsn, host="127.0.0.1", port=port), within=0.05)


async def test_a_cancelled_statement_stops_on_the_server_and_the_connection_lives_on(db: Connection) -> None:
    await cancelled_in(db, "SELECT pg_sleep(30)")
    assert db.idle
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    assert await one(int, db.execute(running)) == 0


async def test_a_cancel_that_overtakes_its_statement_is_repeated(dsn: str, tmp_path: Path) -> None:
    async with open_wire(dsn, tmp_path) as wire:
        db = await connect(wire.dsn)
        wire.hold = b"pg_sleep"  # until the cancel has been delivered to a server that has nothing to cancel
        await cancelled_in(db, "SELECT pg_sleep(30)")
        assert db.idle
        db.close_now()


async def test_a_cancelled_statement_inside_a_transaction_undoes_it(db: Connection) -> None:
    await db.execute("CREATE TABLE t (n int)")
    with trio.CancelScope() as scope:
        async with db.transaction():
            await db.execute("INSERT INTO t VALUES (1)")
            scope.cancel()
            await db.execute("SELECT pg_sleep(30)")
    assert await one(int, db.execute("SELECT count(*) FROM t")) == 0


async def test_a_server_that_cannot_be_asked_to_cancel_costs_the_connection(dsn: str, tmp_path: Path) -> None:
    async with open_wire(dsn, tmp_path) as wire:
        db = await connect(wire.dsn)
        wire.refuse()  # the cancel would travel on a connection of its own
        await cancelled_in(db, "SELECT pg_sleep(30)")
        assert db.closed


async def test_tasks_that_share_a_connection_take_turns(db: Connection) -> None:
    answers = []

    async def ask(n: int) -> None:
        answers.append(await one(int, db.execute("SELECT %s::int", [n])))

    async with trio.open_nursery() as nursery:
        for n in range(20):
            nursery.start_soon(ask, n)
    assert sorted(answers) == list(range(20))


async def test_a_savepoint_undoes_only_its_block(db: Connection) -> None:
    await db.execute("CREATE TABLE t (n int PRIMARY KEY)")
    async with db.transaction():
        await db.execute("INSERT INTO t VALUES (1)")
        with suppress(UniqueViolation):
            async with db.transaction():
                await db.execute("INSERT INTO t VALUES (2)")
                await db.execute("INSERT INTO t VALUES (1)")
        await db.execute("INSERT INTO t VALUES (3)")
    assert await one(int, db.execute("SELECT sum(n) FROM t")) == 4


async def test_copy_and_pipelines_move_more_than_a_socket_buffer(db: Connection) -> None:
    await db.execute("CREATE TABLE t (n int, body text)")
    body = "x" * 10_000
    async with db.cursor() as cursor:
        async with cursor.copy("COPY t FROM STDIN") as copy:
            for n in range(300):
                await copy.write_row((n, body))
        await cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(n, body) for n in range(300)])
    assert await one(int, db.execute("SELECT sum(length(body)) FROM t")) == 6_000_000
    rows = await (await db.execute("SELECT body FROM t")).fetchall()
    assert len(rows) == 600


async def test_one_large_statement_and_answer_cross_each_other(db: Connection) -> None:
    text = "ü" * 4_000_000
    assert await one(str, db.execute("SELECT %s::text", [text])) == text


async def test_a_wait_with_a_timeout_ends_with_the_drivers_error(db: Connection) -> None:
    notes = [note async for note in db.notifies(timeout=0.01)]
    assert notes == []
    with pytest.raises(_WaitTimeout):
        await db.wait(psycopg.generators.notifies(db.pgconn), timeout=0.01)


async def test_a_terminated_backend_is_seen_before_anything_is_sent(db: Connection, postgres: str) -> None:
    assert not db.disturbed
    pid = await one(int, db.execute("SELECT pg_backend_pid()"))
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert db.disturbed
    with pytest.raises(psycopg.OperationalError):
        await db.execute("SELECT 1")
    assert db.closed
