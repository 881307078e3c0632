from __future__ import annotations

import psycopg
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from goclaw.domain.errors import StoreError
from goclaw.stores.listener import listen


def notify(dsn: str, *payloads: str, channel: str = "goclaw_wake") -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        for payload in payloads:
            db.execute("SELECT pg_notify(%s, %s)", [channel, payload])


async def test_notifications_arrive_in_order_from_the_moment_the_block_begins(dsn: str) -> None:
    async with listen(dsn, "goclaw_wake", "Other") as notes:
        notify(dsn, "before anybody waits")
        notify(dsn, "x", channel="Other")
        notify(dsn, "elsewhere", channel="other")
        notify(dsn, "last")
        heard = [await anext(notes) for _ in range(3)]
    assert [note.payload for note in heard] == ["before anybody waits", "x", "last"]
    assert [note.channel for note in heard] == ["goclaw_wake", "Other", "goclaw_wake"]


async def test_a_listener_that_waits_can_be_cancelled(dsn: str) -> None:
    async with listen(dsn, "goclaw_wake") as notes, trio.open_nursery() as nursery:
        nursery.start_soon(anext, notes)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_lost_listener_says_so(dsn: str, postgres: str) -> None:
    async with listen(dsn, "goclaw_wake") as notes:
        with psycopg.connect(postgres, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        with pytest.raises(StoreError) as lost:
            await anext(notes)
    assert lost.value.kind == "unavailable"


async def test_listening_to_nobody_is_unavailable() -> None:
    with pytest.raises(StoreError) as away:
        async with listen("host=/nowhere", "goclaw_wake"):
            pass
    assert away.value.kind == "unavailable"
