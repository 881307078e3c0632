from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from goclaw.domain.errors import StoreError
from goclaw.stores.pool import IDLE_LIFE, LIFE, Pool
from tests.fakes.wire import open_wire


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = Pool(dsn, min_size=1, max_size=2)
    await pool.open()
    yield pool
    pool.close_now()


async def test_connections_are_opened_when_wanted_and_never_more_than_allowed(pool: Pool) -> None:
    assert (pool.size, pool.in_use, pool.waiting) == (1, 0, 0)
    first, second = await pool.take(), await pool.take()
    assert (pool.size, pool.in_use) == (2, 2)
    pool.give(first)
    pool.give(second)
    assert (pool.size, pool.in_use) == (2, 0)


async def test_callers_are_served_in_the_order_they_came(pool: Pool) -> None:
    lent = [await pool.take(), await pool.take()]
    served = []

    async def caller(n: int) -> None:
        db = await pool.take()
        served.append(n)
        pool.give(db)

    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(caller, n)
            await wait_all_tasks_blocked()
        assert pool.waiting == 5
        pool.give(lent.pop())  # one, because trio runs tasks that wake together in any order
    pool.give(lent.pop())
    assert served == list(range(5))


async def test_waiting_ends_with_unavailable(dsn: str) -> None:
    pool = Pool(dsn, min_size=1, max_size=1, acquire_within=0.02)
    await pool.open()
    db = await pool.take()
    with pytest.raises(StoreError) as refused:
        await pool.take()
    assert refused.value.kind == "unavailable"
    pool.give(db)
    pool.give(await pool.take())
    assert (pool.in_use, pool.waiting) == (0, 0)
    pool.close_now()


async def test_a_caller_that_stops_waiting_loses_no_slot(pool: Pool) -> None:
    lent = [await pool.take(), await pool.take()]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.take)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for db in lent:
        pool.give(db)
    assert (pool.in_use, pool.waiting) == (0, 0)


async def test_a_connection_given_back_in_the_middle_of_something_is_closed(pool: Pool) -> None:
    db = await pool.take()
    await db.command(b"BEGIN")
    pool.give(db)
    assert db.closed
    assert (pool.size, pool.in_use) == (0, 0)


async def test_old_connections_are_replaced(pool: Pool, mock_clock: MockClock) -> None:
    first = await pool.take()
    pool.give(first)
    mock_clock.jump(LIFE * 0.89)
    assert await pool.take() is first
    pool.give(first)
    mock_clock.jump(LIFE * 0.22)
    second = await pool.take()
    assert first.closed
    assert not second.closed
    pool.give(second)


async def test_extra_connections_leave_when_nobody_wants_them(pool: Pool, mock_clock: MockClock) -> None:
    for db in [await pool.take(), await pool.take()]:
        pool.give(db)
    mock_clock.jump(IDLE_LIFE + 1)
    pool.give(await pool.take())
    assert pool.size == 1


async def test_a_connection_the_server_closed_is_replaced_unseen(pool: Pool, postgres: str) -> None:
    pool.give(await pool.take())
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname LIKE 'test%'")
    db = await pool.take()
    assert await db.command(b"SELECT 1") == b"SELECT 1"
    pool.give(db)


async def test_after_a_loss_the_others_are_asked_before_they_are_lent(pool: Pool) -> None:
    lost, other = await pool.take(), await pool.take()
    pool.give(other)
    lost.close_now()
    pool.give(lost)
    asked: list[str | None] = []
    other.add_notice_handler(lambda notice: asked.append(notice.message_primary))
    await other.command(b"SET client_min_messages = debug5")  # the server now comments on every statement
    before = len(asked)
    assert await pool.take() is other
    once = len(asked)
    assert once > before
    pool.give(other)
    assert await pool.take() is other  # used since the loss, so trusted
    assert len(asked) == once
    pool.give(other)


async def test_when_the_database_comes_back_everybody_is_served(dsn: str, tmp_path: Path) -> None:
    async with open_wire(dsn, tmp_path) as wire:
        pool = Pool(wire.dsn, min_size=1, max_size=4, acquire_within=60)
        await pool.open()
        wire.cut()
        await wait_all_tasks_blocked()
        served = []

        async def caller() -> None:
            db = await pool.take()
            served.append(await db.command(b"SELECT 1"))
            pool.give(db)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(caller)
            with trio.fail_after(5):
                while not pool.failures:
                    await trio.lowlevel.checkpoint()
            await wire.mend()
        assert served == [b"SELECT 1"] * 10
        assert (pool.in_use, pool.waiting, pool.failures) == (0, 0, 0)
        pool.close_now()


async def test_a_closed_pool_lends_nothing_and_closes_what_comes_back(pool: Pool) -> None:
    db = await pool.take()
    pool.close_now()
    pool.give(db)
    assert db.closed
    with pytest.raises(StoreError, match="closed"):
        await pool.take()
