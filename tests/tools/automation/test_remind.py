"""Reminders. Contract: tools.md §10."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from goclaw.stores.database import Database
from tests.tools.automation.desk import Desk, open_desk


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database, tmp_path) as desk:
        yield desk


@pytest.mark.parametrize(("expr", "seconds"), [("10m", 600), ("1h", 3600), ("in 2 days", 172_800), ("90S", 90)])
async def test_a_reminder_is_a_job_that_runs_once(desk: Desk, expr: str, seconds: int) -> None:
    now = desk.house.system.clock.now()
    said = await desk.said("remind", message="drink\ttea", time_expr=expr, chat=("telegram", "7"))

    (job,) = (await desk.said("cron", action="list"))["jobs"]
    assert job["id"] == said["jobId"]
    at = job["schedule"]["atMs"] / 1000
    assert datetime.fromisoformat(said["at"]).timestamp() == pytest.approx(at, abs=1)
    assert at == pytest.approx((now + timedelta(seconds=seconds)).timestamp(), abs=5)
    payload = job["payload"]
    assert (payload["deliver"], payload["channel"], payload["to"]) == (True, "telegram", "7")
    assert payload["message"].endswith("drink tea")
    assert job["deleteAfterRun"]


async def test_a_time_of_the_calendar(desk: Desk) -> None:
    when = (desk.house.system.clock.now() + timedelta(days=3)).astimezone(UTC).replace(second=0, microsecond=0)
    said = await desk.said("remind", message="x", time_expr=when.isoformat())
    assert datetime.fromisoformat(said["at"]) == when


@pytest.mark.parametrize("expr", ["soon", "", "2020-01-01 10:00", "0s", "9999-99-99", "0001-01-01T00:00+14:00"])
async def test_a_time_that_is_none_or_over_is_refused(desk: Desk, expr: str) -> None:
    code, text = await desk.refused("remind", message="x", time_expr=expr)
    assert (code, "time_expr" in text) == ("invalid_args", True)


async def test_two_reminders_of_one_moment_and_one_made_twice(desk: Desk) -> None:
    at = (desk.house.system.clock.now() + timedelta(days=1)).isoformat(timespec="seconds")
    ids = [
        (await desk.said("remind", message=text, time_expr=at, call_key=key))["jobId"]
        for text, key in (("a", "k1"), ("b", "k2"), ("a", "k1"))
    ]
    assert ids[0] == ids[2] != ids[1]
    assert len((await desk.said("cron", action="list"))["jobs"]) == 2
