"""A lane that closes. Contract: supervision.md §14."""

from __future__ import annotations

from pathlib import Path

import trio

from goclaw.actors.engine.lane_news import CutOff
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import lane, session
from goclaw.domain.run import HandBack
from goclaw.operations.feed import listening
from goclaw.settings.providers import Offline, Providers
from goclaw.stores import runs
from goclaw.stores.database import Database
from tests.actors.house import KEY, house, turn


async def test_a_run_that_is_cut_off_twice_is_handed_back_once(database: Database, tmp_path: Path) -> None:
    slow = Providers(offline=Offline(first_token_ms=600_000))
    handed_back: list[int] = []

    async with house(database, tmp_path, providers=slow) as system:

        async def close() -> None:
            handed_back.append(await system.ask(lane("main"), HandBack(within=60), within=60))

        send = await turn(database, fresh=True)
        with trio.fail_after(10), listening(system, send.run_id) as feed:
            await system.ask(session(MASTER_TENANT, KEY), send, within=5)
            while "run.started" not in [event.type for event in await feed.next()]:
                pass
            async with trio.open_nursery() as nursery:
                nursery.start_soon(close)
                system.tell(lane("main"), CutOff())
                system.tell(lane("main"), CutOff())

    assert handed_back == [1]
    (waiting,) = await database.run(runs.open_runs, tenant=MASTER_TENANT, key=KEY)
    assert waiting.state == "QUEUED"
