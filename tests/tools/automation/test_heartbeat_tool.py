"""The heartbeat as its agent sees it. Contract: tools.md §10, sessions-lanes-cron.md §6."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goclaw.domain.address import HEARTBEAT
from goclaw.domain.heartbeat import Beat
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.tools.automation.desk import OWNER, Desk, open_desk


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    (tmp_path / "HEARTBEAT.md").write_text("- [ ] is the backup there?\n")
    async with open_desk(database, tmp_path) as desk:
        yield desk


async def test_it_is_set_changed_disabled_and_told_each_time(desk: Desk) -> None:
    assert await desk.said("heartbeat", OWNER, action="get") is None

    made = await desk.said("heartbeat", OWNER, action="set", every_sec=600, active_hours="08:00 - 22:00")
    kept = await desk.said("heartbeat", OWNER, action="set", prompt="Look around.")
    always = await desk.said("heartbeat", OWNER, action="set", active_hours="")
    off = await desk.said("heartbeat", OWNER, action="disable")

    assert (made["enabled"], made["intervalSec"], made["agentId"]) == (True, 600, desk.agent)
    assert (made["activeHoursStart"], made["activeHoursEnd"], made["prompt"]) == ("08:00", "22:00", None)
    assert (kept["intervalSec"], kept["activeHoursEnd"], kept["prompt"]) == (600, "22:00", "Look around.")
    assert (always["activeHoursStart"], always["activeHoursEnd"]) == (None, None)
    assert (off["enabled"], off["nextRunAt"]) == (False, None)
    assert await desk.said("heartbeat", "lan", action="get") == off, "anybody who talks to the agent may look"


async def test_to_change_it_is_for_owners(desk: Desk) -> None:
    for action in ("set", "disable", "run"):
        assert (await desk.refused("heartbeat", "lan", action=action))[0] == "denied_policy"


async def test_what_cannot_be_is_an_invalid_argument(desk: Desk) -> None:
    for wrong in ({"every_sec": 120}, {"active_hours": "always"}, {"active_hours": "25:00-26:00"}, {"every_sec": 5}):
        assert (await desk.refused("heartbeat", OWNER, action="set", **wrong))[0] == "invalid_args"
    assert (await desk.refused("heartbeat", OWNER, action="run"))[0] == "not_found"


async def test_it_is_run_once_for_one_key(desk: Desk, database: Database) -> None:
    await desk.said("heartbeat", OWNER, action="set")

    await desk.said("heartbeat", OWNER, action="run", call_key="run:1:0")
    await desk.house.system.ask(HEARTBEAT, Beat(), within=10)
    await database.run(ended)
    await desk.house.system.ask(HEARTBEAT, Beat(), within=10)
    await desk.said("heartbeat", OWNER, action="run", call_key="run:1:0", again=True)
    await desk.house.system.ask(HEARTBEAT, Beat(), within=10)

    assert len(await database.run(beats)) == 1


@transaction
async def ended(db: Connection) -> None:
    await db.execute("UPDATE agent_heartbeats SET active_run_id = NULL")


@transaction(readonly=True)
async def beats(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT run_id::text FROM runs WHERE kind = 'heartbeat'"))
