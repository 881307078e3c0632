"""Heartbeats on a real database in virtual time. Contract: sessions-lanes-cron.md §6, SL-34…37."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import HEARTBEAT
from goclaw.domain.heartbeat import Terms, TryHeartbeat, WakeHeartbeat
from goclaw.domain.run import RunResult
from goclaw.stores import budgets, heartbeats, run_ends, sessions
from goclaw.stores.database import Database
from goclaw.stores.heartbeats import Heartbeat, LoggedBeat
from goclaw.stores.unit import Connection, many, transaction
from tests.actors.clockwork import Clockwork, clockwork
from tests.stores.test_runs import accept, claim


@pytest.fixture
async def works(database: Database, mock_clock: MockClock, tmp_path: Path) -> AsyncIterator[Clockwork]:
    """A clock over a workspace with something to look after. Tests name `mock_clock` too, or it would not be theirs."""
    (tmp_path / "HEARTBEAT.md").write_text("# Every day\n- [ ] is the backup there?\n")
    async with clockwork(database, mock_clock, workspace=tmp_path) as works:
        yield works


async def enable(works: Clockwork, **more: Any) -> Heartbeat:
    """A heartbeat that is due now."""
    next_run_at = more.pop("next_run_at", works.now)
    terms = Terms(**{"enabled": True, **more})
    return await works.database.run(
        heartbeats.put, tenant=MASTER_TENANT, agent=works.agent_id, terms=terms, next_run_at=next_run_at
    )


async def state(works: Clockwork) -> Heartbeat:
    found = await works.database.run(heartbeats.get, tenant=MASTER_TENANT, agent=works.agent_id)
    assert found is not None
    return found


async def log(works: Clockwork) -> list[LoggedBeat]:
    """Oldest first."""
    rows = await works.database.run(heartbeats.log, tenant=MASTER_TENANT, agent=works.agent_id, limit=300, offset=0)
    return rows[::-1]


async def beat(works: Clockwork, answer: str) -> None:
    await works.pass_time(31, step=31)
    assert await works.answer(answer)


async def test_sl34_all_is_well_is_not_worth_saying(works: Clockwork, mock_clock: MockClock) -> None:
    await enable(works)

    await beat(works, "**HEARTBEAT_OK**")

    (row,) = await log(works)
    after = await state(works)
    assert (row.status, row.summary) == ("suppressed", "**HEARTBEAT_OK**")
    assert (after.suppress_count, after.run_count, after.last_status) == (1, 1, "suppressed")
    assert after.next_run_at is not None
    assert after.next_run_at - works.now > timedelta(minutes=29)
    assert [event["action"] for event in works.news] == ["running", "suppressed"]


async def test_sl35_an_alarm_does_not_vanish_behind_the_token(works: Clockwork, mock_clock: MockClock) -> None:
    await enable(works)

    await beat(works, "HEARTBEAT_OK " + "the backup is missing " * 40)

    assert [row.status for row in await log(works)] == ["ok"]
    assert works.news[-1]["action"] == "completed"


@pytest.mark.parametrize(
    ("channel", "answer", "sent"),
    [("tg", "the backup is missing", 1), ("tg", "HEARTBEAT_OK", 0), ("none", "the backup is missing", 0)],
)
async def test_an_alarm_goes_to_the_chat_of_the_heartbeat(
    works: Clockwork, mock_clock: MockClock, channel: str, answer: str, sent: int
) -> None:
    await enable(works, channel=channel, chat_id="7")

    await beat(works, answer)

    assert await works.database.run(posted) == [answer] * sent


async def test_the_same_alarm_is_told_once_a_day(works: Clockwork, mock_clock: MockClock) -> None:
    await enable(works)
    await beat(works, "the backup is missing")
    await works.pass_time(1860, step=1860)
    await works.answer("the  backup is\nmissing")

    assert [(row.status, row.skip_reason) for row in await log(works)] == [("ok", None), ("suppressed", "duplicate")]
    await works.pass_time(90_000, step=90_000)
    await works.answer("the backup is missing")
    assert (await log(works))[-1].status == "ok"


async def test_sl36_it_waits_while_somebody_talks_to_its_agent(works: Clockwork, mock_clock: MockClock) -> None:
    await accept(works.database)
    (talk,) = await claim(works.database)
    await enable(works)

    await works.pass_time(31, step=31)
    await works.pass_time(31, step=31)

    assert [(row.status, row.skip_reason) for row in await log(works)] == [("skipped", "queue_busy")], "said once"
    assert (await state(works)).next_run_at == works.now, "behind those that wait longer"
    done = RunResult(run_id=talk.run_id, session_key=talk.session_key, content="bye")
    await works.database.run(run_ends.succeed, talk, result=done, messages=[])
    await works.pass_time(31, step=31)
    assert await works.claimed(), "the next look tries again"


async def test_sl37_outside_of_its_hours_it_sleeps(works: Clockwork, mock_clock: MockClock) -> None:
    hour = works.now + timedelta(hours=2)
    await enable(works, active_hours_start=f"{hour:%H:00}", active_hours_end=f"{hour + timedelta(hours=1):%H:00}")

    await works.pass_time(31, step=31)

    assert [row.skip_reason for row in await log(works)] == ["active_hours"]
    after = await state(works)
    assert after.next_run_at is not None
    assert after.next_run_at > works.now, "it goes on with its interval"


@pytest.mark.parametrize("text", ["", "# Title\n\n- [ ]\n- [x]\n<!-- later:\n- [ ] backups -->\n*\n"])
async def test_nothing_to_look_after_is_no_run(
    works: Clockwork, mock_clock: MockClock, tmp_path: Path, text: str
) -> None:
    (tmp_path / "HEARTBEAT.md").write_text(text)
    await enable(works)

    await works.pass_time(31, step=31)

    assert [row.skip_reason for row in await log(works)] == ["empty_checklist"]
    assert await works.claimed() == []


async def test_who_has_nothing_left_to_spend_does_not_begin(works: Clockwork, mock_clock: MockClock) -> None:
    await works.database.run(
        budgets.put,
        tenant=MASTER_TENANT,
        scope="agent",
        key="default",
        unit="usd",
        window="month",
        limit=Decimal(0),
        mode="hard",
        by="ada",
    )
    await enable(works)

    await works.pass_time(31, step=31)

    assert [row.skip_reason for row in await log(works)] == ["budget"]
    assert await works.claimed() == []


async def test_its_checklist_is_in_the_prompt_and_its_session_ends_with_it(
    works: Clockwork, mock_clock: MockClock
) -> None:
    await enable(works, prompt="Look around.", max_retries=5)
    await works.pass_time(31, step=31)

    (run,) = await works.answer("HEARTBEAT_OK")

    assert run.request.message == "Look around.\n\n# Every day\n- [ ] is the backup there?"
    assert run.session_key.startswith("agent:default:heartbeat:")
    assert (run.kind, run.lane, run.max_attempts) == ("heartbeat", "cron", 6)
    assert await works.database.run(sessions.find, tenant=MASTER_TENANT, key=run.session_key) is None
    assert await works.database.run(heads) == []


@pytest.mark.parametrize("light", [False, True])
async def test_a_light_beat_is_told_its_checklist_alone(works: Clockwork, mock_clock: MockClock, light: bool) -> None:
    await enable(works, light_context=light)
    await works.pass_time(31, step=31)

    (run,) = await works.answer("HEARTBEAT_OK")

    assert run.request.light_context is light


async def test_a_session_that_is_not_isolated_is_kept(works: Clockwork, mock_clock: MockClock) -> None:
    await enable(works, isolated_session=False)
    await works.pass_time(31, step=31)

    (run,) = await works.answer("HEARTBEAT_OK")

    assert run.session_key == "agent:default:heartbeat"
    assert await works.database.run(sessions.find, tenant=MASTER_TENANT, key=run.session_key) is not None


async def test_a_beat_that_fails_is_in_the_log(works: Clockwork, mock_clock: MockClock) -> None:
    await enable(works)
    await works.pass_time(31, step=31)

    await works.fail()

    (row,) = await log(works)
    assert (row.status, row.error) == ("error", "it broke")


async def test_a_wake_during_a_beat_is_remembered_once(works: Clockwork, mock_clock: MockClock) -> None:
    await enable(works)
    await works.pass_time(31, step=31)
    for _ in range(3):
        works.system.tell(HEARTBEAT, WakeHeartbeat(tenant_id=MASTER_TENANT, agent_id=works.agent_id))
    await works.looked()
    await works.answer("HEARTBEAT_OK")

    (again,) = await works.answer("HEARTBEAT_OK")
    await works.pass_time(62, step=31)

    assert again.kind == "heartbeat"
    assert await works.claimed() == []
    assert (await state(works)).run_count == 2


async def test_a_test_runs_whatever_the_hour_and_enabled_or_not(works: Clockwork, mock_clock: MockClock) -> None:
    hour = works.now + timedelta(hours=2)
    start, end = f"{hour:%H:00}", f"{hour + timedelta(hours=1):%H:00}"
    await enable(works, enabled=False, next_run_at=None, active_hours_start=start, active_hours_end=end)

    works.system.tell(HEARTBEAT, TryHeartbeat(tenant_id=MASTER_TENANT, agent_id=works.agent_id))
    await works.looked()
    await works.answer("all quiet")

    assert [row.status for row in await log(works)] == ["ok"]
    assert (await state(works)).next_run_at is None


async def test_a_job_may_wake_the_heartbeat_of_its_agent(works: Clockwork, mock_clock: MockClock) -> None:
    await enable(works, next_run_at=works.now + timedelta(hours=1))
    await works.add(wake_heartbeat=True, interval_ms=3_600_000)
    await works.pass_time(1.25)
    await works.answer("done")

    (run,) = await works.answer("HEARTBEAT_OK")

    assert run.kind == "heartbeat"


@transaction(readonly=True)
async def heads(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT session_key FROM session_heads"))


@transaction(readonly=True)
async def posted(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT payload->>'text' FROM outbox WHERE chat_id = '7'"))
