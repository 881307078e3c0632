"""Jobs that become due, on a real database in virtual time. Contract: sessions-lanes-cron.md §5.2, SL-28…33."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import CRON
from goclaw.domain.errors import StoreError, not_found
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunResult
from goclaw.domain.workspace import place_of
from goclaw.runtime import steer
from goclaw.runtime.clock import Clock
from goclaw.settings.cron import Cron
from goclaw.settings.quota import Quota, Windows
from goclaw.stores import cluster, run_ends, sessions
from goclaw.stores import cron as jobs
from goclaw.stores import cron_ticks as ticks
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.actors.clockwork import USER, clockwork, run_keys
from tests.actors.house import Weather

HOUR = 3600.0


async def test_sl28_a_single_time_runs_once_and_its_job_is_removed(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(2, delete_after_run=True)

        await works.pass_time(1.5)
        assert await works.log(id) == []
        await works.pass_time(1)
        (run,) = await works.answer()
        await works.pass_time(3)

        assert (run.user_id, run.kind, run.session_key) == (USER, "cron", f"agent:default:cron:{id}")
        assert await works.job(id) is None
        assert len(await database.run(run_keys)) == 1
        assert [event["action"] for event in works.news] == ["started", "completed"]


async def test_sl29_an_interval_keeps_its_pace(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        began = works.now
        id = await works.add(next_run_at=began + timedelta(seconds=1))

        for _ in range(40):
            await works.pass_time(0.25)
            await works.answer()

        log = await works.log(id)
        assert 9 <= len(log) <= 11
        assert {row.status for row in log} == {"ok"}
        ages = [(row.scheduled_at - began).total_seconds() for row in log]
        assert ages == [float(n) for n in range(1, len(log) + 1)], "no drift"


async def test_sl31_what_was_missed_by_an_hour_runs_at_the_start_with_a_note(
    database: Database, mock_clock: MockClock
) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(60)
        planned = works.now + timedelta(seconds=60)

    await database.run(shift, id=id, due=planned - timedelta(minutes=61))  # … and then nobody was there
    async with clockwork(database, mock_clock) as works:
        await works.looked()
        (run,) = await works.answer()

    assert "(late by 1 h)" in run.request.message


async def test_what_was_missed_by_more_than_a_day_is_skipped_and_stays_disabled(
    database: Database, mock_clock: MockClock
) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(-90_000)

        await works.pass_time(1)

        job = await works.job(id)
        assert job is not None
        assert (job.enabled, job.last_status, job.last_error) == (False, "skipped", "missed")
        assert [row.status for row in await works.log(id)] == ["skipped"]


async def test_downtime_costs_one_run_of_an_interval(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.add(interval_ms=60_000, next_run_at=works.now - timedelta(minutes=10, seconds=30))

        await works.pass_time(1)
        await works.answer()

        (row,) = await works.log(id)
        job = await works.job(id)
        assert job is not None
        assert job.next_run_at == row.scheduled_at + timedelta(minutes=1)


async def test_without_catching_up_downtime_costs_none(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock, Cron(catch_up="none")) as works:
        id = await works.add(interval_ms=60_000, next_run_at=works.now - timedelta(minutes=10, seconds=30))

        await works.pass_time(1)

        assert [(row.status, row.error) for row in await works.log(id)] == [("skipped", "missed")]


async def test_sl33_a_failing_job_is_tried_three_times_more_each_later(
    database: Database, mock_clock: MockClock
) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(1)
        await works.pass_time(1)

        for _ in range(200):
            await works.pass_time(0.25)
            await works.fail()

        log = await works.log(id)
        assert [(row.status, row.attempt) for row in log] == [("error", 1), ("error", 2), ("error", 3), ("error", 4)]
        assert len({row.run_id for row in log}) == 4
        starts = [row.started_at.timestamp() for row in log if row.started_at is not None]
        for wanted, waited in zip((2, 4, 8), (b - a for a, b in pairwise(starts)), strict=True):
            assert wanted * 0.75 - 0.01 <= waited <= wanted * 1.25 + 0.51, "steps of a quarter of a second"
        job = await works.job(id)
        assert job is not None
        assert (job.enabled, job.consecutive_errors, job.last_error) == (False, 1, "it broke")


@pytest.mark.parametrize(
    ("reason", "error"), [("FAILED_AUTH", not_found("x", "y")), ("FAILED_BILLING", None), ("FAILED_INPUT", None)]
)
async def test_what_another_try_does_not_change_is_not_tried_again(
    database: Database, mock_clock: MockClock, reason: str, error: Any
) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.add(interval_ms=3_600_000)
        await works.pass_time(1)

        await works.fail(reason, error or not_found("agent", "x"))

        job = await works.job(id)
        assert job is not None
        assert (job.enabled, job.retry_at, job.consecutive_errors) == (True, None, 1)


async def test_a_tick_waits_for_nobody_while_the_one_before_still_runs(
    database: Database, mock_clock: MockClock
) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.add()

        await works.pass_time(3.25)  # the first run never ends

        assert [(row.status, row.error) for row in await works.log(id)] == [
            ("running", None),
            ("skipped", "overlap"),
            ("skipped", "overlap"),
        ]
        job = await works.job(id)
        assert job is not None
        assert job.last_status == "running"


async def test_a_single_time_waits_for_the_run_before_and_is_not_lost(
    database: Database, mock_clock: MockClock
) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(2, delete_after_run=True)
        assert await works.run_now(id)

        await works.pass_time(5)
        assert [row.status for row in await works.log(id)] == ["running"]
        await works.answer()
        await works.pass_time(1)
        assert len(await works.answer()) == 1

        assert await works.job(id) is None


async def test_a_single_time_that_was_moved_while_it_ran_comes_again(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(1, delete_after_run=True)
        await works.pass_time(1.25)
        await database.run(shift, id=id, due=works.now + timedelta(seconds=2))

        await works.answer()
        assert await works.job(id) is not None
        await works.pass_time(2.25)
        assert len(await works.answer()) == 1

        assert await works.job(id) is None


async def test_a_job_that_was_disabled_by_itself_has_a_new_version(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        missed, spent = await works.once(-90_000, name="missed"), await works.once(1, name="spent")
        await works.pass_time(1.25)
        await works.answer()

        for id in (missed, spent):
            job = await works.job(id)
            assert job is not None
            assert (job.enabled, job.version) == (False, 2)


async def test_no_other_try_for_an_agent_that_rests(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(1)
        await works.pass_time(1.25)
        await works.fail()
        await database.run(put_to_rest)

        await works.pass_time(600, step=30)

        job = await works.job(id)
        assert job is not None
        assert (job.retry_at, job.enabled, job.last_error) == (None, False, "agent_inactive")
        assert [row.status for row in await works.log(id)] == ["error", "skipped"]


async def test_a_row_nobody_can_read_does_not_stop_the_clock(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        await works.add("broken", next_run_at=works.now)
        await database.run(break_jobs)
        id = await works.add("sound")

        await works.pass_time(1.25)

        assert len(await works.log(id)) == 1


async def test_a_job_that_fails_ten_times_is_disabled_and_its_owner_told(
    database: Database, mock_clock: MockClock
) -> None:
    async with clockwork(database, mock_clock, Cron(max_retries=0)) as works:
        id = await works.add()

        for _ in range(12):
            await works.pass_time(1)
            await works.fail()

        job = await works.job(id)
        assert job is not None
        assert (job.enabled, job.consecutive_errors, job.next_run_at) == (False, 10, None)
        assert works.news[-1]["error"] == "it broke; disabled after 10 errors"


async def test_one_success_forgives_all_errors(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock, Cron(max_retries=0)) as works:
        id = await works.add()
        await works.pass_time(1)
        await works.fail()
        await works.pass_time(1)
        await works.answer()

        job = await works.job(id)
        assert job is not None
        assert (job.consecutive_errors, job.last_status, job.last_error) == (0, "ok", None)


async def test_a_job_of_an_agent_that_rests_is_skipped(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.add()
        await database.run(put_to_rest)

        await works.pass_time(1)

        assert [(row.status, row.error) for row in await works.log(id)] == [("skipped", "agent_inactive")]


async def test_a_job_can_be_run_by_hand_and_keeps_its_time(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.add(interval_ms=3_600_000, next_run_at=works.now + timedelta(hours=1))
        before = await works.job(id)

        assert await works.run_now(id, only_due=True) == "", "it is not due"
        run_id = await works.run_now(id)
        assert run_id
        assert await works.run_now(id) == "", "it still runs"
        await works.answer()

        after = await works.job(id)
        assert before is not None
        assert after is not None
        assert after.next_run_at == before.next_run_at
        assert [(row.run_id, row.trigger, row.status) for row in await works.log(id)] == [(run_id, "force", "ok")]


async def test_switched_off_nothing_becomes_due_and_hands_still_work(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock, Cron(enabled=False)) as works:
        id = await works.add()

        await works.pass_time(3)
        assert await works.log(id) == []
        assert await works.run_now(id)
        await works.answer()

        assert [row.status for row in await works.log(id)] == ["ok"]


async def test_many_jobs_of_one_second_all_run(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        at = works.now + timedelta(seconds=1)
        for n in range(130):
            await works.add(f"job-{n}", interval_ms=3_600_000, next_run_at=at)

        await works.pass_time(1.5)

        assert len(set(await database.run(run_keys))) == 130


async def test_a_stateless_job_hears_nothing_of_its_last_run(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        ids = {
            stateless: await works.add(f"job-{stateless}".lower(), stateless=stateless) for stateless in (True, False)
        }

        await works.pass_time(1)
        await works.answer("I was here")

        for stateless, id in ids.items():
            key = f"agent:default:cron:{id}"
            history = await database.run(sessions.history, tenant=MASTER_TENANT, key=key, limit=10)
            assert [row.content for row in history] == ([] if stateless else ["I was here"])


async def test_the_log_holds_what_came_of_a_run_and_no_more_than_two_hundred(
    database: Database, mock_clock: MockClock
) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.add(interval_ms=1000)
        await works.pass_time(1)
        await works.answer("x" * 600)
        (row,) = await works.log(id)
        assert (row.output_preview, row.input_tokens, row.output_tokens, row.delivery) == ("x" * 500, 3, 2, "none")

        await works.pass_time(205, step=1.0)  # one runs, the others overlap

        log = await works.log(id)
        assert len(log) == 200
        assert row.id not in [kept.id for kept in log]


@pytest.mark.parametrize(("answer", "delivery", "sent"), [("**NO_REPLY**", "silent", []), ("news", "queued", ["news"])])
async def test_an_answer_goes_to_the_chat_of_its_job_unless_it_is_for_nobody(
    database: Database, mock_clock: MockClock, answer: str, delivery: str, sent: list[str]
) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(1, deliver=True, deliver_channel="tg", deliver_to="7")
        await works.pass_time(1)
        await works.answer(answer)

        (row,) = await works.log(id)
        assert (row.status, row.delivery) == ("ok", delivery)
        assert await database.run(posted) == sent


async def test_a_message_in_a_file_is_read_when_the_job_runs(
    database: Database, mock_clock: MockClock, tmp_path: Path
) -> None:
    file = place_of(tmp_path, "", USER) / "tasks" / "morning.md"
    file.parent.mkdir(parents=True)
    file.write_text("old")
    async with clockwork(database, mock_clock, workspace=tmp_path) as works:
        id = await works.add(payload={"prompt_file": "tasks/morning.md"})
        file.write_text("water the plants")

        await works.pass_time(1.25)
        (run,) = await works.answer()
        assert run.request.message.endswith("water the plants")

        assert await works.run_now(id)
        (again,) = await works.fail()
        await works.pass_time(3)
        (retried,) = await works.answer()
        texts = [each.request.message.partition("] ")[2] for each in (again, retried)]  # a minute may have passed
        assert texts == ["water the plants"] * 2


@pytest.mark.parametrize("path", ["gone.md", "blank.md", "../outside.md", "link.md"])
async def test_a_job_whose_file_says_nothing_is_skipped(
    database: Database, mock_clock: MockClock, tmp_path: Path, path: str
) -> None:
    place = place_of(tmp_path, "", USER)
    place.mkdir()
    (tmp_path / "outside.md").write_text("somebody else's")
    (place / "blank.md").write_text(" \n")
    (place / "link.md").symlink_to("../outside.md")
    async with clockwork(database, mock_clock, workspace=tmp_path) as works:
        id = await works.add(payload={"prompt_file": path})

        await works.pass_time(1.25)

        job = await works.job(id)
        assert job is not None
        assert (job.last_status, job.last_error, job.enabled) == ("skipped", "prompt_file", True)
        assert await works.run_now(id) == ""


async def test_the_log_shows_what_became_of_a_delivery(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(1, deliver=True, deliver_channel="tg", deliver_to="7")
        await works.pass_time(1)
        await works.answer("news")

        for state, told in (("SENT", ("sent", None)), ("DEAD", ("failed", "blocked"))):
            await database.run(settle_post, state=state)
            (row,) = await works.log(id)
            assert (row.status, row.delivery, row.delivery_error) == ("ok", *told)


async def test_a_job_may_vanish_while_it_runs(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.add()
        await works.pass_time(1.25)
        await database.run(jobs.remove, tenant=MASTER_TENANT, id=id)

        assert await works.answer()
        await works.pass_time(1)

        assert await works.job(id) is None


# --- crashes --------------------------------------------------------------------------------------


async def test_a_tick_is_fired_once_however_many_look(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.once(3600)
        job = await works.job(id)
        assert job is not None
        assert job.next_run_at is not None
        due = job.next_run_at
        fired = []

        async def fire() -> None:
            fired.append(
                await database.run(
                    ticks.fire, tenant=MASTER_TENANT, id=id, due=due, now=due, run_id=new_id(), settings=Cron()
                )
            )

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(fire)

        assert len([one for one in fired if one is not None and one.run_id]) == 1
        assert await database.run(run_keys) == [f"cron:{id}:{int(due.timestamp() * 1000)}"]


async def test_a_tick_whose_commit_is_unknown_runs_once(database: Database, mock_clock: MockClock) -> None:
    async def done_and_lost(work: Any, **given: Any) -> None:
        await database.run(work, **given)
        raise StoreError("commit_unknown", "the connection broke while committing")

    weather: Any = Weather(database, "cron_ticks.fire", done_and_lost)
    async with clockwork(weather, mock_clock) as works:
        id = await works.once(1)

        await works.pass_time(3)
        await works.answer()

        assert [(row.status, row.attempt) for row in await works.log(id)] == [("ok", 1)]
        assert len(await database.run(run_keys)) == 1


async def test_an_outage_costs_time_and_no_tick(database: Database, mock_clock: MockClock) -> None:
    async def down(_work: Any, **_given: Any) -> None:
        raise StoreError("unavailable", "no database")

    weather: Any = Weather(database, "cron_ticks.fire", down)
    async with clockwork(weather, mock_clock) as works:
        id = await works.once(1)

        await works.pass_time(3)

        assert len(await works.log(id)) == 1


async def test_the_end_of_a_run_is_written_down_by_who_comes_after(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.add(interval_ms=3_600_000)
        await works.pass_time(1)
        (run,) = await works.claimed()
    result = RunResult(run_id=run.run_id, session_key=run.session_key, content="done")
    await database.run(run_ends.succeed, run, result=result, messages=[])  # nobody listens

    async with clockwork(database, mock_clock) as works:
        await works.looked()

        assert [row.status for row in await works.log(id)] == ["ok"]


async def test_a_crash_between_two_looks_changes_nothing(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        id = await works.add()
        for n in range(4):
            await works.pass_time(1)
            if n % 2:
                steer.restart(works.system, CRON, kill=True)
            await works.answer()

        assert [row.status for row in await works.log(id)] == ["ok"] * 4


async def test_one_of_two_nodes_minds_the_clock(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as first:
        await first.looked()

        assert await database.run(cluster.take_name, name="cron", node=new_id(), ttl=10.0) is None

    assert await database.run(cluster.take_name, name="cron", node=new_id(), ttl=10.0), "who leaves lets go"


# --- clocks that are moved ------------------------------------------------------------------------


async def test_a_clock_that_is_set_back_does_not_stop_an_interval(database: Database, mock_clock: MockClock) -> None:
    wall = [1_000_000.0]
    async with clockwork(database, mock_clock) as works:
        works.system.clock = Clock(wall=lambda: wall[0], steady=lambda: 0.0)
        id = await works.add(interval_ms=60_000, next_run_at=works.now + timedelta(seconds=60))

        wall[0] -= HOUR
        await works.looked()
        await works.pass_time(61, step=1.0)

        assert len(await works.log(id)) == 1


async def test_a_machine_that_slept_makes_up_for_one_run(database: Database, mock_clock: MockClock) -> None:
    wall = [1_000_000.0]
    async with clockwork(database, mock_clock) as works:
        works.system.clock = Clock(wall=lambda: wall[0], steady=lambda: 0.0)
        id = await works.add(interval_ms=600_000, next_run_at=works.now + timedelta(minutes=10))

        wall[0] += HOUR
        await works.pass_time(1)
        (run,) = await works.answer()

        assert len(await works.log(id)) == 1
        assert "fired at" in run.request.message


@transaction
async def break_jobs(db: Connection) -> None:
    await db.execute("UPDATE cron_jobs SET payload = '[]'")


@transaction
async def settle_post(db: Connection, *, state: str) -> None:
    await db.execute("UPDATE outbox SET state = %s, last_error = 'blocked'", [state])


@transaction
async def shift(db: Connection, *, id: str, due: Any) -> None:
    await db.execute(
        "UPDATE cron_jobs SET next_run_at = %(due)s, run_at = %(due)s WHERE id = %(id)s", {"due": due, "id": id}
    )


@transaction(readonly=True)
async def posted(db: Connection) -> list[str]:
    query = "SELECT payload->>'text' FROM outbox WHERE channel_instance = 'tg' AND chat_id = '7'"
    return await many(str, db.execute(query))


@transaction
async def put_to_rest(db: Connection) -> None:
    await db.execute("UPDATE agents SET status = 'inactive'")


async def test_a_job_whose_user_has_used_up_his_quota_is_skipped_and_says_why(
    database: Database, mock_clock: MockClock
) -> None:
    async with clockwork(database, mock_clock, quota=Quota(enabled=True, default=Windows(hour=2))) as works:
        id = await works.add()

        for _ in range(16):
            await works.pass_time(0.25)
            await works.answer()

        assert [(row.status, row.error) for row in await works.log(id)][:3] == [
            ("ok", None),
            ("ok", None),
            ("skipped", "quota"),
        ]
        job = await works.job(id)
        assert job is not None
        assert job.enabled
        assert len(await database.run(run_keys)) == 2


async def test_a_job_with_keys_waits_for_them(database: Database, mock_clock: MockClock) -> None:
    async with clockwork(database, mock_clock) as works:
        payload = {"message": "[keys: repo:a] look", "said": "look", "keys": ["repo:a"], "keys_inferred": False}
        for name in ("one", "two"):
            await works.add(name, payload=payload, interval_ms=3_600_000)

        await works.pass_time(1.25)
        (run,) = await works.claimed()

        assert run.keyed
        assert run.request.message.endswith("] look")
        assert await works.claimed() == []
