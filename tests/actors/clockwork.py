"""The clock's own branch on a real database, in time that only the test moves; its runs are ended by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from trio.testing import MockClock

from goclaw.actors.cron import cron
from goclaw.actors.quota import QuotaActor
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import CRON, HEARTBEAT
from goclaw.domain.chat import Usage
from goclaw.domain.cluster import Ownership
from goclaw.domain.cron import Look, Ran, RunJob
from goclaw.domain.errors import Err, failed_precondition
from goclaw.domain.events import CronEvent, HeartbeatEvent, of_admins
from goclaw.domain.heartbeat import Beat
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunResult
from goclaw.runtime.address import Address
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.cron import Cron
from goclaw.settings.gateway import Gateway
from goclaw.settings.quota import Quota
from goclaw.stores import agents, run_claims, run_ends, run_queue
from goclaw.stores import cron as jobs
from goclaw.stores.cron import Job, LogRow
from goclaw.stores.database import Database
from goclaw.stores.runs import Claimed
from goclaw.stores.sessions import NewMessage
from goclaw.stores.unit import Connection, many, transaction
from tests.stores.test_runs import NODE

USER = "lan"
PERMANENT = failed_precondition("broken")


class Clockwork:
    def __init__(self, database: Database, system: System, clock: MockClock, agent_id: str) -> None:
        self.database = database
        self.system = system
        self.clock = clock
        self.agent_id = agent_id
        self.news: list[dict[str, Any]] = []

    @property
    def now(self) -> datetime:
        return self.system.clock.now()

    async def looked(self) -> None:
        """Until both have looked at the present."""
        await self.system.ask(CRON, Look(), within=60)
        await self.system.ask(HEARTBEAT, Beat(), within=60)

    async def pass_time(self, seconds: float, step: float = 0.25) -> None:
        for _ in range(round(seconds / step)):
            self.clock.jump(step)
            await self.looked()

    async def add(self, name: str = "job", **more: Any) -> str:
        """A job that is due as `next_run_at` says, else every second."""
        values: dict[str, Any] = {
            "id": new_id(),
            "tenant": MASTER_TENANT,
            "agent": self.agent_id,
            "user": USER,
            "name": name,
            "enabled": True,
            "schedule_kind": "every",
            "cron_expression": None,
            "interval_ms": 1000,
            "run_at": None,
            "timezone": "",
            "stagger_ms": 0,
            "payload": {"message": "look after it"},
            "timeout_sec": None,
            "delete_after_run": False,
            "stateless": False,
            "deliver": False,
            "deliver_channel": None,
            "deliver_to": None,
            "wake_heartbeat": False,
            "next_run_at": self.now + timedelta(seconds=1),
            **more,
        }
        job = await self.database.run(jobs.add, **values)
        assert isinstance(job, Job)
        return job.id

    async def once(self, seconds: float, **more: Any) -> str:
        """A job that is due once, in so many seconds."""
        at = self.now + timedelta(seconds=seconds)
        return await self.add(schedule_kind="at", interval_ms=None, run_at=at, next_run_at=at, **more)

    async def run_now(self, id: str, *, only_due: bool = False) -> str:
        ran: Ran = await self.system.ask(CRON, RunJob(tenant_id=MASTER_TENANT, job_id=id, only_due=only_due), within=60)
        return ran.run_id

    async def job(self, id: str) -> Job | None:
        return await self.database.run(jobs.get, tenant=MASTER_TENANT, id=id)

    async def log(self, id: str) -> list[LogRow]:
        """Oldest first."""
        rows = await self.database.run(jobs.log, tenant=MASTER_TENANT, user=None, job=id, limit=1000, offset=0)
        return rows[::-1]

    async def claimed(self) -> list[Claimed]:
        """Everything that waits in the lane, now running."""
        waiting = await self.database.run(run_queue.waiting)
        wanted = [(w.tenant_id, w.session_key) for w in waiting if w.lane == "cron"]
        return await self.database.run(run_claims.claim, node=NODE, lane="cron", sessions=wanted, limit=100)

    async def answer(self, text: str = "done") -> list[Claimed]:
        """Every waiting run answers."""
        claimed = await self.claimed()
        for run in claimed:
            usage = Usage(prompt_tokens=3, completion_tokens=2)
            result = RunResult(run_id=run.run_id, session_key=run.session_key, content=text, usage=usage)
            said = [NewMessage(id=new_id(), role="assistant", content=text)]
            await self.database.run(run_ends.succeed, run, result=result, messages=said)
        await self.looked()
        return claimed

    async def fail(self, reason: str = "FAILED_PROVIDER", error: Err = PERMANENT) -> list[Claimed]:
        """Every waiting run fails."""
        claimed = await self.claimed()
        for run in claimed:
            result = RunResult(run_id=run.run_id, session_key=run.session_key, error=error)
            await self.database.run(run_ends.fail, run, result=result, reason=reason, error="it broke", messages=[])
        await self.looked()
        return claimed

    def hear(self, message: Message[Any]) -> Told:
        if isinstance(message, CronEvent | HeartbeatEvent):
            self.news.append(self.decoded(message))
        return Told.ACCEPTED

    @staticmethod
    def decoded(message: CronEvent | HeartbeatEvent) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(message.body)
        return found


@asynccontextmanager
async def clockwork(
    database: Database,
    clock: MockClock,
    settings: Cron = Cron(),  # noqa: B008 - frozen
    workspace: Path = Path("/nonexistent"),
    node: str | None = None,
    quota: Quota = Quota(),  # noqa: B008 - frozen
) -> AsyncIterator[Clockwork]:
    await database.run(agents.seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="G", owner=USER)
    agent = await database.run(agents.default, tenant=MASTER_TENANT)
    assert agent is not None

    def tree() -> Supervisor:
        branch = partial(cron, resting=lambda: False, metered=quota.enabled)
        counts = child("quota", QuotaActor, Gateway(quota=quota), Ownership())
        queue = child("queue", lambda: Supervisor([counts]))
        return Supervisor(
            children=[
                child("engine", lambda: Supervisor([queue])),
                child("cron", branch, node or new_id(), settings, workspace),
            ]
        )

    async with open_system(database) as system:
        await system.start(child("", tree))
        works = Clockwork(database, system, clock, agent.id)
        with inbox(system, Address("listener"), "Listener", works.hear) as box:
            box.join(of_admins(MASTER_TENANT))
            yield works


@transaction(readonly=True)
async def run_keys(db: Connection) -> list[str]:
    """Ingress keys of all runs, oldest first."""
    return await many(str, db.execute("SELECT coalesce(ingress_key, '') FROM runs ORDER BY run_id"))
