"""What pages of history and of conversations hold. Contract: edge-websocket.md §7.2, §7.4."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from goclaw.domain.access import Caller, Role
from goclaw.operations.chat import GetHistory, history
from goclaw.operations.context import Context, House
from goclaw.operations.sessions import ListSessions, list_sessions
from goclaw.runtime.system import open_system
from goclaw.settings.settings import Settings
from goclaw.stores import run_ends
from goclaw.stores.database import Database
from tests.actors.house import Weather
from tests.stores.test_runs import KEY, accept, claim, result, said


@asynccontextmanager
async def asking(database: Database | Weather) -> AsyncIterator[Context]:
    async with open_system(database) as system:
        house = House(Settings(), system, "0", "node", 0)
        yield Context(house, Caller(user_id="lan", role=Role.ADMIN))


@pytest.mark.parametrize("first", ["runs.open_runs", "sessions.history"])
async def test_a_turn_that_ends_between_two_reads_is_in_the_history_once(database: Database, first: str) -> None:
    await accept(database, "hi")
    (run,) = await claim(database)

    async def and_then_it_ends(work: Any, **asked: Any) -> Any:
        found = await database.run(work, **asked)
        await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "hi"))
        return found

    async with asking(Weather(database, first, and_then_it_ends)) as ctx:
        page = await history(ctx, GetHistory(session_key=KEY))

    assert [(message.content, message.run_id) for message in page.messages] == [("hi", run.run_id)]


async def test_a_page_past_the_end_knows_how_many_there_are(database: Database) -> None:
    for n in range(3):
        await accept(database, key=f"agent:default:ws:direct:{n}")

    async with asking(database) as ctx:
        past = await list_sessions(ctx, ListSessions(offset=5))
        filtered = await list_sessions(ctx, ListSessions(offset=5, search="direct:2"))

    assert (past.sessions, past.total) == (filtered.sessions, 3) == ([], 3)
    assert filtered.total == 1
