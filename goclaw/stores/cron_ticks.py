"""What makes scheduled jobs run: ticks and tries. Tables `cron_jobs`, `cron_run_logs`. How runs end: `cron_ends`.

What makes a job due again and what it starts are one transaction: a crash neither loses a tick nor doubles it.
The clock is the caller's, because it also decides when to look. Contract: sessions-lanes-cron.md §5.2.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from msgspec import Struct

from goclaw.domain.cron import LOGS, SETTLED, Trigger, prompt
from goclaw.domain.ids import new_id
from goclaw.domain.run import KINDS, RunRequest
from goclaw.domain.run_states import OPEN
from goclaw.domain.schedule import Tick, Unscheduled, first, tick, zone_of
from goclaw.domain.session import Terms
from goclaw.settings.cron import Cron
from goclaw.stores import run_acceptance, run_intake, runs
from goclaw.stores.cron import COLUMNS, FROM, JOBS, Job, Status, locked
from goclaw.stores.unit import Connection, many, transaction

AT_ONCE = 100  # jobs looked at in one go
INACTIVE = "agent_inactive"  # why a job is skipped; C5.10


class Agenda(Struct, frozen=True, kw_only=True):
    """A job that wants something: to be fired, to be tried again, or to hear how its run ended."""

    id: str
    tenant_id: str
    user_id: str
    what: Literal["due", "retry", "ended"]
    at: datetime | None
    run_id: str | None
    from_file: bool  # its message is to be read


class Fired(Struct, frozen=True, kw_only=True):
    """What became of a tick. Without `run_id` it was skipped, for `reason`."""

    job: Job
    run_id: str = ""
    reason: str = ""
    next_run_at: datetime | None = None


AGENDA = """
(SELECT id, tenant_id, user_id, 'ended' AS what, NULL::timestamptz AS at, active_run_id AS run_id,
   false AS from_file
 FROM cron_jobs j
 WHERE active_run_id IS NOT NULL AND NOT EXISTS (
   SELECT FROM runs r WHERE r.run_id = j.active_run_id AND r.state = ANY(%(open)s::text[]))
 LIMIT %(limit)s)
UNION ALL
(SELECT id, tenant_id, user_id, 'retry', retry_at, NULL, payload ? 'prompt_file' FROM cron_jobs
 WHERE retry_at <= %(until)s ORDER BY retry_at LIMIT %(limit)s)
UNION ALL
(SELECT id, tenant_id, user_id, 'due', next_run_at, NULL, payload ? 'prompt_file' FROM cron_jobs
 WHERE %(ticking)s AND enabled AND next_run_at <= %(until)s
   AND NOT (schedule_kind = 'at' AND (active_run_id IS NOT NULL OR retry_at IS NOT NULL))
 ORDER BY next_run_at LIMIT %(limit)s)
"""

START = """
UPDATE cron_jobs SET active_run_id = %(run)s, scheduled_at = %(scheduled)s, trigger = %(trigger)s,
  attempt = %(attempt)s, retry_at = NULL, last_run_at = %(now)s, last_status = 'running',
  run_count = run_count + (%(attempt)s = 1)::int, updated_at = now()
WHERE id = %(id)s AND tenant_id = %(tenant)s
"""

LOG = """
INSERT INTO cron_run_logs (id, tenant_id, job_id, run_id, agent_id, scheduled_at, started_at, finished_at, status,
  attempt, trigger, error)
VALUES (%(id)s, %(tenant)s, %(job)s, %(run)s, %(agent)s, %(scheduled)s, %(now)s,
  CASE WHEN %(status)s = 'skipped' THEN %(now)s::timestamptz END, %(status)s, %(attempt)s, %(trigger)s, %(error)s)
"""

TRIM = """
DELETE FROM cron_run_logs WHERE tenant_id = %(tenant)s AND job_id = %(job)s AND id IN (
  SELECT id FROM cron_run_logs WHERE job_id = %(job)s ORDER BY scheduled_at DESC, id DESC OFFSET %(kept)s)
"""

GIVE_UP = """
UPDATE cron_jobs SET retry_at = NULL, last_status = 'skipped', last_error = %(reason)s,
  enabled = enabled AND NOT (schedule_kind = 'at' AND next_run_at IS NULL),
  version = version + (enabled AND schedule_kind = 'at' AND next_run_at IS NULL)::int, updated_at = now()
WHERE id = %(id)s AND tenant_id = %(tenant)s
"""


@transaction(readonly=True)
async def agenda(db: Connection, *, until: datetime, ticking: bool = True) -> list[Agenda]:
    """What has to be done before `until`, of every tenant: the clock is one for all. Not `ticking`: nothing is due."""
    wanted = {"until": until, "ticking": ticking, "open": list(OPEN), "limit": AT_ONCE}
    return await many(Agenda, db.execute(AGENDA, wanted))


@transaction
async def fire(
    db: Connection,
    *,
    tenant: str,
    id: str,
    due: datetime,
    now: datetime,
    run_id: str,
    settings: Cron,
    said: str = "",
    refused: str = "",
) -> Fired | None:
    """The job's tick that was due at `due`: its run, its log and its next time, in one commit (C5.2).

    `said` is what its prompt file holds, here and below; `refused` why it may not run, if so.
    None if it is not due any more: somebody else fired it, or it was changed.
    """
    job = await locked(db, tenant, id)
    if job is None or not job.enabled or job.next_run_at != due:
        return None
    if job.schedule_kind == "at" and job.busy:
        return None  # its only time stays due until the run before is over
    try:
        found, reason = tick(job.schedule(settings.default_timezone), due, now, settings.catch_up), ""
    except Unscheduled as broken:  # the machine forgot a zone it knew
        found, reason = Tick(run=None, next=None, late=now - due), broken.reason
    scheduled = found.run or due
    key = f"cron:{id}:{_ms(scheduled)}"
    if not reason:
        reason = await _why_not(db, job, found, key, said) or refused
    await db.execute(
        """
        UPDATE cron_jobs SET next_run_at = %(next)s, enabled = %(next)s::timestamptz IS NOT NULL OR %(runs)s,
          version = version + (%(next)s::timestamptz IS NULL AND NOT %(runs)s)::int,
          last_status = CASE WHEN %(skipped)s THEN 'skipped' ELSE last_status END,
          last_error = CASE WHEN %(skipped)s THEN %(reason)s ELSE last_error END, updated_at = now()
        WHERE id = %(id)s AND tenant_id = %(tenant)s
        """,
        {
            "next": found.next,
            "runs": not reason,
            "skipped": reason != "" and not job.busy,
            "reason": reason,
            "id": id,
            "tenant": tenant,
        },
    )
    if reason:
        await _log(db, job, None, scheduled, now, "skipped", attempt=1, trigger="tick", error=reason)
        return Fired(job=job, reason=reason, next_run_at=found.next)
    await _start(db, job, run_id, scheduled, now, settings, attempt=1, trigger="tick", ingress_key=key, said=said)
    return Fired(job=job, run_id=run_id, next_run_at=found.next)


@transaction
async def fire_now(
    db: Connection,
    *,
    tenant: str,
    id: str,
    now: datetime,
    run_id: str,
    only_due: bool,
    settings: Cron,
    key: str = "",
    said: str = "",
) -> Fired | None:
    """Run the job now; unless it is due anyway, its schedule stays (C5.9).

    None if it still runs, is gone, its agent is not there, or it had to be due and is not. A `key` starts one run: used
    again, it names that one.
    """
    job = await locked(db, tenant, id)
    if job is None:
        return None
    if only_due:
        due = job.next_run_at
        if due is None or due > now:
            return None
        return await fire(db, tenant=tenant, id=id, due=due, now=now, run_id=run_id, settings=settings, said=said)
    ingress = f"cron:{id}:key:{key}" if key else None
    if ingress is not None and (before := await runs.known(db, tenant=tenant, ingress_key=ingress)) is not None:
        return Fired(job=job, run_id=before.run_id, next_run_at=job.next_run_at)
    if job.busy or not job.runnable or _mute(job, said):
        return None
    await _start(db, job, run_id, now, now, settings, attempt=1, trigger="force", ingress_key=ingress, said=said)
    return Fired(job=job, run_id=run_id, next_run_at=job.next_run_at)


@transaction
async def retry(
    db: Connection, *, tenant: str, id: str, at: datetime, now: datetime, run_id: str, settings: Cron, said: str = ""
) -> Fired | None:
    """Another try of a tick that failed, as a run of its own (C5.7). None if it is not wanted any more."""
    job = await locked(db, tenant, id)
    if job is None or job.retry_at != at or job.scheduled_at is None:
        return None
    if reason := INACTIVE if not job.runnable else _mute(job, said):
        await db.execute(GIVE_UP, {"id": id, "tenant": tenant, "reason": reason})
        await _log(db, job, None, job.scheduled_at, now, "skipped", attempt=1, trigger=job.trigger, error=reason)
        return Fired(job=job, reason=reason, next_run_at=job.next_run_at)
    attempt = job.attempt + 1
    key = f"cron:{id}:{_ms(job.scheduled_at)}:{attempt}" if job.trigger == "tick" else None
    await _start(
        db,
        job,
        run_id,
        job.scheduled_at,
        now,
        settings,
        attempt=attempt,
        trigger=job.trigger,
        ingress_key=key,
        said=said,
    )
    return Fired(job=job, run_id=run_id, next_run_at=job.next_run_at)


@transaction
async def realign(db: Connection, *, now: datetime, settings: Cron) -> int:
    """After the clock was set back: jobs that would wait for the old time are due by the new one. How many."""
    query = f"""
    SELECT {COLUMNS} {FROM} WHERE j.enabled AND j.schedule_kind <> 'at' AND j.next_run_at > %(now)s
    ORDER BY j.next_run_at LIMIT {JOBS} FOR UPDATE OF j
    """
    moved = 0
    for job in await many(Job, db.execute(query, {"now": now})):
        try:
            soonest = first(job.schedule(settings.default_timezone), now)
        except Unscheduled:
            continue
        if soonest is not None and job.next_run_at is not None and soonest < job.next_run_at:
            update = "UPDATE cron_jobs SET next_run_at = %(next)s WHERE id = %(id)s AND tenant_id = %(tenant)s"
            await db.execute(update, {"next": soonest, "id": job.id, "tenant": job.tenant_id})
            moved += 1
    return moved


# --- parts ----------------------------------------------------------------------------------------


async def _why_not(db: Connection, job: Job, found: Tick, key: str, said: str) -> str:
    """Why a tick does not run; empty if it does."""
    if found.run is None:
        return "missed"
    if job.busy:
        return "overlap"  # C5.6
    if not job.runnable:
        return INACTIVE
    if await runs.known(db, tenant=job.tenant_id, ingress_key=key) is not None:
        return "duplicate"  # the clock was set back over a tick that ran
    return _mute(job, said)


def _mute(job: Job, said: str) -> str:
    """Why it has nothing to say; empty if it has."""
    return "prompt_file" if job.prompt_file and not said.strip() else ""


async def _start(
    db: Connection,
    job: Job,
    run_id: str,
    scheduled: datetime,
    now: datetime,
    settings: Cron,
    *,
    attempt: int,
    trigger: Trigger,
    ingress_key: str | None,
    said: str,
) -> None:
    there = now.astimezone(zone_of(job.timezone or settings.default_timezone))
    late = now - scheduled if attempt == 1 else timedelta()
    text = prompt(job.name, said or job.payload.get("said") or job.payload.get("message", ""), there, late)
    accept = (
        partial(run_intake.accept, db, run_acceptance.accept, terms=_terms(job))
        if "keys" in job.payload
        else partial(run_acceptance.accept, db)
    )
    await accept(
        run_id=run_id,
        session_id=new_id(),
        tenant=job.tenant_id,
        key=job.session_key,
        session_kind="direct",
        channel="cron",
        label=job.name,
        max_concurrent=1,
        agent_id=job.agent_id,
        agent_key=job.agent_key,
        user=job.user_id,
        kind="cron",
        lane="cron",
        timeout=job.timeout_sec or settings.job_timeout,
        request=RunRequest(message=text, stream=False, instructions=SETTLED),
        request_hash=hashlib.sha256(text.encode()).hexdigest(),
        ingress_key=ingress_key,
    )
    started = {"run": run_id, "scheduled": scheduled, "trigger": trigger, "attempt": attempt, "now": now}
    await db.execute(START, {**started, "id": job.id, "tenant": job.tenant_id})
    await _log(db, job, run_id, scheduled, now, "running", attempt=attempt, trigger=trigger)


def _terms(job: Job) -> Terms:
    return Terms(
        priority=KINDS["cron"].priority,
        max_attempts=KINDS["cron"].attempts,
        resource_keys=tuple(job.payload["keys"]),
        keys_inferred=job.payload["keys_inferred"],
    )


async def _log(
    db: Connection,
    job: Job,
    run_id: str | None,
    scheduled: datetime,
    now: datetime,
    status: Status,
    *,
    attempt: int,
    trigger: Trigger,
    error: str | None = None,
) -> None:
    facts: dict[str, Any] = {
        "id": new_id(),
        "tenant": job.tenant_id,
        "job": job.id,
        "run": run_id,
        "agent": job.agent_id,
        "scheduled": scheduled,
        "now": now,
        "status": status,
        "attempt": attempt,
        "trigger": trigger,
        "error": error,
    }
    await db.execute(LOG, facts)
    await db.execute(TRIM, {"tenant": job.tenant_id, "job": job.id, "kept": LOGS})


def _ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)
