"""Scheduled jobs and the log of their runs. Tables `cron_jobs`, `cron_run_logs` (migration 0017).

What makes them run is in `cron_ticks`, how runs end in `cron_ends`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct

from goclaw.domain.cron import Trigger, session_of
from goclaw.domain.schedule import Kind, Schedule, stagger_of
from goclaw.stores.unit import Connection, many, maybe, one, transaction

JOBS = 1_000  # of a tenant, and rows of a list that nobody pages; wire-compat.md A12

Status = Literal["running", "ok", "error", "skipped"]


class Job(Struct, frozen=True, kw_only=True):
    id: str
    tenant_id: str
    agent_id: str
    agent_key: str
    workspace: str  # of its agent
    workspace_sharing: dict[str, Any] | None
    runnable: bool  # its agent is there and active
    user_id: str
    name: str
    enabled: bool
    schedule_kind: Kind
    cron_expression: str | None
    interval_ms: int | None
    run_at: datetime | None
    timezone: str
    stagger_ms: int
    payload: dict[str, Any]
    timeout_sec: int | None
    delete_after_run: bool
    stateless: bool
    deliver: bool
    deliver_channel: str | None
    deliver_to: str | None
    wake_heartbeat: bool
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_status: Status | None
    last_error: str | None
    consecutive_errors: int
    run_count: int
    active_run_id: str | None
    scheduled_at: datetime | None
    trigger: Trigger
    attempt: int
    retry_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def busy(self) -> bool:
        """Its last tick is not over: it runs, or waits for another try."""
        return self.active_run_id is not None or self.retry_at is not None

    @property
    def prompt_file(self) -> str:
        """The file in the user's workspace that holds its message; empty if the job holds it."""
        return str(self.payload.get("prompt_file", ""))

    @property
    def session_key(self) -> str:
        return str(session_of(self.agent_key, self.id))

    def schedule(self, default_zone: str) -> Schedule:
        return Schedule(
            kind=self.schedule_kind,
            at=self.run_at,
            every=None if self.interval_ms is None else timedelta(milliseconds=self.interval_ms),
            expr=self.cron_expression,
            zone=self.timezone or default_zone,
            stagger=stagger_of(self.id, self.stagger_ms),
        )


class LogRow(Struct, frozen=True, kw_only=True):
    id: str
    job_id: str
    run_id: str | None
    scheduled_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    status: Status
    attempt: int
    trigger: Trigger
    error: str | None
    output_preview: str | None
    input_tokens: int
    output_tokens: int
    duration_ms: int | None
    delivery: str | None
    delivery_error: str | None
    created_at: datetime


class Figures(Struct, frozen=True, kw_only=True):
    jobs: int
    running: int
    next_run_at: datetime | None


COLUMNS = """j.id, j.tenant_id, j.agent_id, a.agent_key, a.workspace, a.workspace_sharing,
a.status = 'active' AND a.deleted_at IS NULL AS runnable, j.user_id, j.name, j.enabled, j.schedule_kind,
j.cron_expression, j.interval_ms, j.run_at, j.timezone, j.stagger_ms, j.payload, j.timeout_sec, j.delete_after_run,
j.stateless, j.deliver, j.deliver_channel, j.deliver_to, j.wake_heartbeat, j.next_run_at, j.last_run_at, j.last_status,
j.last_error, j.consecutive_errors, j.run_count, j.active_run_id, j.scheduled_at, j.trigger, j.attempt, j.retry_at,
j.version, j.created_at, j.updated_at"""

LOG_COLUMNS = """l.id, l.job_id, l.run_id, l.scheduled_at, l.started_at, l.finished_at, l.status, l.attempt, l.trigger,
l.error, l.output_preview, l.input_tokens, l.output_tokens, l.duration_ms,
CASE o.state WHEN 'SENT' THEN 'sent' WHEN 'DEAD' THEN 'failed' WHEN 'FAILED' THEN 'failed' ELSE l.delivery END
  AS delivery, CASE WHEN o.state IN ('DEAD', 'FAILED') THEN o.last_error ELSE l.delivery_error END AS delivery_error,
l.created_at"""

FROM = "FROM cron_jobs j JOIN agents a ON a.id = j.agent_id"

ADD = """
INSERT INTO cron_jobs (id, tenant_id, agent_id, user_id, name, enabled, schedule_kind, cron_expression, interval_ms,
  run_at, timezone, stagger_ms, payload, timeout_sec, delete_after_run, stateless, deliver, deliver_channel, deliver_to,
  wake_heartbeat, next_run_at)
SELECT %(id)s::uuid, %(tenant)s::uuid, %(agent)s::uuid, %(user)s, %(name)s, %(enabled)s, %(schedule_kind)s,
  %(cron_expression)s, %(interval_ms)s::bigint, %(run_at)s::timestamptz, %(timezone)s, %(stagger_ms)s,
  %(payload)s::jsonb, %(timeout_sec)s::int, %(delete_after_run)s, %(stateless)s, %(deliver)s, %(deliver_channel)s,
  %(deliver_to)s, %(wake_heartbeat)s, %(next_run_at)s::timestamptz
WHERE (SELECT count(*) FROM cron_jobs WHERE tenant_id = %(tenant)s::uuid) < %(most)s
ON CONFLICT (tenant_id, agent_id, name) DO NOTHING
RETURNING id
"""

CHANGE = """
UPDATE cron_jobs SET agent_id = %(agent)s, name = %(name)s, enabled = %(enabled)s, schedule_kind = %(schedule_kind)s,
  cron_expression = %(cron_expression)s, interval_ms = %(interval_ms)s, run_at = %(run_at)s, timezone = %(timezone)s,
  stagger_ms = %(stagger_ms)s, payload = %(payload)s::jsonb, timeout_sec = %(timeout_sec)s,
  delete_after_run = %(delete_after_run)s, stateless = %(stateless)s, deliver = %(deliver)s,
  deliver_channel = %(deliver_channel)s, deliver_to = %(deliver_to)s, wake_heartbeat = %(wake_heartbeat)s,
  next_run_at = CASE WHEN %(reschedule)s THEN %(next_run_at)s::timestamptz ELSE next_run_at END,
  retry_at = CASE WHEN %(enabled)s THEN retry_at END,
  consecutive_errors = CASE WHEN %(enabled)s AND NOT enabled THEN 0 ELSE consecutive_errors END,
  version = version + 1, updated_at = now()
WHERE id = %(id)s AND tenant_id = %(tenant)s AND version = %(version)s
RETURNING id
"""

GET = f"SELECT {COLUMNS} {FROM} WHERE j.id = %(id)s AND j.tenant_id = %(tenant)s"

TAKEN = """
SELECT count(*) > 0 FROM cron_jobs
WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s AND name = %(name)s AND id <> %(id)s
"""

PAGE = f"""
SELECT {COLUMNS} {FROM}
WHERE j.tenant_id = %(tenant)s AND (%(user)s::text IS NULL OR j.user_id = %(user)s)
  AND (%(agent)s::uuid IS NULL OR j.agent_id = %(agent)s::uuid) AND (%(disabled)s OR j.enabled)
ORDER BY j.name, j.id LIMIT {JOBS}
"""


@transaction
async def add(db: Connection, /, **job: Any) -> Job | Literal["exists", "full"]:
    """A new job. "exists": its agent has one of that name; "full": the tenant has as many as it may."""
    if await maybe(str, db.execute(ADD, {**job, "most": JOBS})) is None:
        return "exists" if await one(bool, db.execute(TAKEN, job)) else "full"
    return await one(Job, db.execute(GET, job))


@transaction
async def change(
    db: Connection, /, *, tenant: str, id: str, version: int, **job: Any
) -> Job | Literal["exists"] | None:
    """The job with these values, if it is still the `version` they were made from; else None."""
    values = {**job, "tenant": tenant, "id": id, "version": version}
    if await one(bool, db.execute(TAKEN, values)):
        return "exists"
    if await maybe(str, db.execute(CHANGE, values)) is None:
        return None
    return await one(Job, db.execute(GET, values))


@transaction(retry_safe=True)
async def remove(db: Connection, *, tenant: str, id: str) -> None:
    """With its log. A run of it that works goes on, and nobody waits for it."""
    await db.execute("DELETE FROM cron_jobs WHERE id = %(id)s AND tenant_id = %(tenant)s", {"id": id, "tenant": tenant})


@transaction(readonly=True)
async def get(db: Connection, *, tenant: str, id: str) -> Job | None:
    return await maybe(Job, db.execute(GET, {"id": id, "tenant": tenant}))


async def locked(db: Connection, tenant: str, id: str) -> Job | None:
    """The job, until the end of the transaction nobody else's to change."""
    return await maybe(Job, db.execute(f"{GET} FOR UPDATE OF j", {"id": id, "tenant": tenant}))


@transaction(readonly=True)
async def page(db: Connection, *, tenant: str, user: str | None, agent: str | None, disabled: bool) -> list[Job]:
    """Jobs by name: of a user or of all, of an agent or of all, with those that are disabled or without."""
    return await many(Job, db.execute(PAGE, {"tenant": tenant, "user": user, "agent": agent, "disabled": disabled}))


@transaction(readonly=True)
async def figures(db: Connection, *, tenant: str, user: str | None, agent: str | None) -> Figures:
    query = """
    SELECT count(*) AS jobs, count(active_run_id) AS running, min(next_run_at) FILTER (WHERE enabled) AS next_run_at
    FROM cron_jobs WHERE tenant_id = %(tenant)s AND (%(user)s::text IS NULL OR user_id = %(user)s)
      AND (%(agent)s::uuid IS NULL OR agent_id = %(agent)s::uuid)
    """
    return await one(Figures, db.execute(query, {"tenant": tenant, "user": user, "agent": agent}))


@transaction(readonly=True)
async def log(
    db: Connection, *, tenant: str, user: str | None, job: str | None, limit: int, offset: int, agent: str | None = None
) -> list[LogRow]:
    """Runs, newest first: of a job, or of all jobs of a user or of all."""
    query = f"""
    SELECT {LOG_COLUMNS} FROM cron_run_logs l JOIN cron_jobs j ON j.id = l.job_id
    LEFT JOIN LATERAL (
      SELECT state, last_error FROM outbox WHERE run_id = l.run_id AND tenant_id = l.tenant_id AND seq = 0
      ORDER BY outbox_id DESC LIMIT 1
    ) AS o ON true
    WHERE l.tenant_id = %(tenant)s AND (%(user)s::text IS NULL OR j.user_id = %(user)s)
      AND (%(agent)s::uuid IS NULL OR j.agent_id = %(agent)s::uuid)
      AND (%(job)s::uuid IS NULL OR l.job_id = %(job)s::uuid)
    ORDER BY l.scheduled_at DESC, l.id DESC LIMIT %(limit)s OFFSET %(offset)s
    """
    params = {"tenant": tenant, "user": user, "agent": agent, "job": job, "limit": limit, "offset": offset}
    return await many(LogRow, db.execute(query, params))


@transaction(readonly=True)
async def logged(db: Connection, *, tenant: str, user: str | None, job: str | None, agent: str | None = None) -> int:
    """How many there are of what `log` pages through."""
    query = """
    SELECT count(*) FROM cron_run_logs l JOIN cron_jobs j ON j.id = l.job_id
    WHERE l.tenant_id = %(tenant)s AND (%(user)s::text IS NULL OR j.user_id = %(user)s)
      AND (%(agent)s::uuid IS NULL OR j.agent_id = %(agent)s::uuid)
      AND (%(job)s::uuid IS NULL OR l.job_id = %(job)s::uuid)
    """
    return await one(int, db.execute(query, {"tenant": tenant, "user": user, "agent": agent, "job": job}))
