"""Whose jobs are whose, and what a job may be asked to be. Contract: edge-websocket.md §7.7, edge-auth.md §5.3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from goclaw.actors.agents import agents
from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.errors import Err, Rejected
from goclaw.domain.ids import new_id
from goclaw.operations import cron
from goclaw.operations import cron_changes as changes
from goclaw.operations.context import Context, House
from goclaw.operations.params import decode
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.providers import Providers
from goclaw.settings.settings import Settings
from goclaw.stores import agents as rows
from goclaw.stores import cron as stored
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction

DAILY = {"kind": "cron", "expr": "0 9 * * *"}


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    await database.run(rows.seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="G", owner="system")
    defaults = AgentDefaults(workspace=tmp_path)

    def tree() -> Supervisor:
        return Supervisor(children=[child("agents", agents, defaults, Providers())])

    async with open_system(database) as system:
        await system.start(child("", tree))
        yield House(Settings(), system, "0", new_id(), 0)


def as_(house: House, user: str, role: Role = Role.OPERATOR) -> Context:
    return Context(house, Caller(user_id=user, role=role))


async def make(ctx: Context, name: str = "job", **more: Any) -> cron.CronJob:
    ask = decode(changes.CreateJob, {"name": name, "schedule": DAILY, "message": "hi", **more})
    return (await changes.create(ctx, ask)).job


async def refusal(asked: Any) -> Err:
    with pytest.raises(Rejected) as refused:
        await asked
    return refused.value.err


async def test_everybody_sees_his_own_jobs_and_admins_see_all(house: House) -> None:
    lan, minh, root = as_(house, "lan"), as_(house, "minh"), as_(house, "root", Role.ADMIN)
    mine = await make(lan, "mine")
    await make(minh, "his")

    async def names(ctx: Context) -> list[str]:
        return [job.name for job in (await cron.list_jobs(ctx, cron.ListJobs())).jobs]

    assert (await names(lan), await names(minh), await names(root)) == (["mine"], ["his"], ["his", "mine"])
    assert (await cron.status(lan, cron.AskStatus())).jobs == 1  # type: ignore[union-attr]
    for asked in (
        changes.update(minh, changes.UpdateJob(job_id=mine.id, message="mine now")),
        changes.delete(minh, cron.JobId(job_id=mine.id)),
        changes.toggle(minh, changes.ToggleJob(job_id=mine.id)),
        cron.run(minh, cron.RunNow(job_id=mine.id)),
        cron.list_runs(minh, cron.ListRuns(job_id=mine.id)),
        cron.status(minh, cron.AskStatus(job_id=mine.id)),
    ):
        assert (await refusal(asked)).code == "NOT_FOUND"
    changed = await changes.update(root, changes.UpdateJob(job_id=mine.id, message="better"))
    assert (changed.job.user_id, changed.job.payload.message) == ("lan", "better"), "it still runs under his name"


async def test_seconds_are_for_admins(house: House) -> None:
    every = {"kind": "every", "everyMs": 1000}

    assert (await refusal(make(as_(house, "lan"), schedule=every))).details["field"] == "schedule.everyMs"
    assert (await make(as_(house, "root", Role.ADMIN), schedule=every)).schedule.every_ms == 1000


async def test_what_is_not_named_stays_as_it_is(house: House) -> None:
    lan = as_(house, "lan")
    job = await make(lan, deliver=True, channel="tg", to="7", timeoutSec=30, stateless=False)

    after = (await changes.update(lan, decode(changes.UpdateJob, {"jobId": job.id, "patch": {"name": "other"}}))).job

    assert (after.name, after.payload, after.schedule, after.timeout_sec) == ("other", job.payload, job.schedule, 30)
    assert after.state.next_run_at_ms == job.state.next_run_at_ms, "its time too"


async def test_null_clears_what_a_job_may_be_without(house: House) -> None:
    lan = as_(house, "lan")
    job = await make(lan, deliver=True, channel="tg", to="7", timeoutSec=30)
    wanted = {"jobId": job.id, "deliver": False, "channel": None, "to": None, "patch": {"timeoutSec": None}}

    after = (await changes.update(lan, decode(changes.UpdateJob, wanted))).job

    assert (after.payload.channel, after.payload.to, after.timeout_sec) == ("", "", None)


async def test_a_job_says_a_message_or_what_is_in_a_file(house: House) -> None:
    lan = as_(house, "lan")
    ask = decode(changes.CreateJob, {"name": "job", "schedule": DAILY, "promptFile": "tasks/morning.md"})
    job = (await changes.create(lan, ask)).job
    assert (job.payload.message, job.payload.prompt_file) == ("", "tasks/morning.md")

    kept = (await changes.update(lan, changes.UpdateJob(job_id=job.id, name="other"))).job
    said = (await changes.update(lan, changes.UpdateJob(job_id=job.id, message="hi"))).job
    assert kept.payload == job.payload
    assert (said.payload.message, said.payload.prompt_file) == ("hi", "")

    for wrong in ({}, {"message": "hi", "promptFile": "a.md"}):
        ask = decode(changes.CreateJob, {"name": "no", "schedule": DAILY, **wrong})
        assert (await refusal(changes.create(lan, ask))).code == "INVALID_REQUEST"
    for path in ("/etc/passwd", "../x", "a/../../x", "a\n"):
        ask = decode(changes.CreateJob, {"name": "no", "schedule": DAILY, "promptFile": path})
        assert (await refusal(changes.create(lan, ask))).details["field"] == "prompt_file"


async def test_a_time_that_is_over_does_not_come_again(house: House) -> None:
    lan = as_(house, "lan")
    soon = int(house.system.clock.now().timestamp() * 1000) + 50
    job = await make(lan, schedule={"kind": "at", "atMs": soon}, enabled=False)
    while house.system.clock.now().timestamp() * 1000 <= soon:
        await cron.status(lan, cron.AskStatus())

    err = await refusal(changes.toggle(lan, changes.ToggleJob(job_id=job.id, enabled=True)))

    assert err.details == {"field": "schedule.atMs", "reason": "at time is in the past"}


async def test_who_edits_an_old_copy_hears_of_it(house: House, database: Database) -> None:
    lan = as_(house, "lan")
    job = await make(lan)
    row = await database.run(stored.get, tenant=MASTER_TENANT, id=job.id)
    assert row is not None
    await changes.update(lan, changes.UpdateJob(job_id=job.id, message="two"))

    values = {**{name: getattr(row, name) for name in type(row).__struct_fields__}, "agent": row.agent_id}
    late = {name: value for name, value in values.items() if name not in ("id", "version")}

    changed = await database.run(
        stored.change, tenant=MASTER_TENANT, id=row.id, version=row.version, reschedule=False, **late
    )
    assert changed is None


async def test_a_tenant_has_so_many_jobs_and_no_more(house: House, database: Database) -> None:
    lan = as_(house, "lan")
    first = await make(lan, "job-0")
    await database.run(copied, id=first.id, copies=stored.JOBS - 1)

    assert (await refusal(make(lan, "one-more"))).code == "RESOURCE_EXHAUSTED"


@transaction
async def copied(db: Connection, *, id: str, copies: int) -> None:
    """The job again, so many times."""
    query = """
    INSERT INTO cron_jobs (id, tenant_id, agent_id, user_id, name, schedule_kind, cron_expression)
    SELECT gen_random_uuid(), tenant_id, agent_id, user_id, 'job-' || n, schedule_kind, cron_expression
    FROM cron_jobs, generate_series(1, %(copies)s) AS n WHERE id = %(id)s
    """
    await db.execute(query, {"id": id, "copies": copies})
