"""A conversation's actor with real lanes and a real database. Contract: sessions-lanes-cron.md §3, §10."""

from __future__ import annotations

from pathlib import Path

import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.domain.session import Abort
from goclaw.operations.feed import listening
from goclaw.stores.database import Database
from tests.actors.house import KEY, house, turn

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
