"""The look at all conversations after a start. Contract: nodes-autonomy.md §8 step 1."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from goclaw.actors.scheduled import Lead
from goclaw.actors.selfcheck import SOON, Selfcheck
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.events import SelfChecked, of_admins
from goclaw.domain.ids import new_id
from goclaw.domain.session import Earlier
from goclaw.runtime.address import Address
from goclaw.runtime.child import Restart, child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.settings.compaction import Compaction
from goclaw.stores import sessions as rows
from goclaw.stores.database import Database
from tests.actors.house import house
from tests.actors.talk import Talk


async def test_long_conversations_are_made_shorter_after_a_start_and_short_ones_are_not(
    database: Database, tmp_path: Path, mock_clock: MockClock
) -> None:
    keys = {f"agent:default:ws:direct:{name}": messages for name, messages in (("long", 60), ("short", 20))}
    async with house(database, tmp_path, compaction=Compaction(enabled=False)) as system:
        for key, messages in keys.items():
            talk = Talk(database, system, None, key)
            earlier = tuple(Earlier(role="user", content=f"fact {n}") for n in range(messages))
            await talk.say("hello", earlier=earlier)
            while (await count(database, key)) < messages + 2:
                await trio.lowlevel.checkpoint()

    told: list[dict[str, Any]] = []
    came = trio.Event()

    def hear(message: Message[Any]) -> Told:
        if isinstance(message, SelfChecked):
            told.append(json.loads(bytes(message.body)))
            came.set()
        return Told.ACCEPTED

    looks = child("selfcheck", Selfcheck, Lead(new_id()), lambda: False, restart=Restart.TEMPORARY)
    async with house(database, tmp_path, more=[child("cron", partial(Supervisor, [looks]))]) as system:
        with inbox(system, Address("edge", "http", "ear"), "Ear", hear) as ear:
            ear.join(of_admins(MASTER_TENANT))
            await wait_all_tasks_blocked()
            mock_clock.jump(SOON)
            await came.wait()

    assert told == [{"sessions": 2, "compacted": 1, "agents": 0}]
    assert [await count(database, key) for key in keys] == [19, 22]


async def count(database: Database, key: str) -> int:
    row = await database.run(rows.find, tenant=MASTER_TENANT, key=key)
    return row.message_count if row is not None else 0
