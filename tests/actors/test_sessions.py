"""A conversation's actor with real lanes and a real database. Contract: sessions-lanes-cron.md §3, §10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from goclaw.actors.engine.voice import said_in
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.domain.errors import StoreError
from goclaw.domain.events import RunEvent
from goclaw.domain.session import Abort, GetActivity
from goclaw.operations.feed import RunFeed, listening
from goclaw.settings.queue import Queue
from goclaw.stores import run_recovery, runs
from goclaw.stores.database import Database
from tests.actors.house import KEY, Weather, house, turn
from tests.stores.test_runs import accept, claim

HERE = session(MASTER_TENANT, KEY)


async def test_a_run_is_stopped_between_its_claim_and_its_start(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path) as system:
        send = await turn(database, fresh=True)
        with trio.fail_after(10), listening(system, send.run_id, only_result=True) as feed:
            system.tell(HERE, send)  # claimed with its acceptance, started by the lane's next message
            stopped = await system.ask(HERE, Abort(user_id="lan", as_admin=False), within=5)
            result = await feed.result()

    assert stopped.run_ids == (send.run_id,)
    assert result.cancelled


async def test_a_turn_whose_commit_is_unknown_is_known_to_its_session(database: Database, tmp_path: Path) -> None:
    async def done_and_lost(work: Any, **turn: Any) -> None:
        await database.run(work, **turn)
        raise StoreError("commit_unknown", "the connection broke while committing")

    async with house(Weather(database, "run_acceptance.accept", done_and_lost), tmp_path) as system:
        send = await turn(database, fresh=True)
        with trio.fail_after(10):
            with pytest.raises(StoreError):
                await system.ask(HERE, send, within=5)
            activity = await system.ask(HERE, GetActivity(), within=5)

    assert send.run_id in activity.running + activity.waiting


async def test_a_run_that_somebody_else_ended_is_not_open_any_more(database: Database, tmp_path: Path) -> None:
    over = trio.Event()

    async def beaten(work: Any, run: runs.Claimed, **end: Any) -> None:
        await database.run(work, run, **end)
        await database.run(work, run, **end)

    async def noted(work: Any, run: runs.Claimed) -> str:
        standing: str = await database.run(work, run)
        over.set()
        return standing

    weather = Weather(Weather(database, "run_ends.succeed", beaten), "runs.standing", noted)
    async with house(weather, tmp_path) as system:
        with trio.fail_after(10):
            await system.ask(HERE, await turn(database, fresh=True), within=5)
            await over.wait()
            activity = await system.ask(HERE, GetActivity(), within=5)

    assert activity.running == activity.waiting == ()


async def told(feed: RunFeed) -> list[RunEvent]:
    """Every event until the run is over."""
    events: list[RunEvent] = []
    while more := await feed.next():
        events += more
    return events


async def test_a_run_that_lives_twice_repeats_no_number(database: Database, tmp_path: Path) -> None:
    async def put_back(_work: Any, run: runs.Claimed, **_end: Any) -> None:
        await database.run(run_recovery.put_back, run, reason="RELEASE_SHUTDOWN")
        raise runs.StaleOwner(run.run_id)

    async with house(Weather(database, "run_ends.succeed", put_back), tmp_path) as system:
        send = await turn(database, fresh=True)
        with trio.fail_after(10), listening(system, send.run_id) as feed:
            await system.ask(HERE, send, within=5)
            events = await told(feed)

    assert [event.type for event in events].count("run.started") == 2
    numbers = [event.run_seq for event in events]
    assert numbers == sorted(set(numbers))


async def test_a_run_that_is_dropped_after_a_life_goes_on_above_it(database: Database, tmp_path: Path) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await database.run(run_recovery.put_back, run, reason="RELEASE_SHUTDOWN")
    queue = Queue(poll_ms=3_600_000)  # nobody claims it again

    async with house(database, tmp_path, queue) as system:
        with trio.fail_after(10), listening(system, run_id) as feed:
            await system.ask(HERE, Abort(user_id="lan", as_admin=False, run_id=run_id), within=5)
            (cancelled,) = await told(feed)

    assert (cancelled.type, cancelled.run_seq) == ("run.cancelled", said_in(1) + 1)
