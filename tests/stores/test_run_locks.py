"""Who stops runs never waits in a ring with a run that is claimed and ends at the same moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.stores import run_ends, run_stops, session_queue
from goclaw.stores.database import Database
from goclaw.stores.runs import Claimed
from goclaw.stores.unit import Connection, Cursor, transaction
from tests.stores.test_run_lives import rows, state
from tests.stores.test_runs import KEY, accept, claim, result

BLOCKED = "SELECT 'x' FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

Moment = Callable[[], Awaitable[None]]


class AroundTheHead:
    """A connection on which something happens right before and right after heads are locked for the first time."""

    def __init__(self, db: Connection, before: Moment, after: Moment) -> None:
        self.db, self.before, self.after = db, before, after
        self.done = False

    async def execute(self, query: str, params: Any = None) -> Cursor:
        first = not self.done and "session_heads" in query and "FOR UPDATE" in query
        if not first:
            return await self.db.execute(query, params)
        self.done = True
        await self.before()
        cursor = await self.db.execute(query, params)
        await self.after()
        return cursor

    def transaction(self) -> AbstractAsyncContextManager[object]:
        return self.db.transaction()


async def by_id(db: Connection, run_id: str) -> None:
    await run_stops.request_cancel(db, tenant=MASTER_TENANT, run_ids=[run_id], by="lan", reason="user")


async def by_session(db: Connection, run_id: str) -> None:
    await session_queue.stop(db, tenant=MASTER_TENANT, key=KEY, by="lan", reason="user", drain=True)


@pytest.mark.parametrize("stop", [by_id, by_session])
async def test_a_run_that_is_claimed_and_ends_while_it_is_stopped(database: Database, stop: Any) -> None:
    run_id = await accept(database)
    claimed: list[Claimed] = []

    async def claims() -> None:
        claimed.extend(await claim(database))

    async with trio.open_nursery() as nursery:

        async def ends() -> None:
            nursery.start_soon(succeed)
            with trio.fail_after(10):
                while not await database.run(rows, BLOCKED):  # noqa: ASYNC110 - the database rings no bell
                    await trio.sleep(0.01)

        async def succeed() -> None:
            (run,) = claimed
            await database.run(run_ends.succeed, run, result=result(run), messages=[])

        @transaction
        async def stopping(db: Connection) -> None:
            await stop(AroundTheHead(db, claims, ends), run_id)

        with trio.fail_after(20):
            await database.run(stopping)

    assert await state(database, run_id) == "SUCCEEDED  1 0", "it was faster"
