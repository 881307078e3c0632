"""Alerts of agents. Contract: tools.md §10, edge-websocket.md §8."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from trio.testing import MockClock

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.events import AgentAlert, of_admins
from goclaw.edge.ws.news import entry_of
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.settings.alerts import Alerts
from goclaw.settings.settings import Settings
from goclaw.stores import activity
from goclaw.stores.database import Database
from tests.fakes.platform import HttpCourier, open_platform
from tests.tools.automation.desk import Desk, open_desk
from tests.tools.messaging.test_message_tool import waiting

ALERT = {"severity": "critical", "title": "Disk\nfull", "body": "Nothing can be stored."}


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database, tmp_path) as desk:
        yield desk


async def test_an_alert_is_stored_and_told_to_admins(desk: Desk, database: Database) -> None:
    heard: list[Message[Any]] = []

    def hear(news: Message[Any]) -> Told:
        heard.append(news)
        return Told.ACCEPTED

    with inbox(desk.house.system, Address("admin"), "test", hear) as admin:
        admin.join(of_admins(MASTER_TENANT))
        said = await desk.said("send_alert", **ALERT)
    (news,) = heard

    (line,) = await database.run(activity.page, tenant=MASTER_TENANT, limit=10)
    assert said == {"delivered": True, "message_id": line.id}
    assert (line.action, line.details["title"]) == ("agent.alert", "Disk full")
    assert isinstance(news, AgentAlert)
    entry = entry_of(news, "")
    assert entry is not None
    assert entry.event == "agent.alert"
    assert msgspec.json.decode(news.body)["severity"] == "critical"


async def test_an_alert_made_again_is_the_same_one(desk: Desk, database: Database) -> None:
    ids = {(await desk.said("send_alert", **ALERT, call_key="k", again=again))["message_id"] for again in (False, True)}
    assert len(ids) == 1
    assert len(await database.run(activity.page, tenant=MASTER_TENANT, limit=10)) == 1


async def test_ten_alerts_in_ten_minutes_are_enough(desk: Desk, mock_clock: MockClock) -> None:
    for _ in range(10):
        await desk.said("send_alert", **ALERT)
    assert (await desk.refused("send_alert", **ALERT))[0] == "rate_limited"
    assert (await desk.said("send_alert", agent=desk.other, **ALERT))["delivered"], "each agent has its own"
    mock_clock.jump(601)
    assert (await desk.said("send_alert", **ALERT))["delivered"]


async def test_chats_of_operators_hear_of_it(desk: Desk, database: Database) -> None:
    async with open_platform(nonces=True) as platform:
        desk.house.couriers[MASTER_TENANT, "telegram"] = HttpCourier(platform)
        desk.house.settings = Settings(alerts=Alerts(notify=("telegram:ops", "nobody:1")))
        await desk.said("send_alert", **ALERT)
    assert await database.run(waiting) == [("ops", "[critical] default: Disk full\nNothing can be stored.")]
