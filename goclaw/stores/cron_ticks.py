"""What makes scheduled jobs run: ticks, tries, and the end of a run. Tables `cron_jobs`, `cron_run_logs`.

What makes a job due again and what it starts are one transaction: a crash neither loses a tick nor doubles it.
The clock is the caller's, because it also decides when to look. Contract: sessions-lanes-cron.md §5.2.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from msgspec import Struct

from goclaw.domain.cron import ERRORS, LOGS, PREVIEW, SETTLED, Trigger, prompt, retry_delay, silent
from goclaw.domain.errors import Err
from goclaw.domain.ids import new_id
from goclaw.domain.run import KINDS, RunRequest, RunResult, RunState
from goclaw.domain.schedule import Tick, Unscheduled, first, tick, zone_of
from goclaw.domain.session import Terms
from goclaw.settings.cron import Cron
from goclaw.stores import outbox, run_intake, runs
from goclaw.stores.cron import COLUMNS, FROM, GET, JOBS, Job, Status, remove
from goclaw.stores.unit import Connection, many, maybe, transaction
from goclaw.stores.values import cut

AT_ONCE = 100  # jobs looked at in one go
PERMANENT = frozenset({"FAILED_AUTH", "FAILED_BILLING"})  # reasons of a run that another try does not change; C5.7
HOPELESS = frozenset({"NOT_FOUND", "INVALID_REQUEST", "FORBIDDEN"})  # error codes of the same kind
INACTIVE = "agent_inactive"  # why a job is skipped; C5.10
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER")


class Agenda(Struct, frozen=True, kw_only=True):
    """A job that wants something: to be fired, to be tried again, or to hear how its run ended."""

    id: str
    tenant_id: str
    user_id: str
    what: Literal["due", "retry", "ended"]
    at: datetime | None
    run_id: str | None


class Fired(Struct, frozen=True, kw_only=True):
    """What became of a tick. Without `run_id` it was skipped, for `reason`."""

    job: Job
    run_id: str = ""
    reason: str = ""
    next_run_at: datetime | None = None


class Finished(Struct, frozen=True, kw_only=True):
    """How an attempt ended, and what comes next."""

    job: Job
    run_id: str
    status: Status
    error: str = ""
    retry_at: datetime | None = None
    disabled: bool = False
    deleted: bool = False


class Outcome(Struct, frozen=True, kw_only=True):
    """What a run left behind."""

    state: RunState
    result: RunResult | None
    reason_code: str | None
    last_error: str | None
    started_at: datetime | None
    finished_at: datetime | None


AGENDA = """
(SELECT id, tenant_id, user_id, 'ended' AS what, NULL::timestamptz AS at, active_run_id AS run_id FROM cron_jobs j
 WHERE active_run_id IS NOT NULL AND NOT EXISTS (
   SELECT FROM runs r WHERE r.run_id = j.active_run_id AND r.state <> ALL(%(ended)s::text[]))
 LIMIT %(limit)s)
UNION ALL
(SELECT id, tenant_id, user_id, 'retry', retry_at, NULL FROM cron_jobs
 WHERE retry_at <= %(until)s ORDER BY retry_at LIMIT %(limit)s)
UNION ALL
(SELECT id, tenant_id, user_id, 'due', next_run_at, NULL FROM cron_jobs
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

END = """
UPDATE cron_run_logs SET finished_at = %(finished)s, status = %(status)s, error = %(error)s,
  output_preview = %(preview)s, input_tokens = %(input)s, output_tokens = %(output)s, duration_ms = %(duration)s,
  delivery = %(delivery)s
WHERE tenant_id = %(tenant)s AND job_id = %(job)s AND run_id = %(run)s
"""

SETTLE = """
UPDATE cron_jobs SET active_run_id = NULL, retry_at = %(retry_at)s, last_status = %(status)s, last_error = %(error)s,
  consecutive_errors = %(errors)s, enabled = enabled AND NOT %(disable)s,
  next_run_at = CASE WHEN %(disable)s THEN NULL ELSE next_run_at END,
  version = version + (enabled AND %(disable)s)::int, updated_at = now()
WHERE id = %(id)s AND tenant_id = %(tenant)s
"""

GIVE_UP = f"""
UPDATE cron_jobs SET retry_at = NULL, last_status = 'skipped', last_error = '{INACTIVE}',
  enabled = enabled AND NOT (schedule_kind = 'at' AND next_run_at IS NULL),
  version = version + (enabled AND schedule_kind = 'at' AND next_run_at IS NULL)::int, updated_at = now()
WHERE id = %(id)s AND tenant_id = %(tenant)s
"""

FORGET = """
UPDATE session_messages m SET archived_at = now() FROM sessions s
WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s AND m.session_id = s.id AND m.archived_at IS NULL
"""  # what was said stays readable for the curious; the next run of a stateless job hears none of it


@transaction(readonly=True)
async def agenda(db: Connection, *, until: datetime, ticking: bool = True) -> list[Agenda]:
    """What has to be done before `until`, of every tenant: the clock is one for all. Not `ticking`: nothing is due."""
    wanted = {"until": until, "ticking": ticking, "ended": list(ENDED), "limit": AT_ONCE}
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
    refused: str = "",
) -> Fired | None:
    """The job's tick that was due at `due`: its run, its log and its next time, in one commit (C5.2).

    `refused` is why it may not run, if so. None if it is not due any more: somebody else fired it, or it was changed.
    """
    job = await _lock(db, tenant, id)
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
        reason = await _why_not(db, job, found, key) or refused
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
    await _start(db, job, run_id, scheduled, now, settings, attempt=1, trigger="tick", ingress_key=key)
    return Fired(job=job, run_id=run_id, next_run_at=found.next)


@transaction
async def fire_now(
    db: Connection, *, tenant: str, id: str, now: datetime, run_id: str, only_due: bool, settings: Cron
) -> Fired | None:
    """Run the job now; unless it is due anyway, its schedule stays (C5.9).

    None if it still runs, is gone, its agent is not there, or it had to be due and is not.
    """
    job = await _lock(db, tenant, id)
    if job is None:
        return None
    if only_due:
        due = job.next_run_at
        if due is None or due > now:
            return None
        return await fire(db, tenant=tenant, id=id, due=due, now=now, run_id=run_id, settings=settings)
    if job.busy or not job.runnable:
        return None
    await _start(db, job, run_id, now, now, settings, attempt=1, trigger="force", ingress_key=None)
    return Fired(job=job, run_id=run_id, next_run_at=job.next_run_at)


@transaction
async def retry(
    db: Connection, *, tenant: str, id: str, at: datetime, now: datetime, run_id: str, settings: Cron
) -> Fired | None:
    """Another try of a tick that failed, as a run of its own (C5.7). None if it is not wanted any more."""
    job = await _lock(db, tenant, id)
    if job is None or job.retry_at != at or job.scheduled_at is None:
        return None
    if not job.runnable:
        await db.execute(GIVE_UP, {"id": id, "tenant": tenant})
        await _log(db, job, None, job.scheduled_at, now, "skipped", attempt=1, trigger=job.trigger, error=INACTIVE)
        return Fired(job=job, reason=INACTIVE, next_run_at=job.next_run_at)
    attempt = job.attempt + 1
    key = f"cron:{id}:{_ms(job.scheduled_at)}:{attempt}" if job.trigger == "tick" else None
    await _start(
        db, job, run_id, job.scheduled_at, now, settings, attempt=attempt, trigger=job.trigger, ingress_key=key
    )
    return Fired(job=job, run_id=run_id, next_run_at=job.next_run_at)


@transaction
async def finish(
    db: Connection, *, tenant: str, id: str, run_id: str, now: datetime, jitter: float, settings: Cron
) -> Finished | None:
    """Write down how the job's run ended, and whether it is tried again. None if that is done already."""
    job = await _lock(db, tenant, id)
    if job is None or job.active_run_id != run_id:
        return None
    query = """
    SELECT state, result, reason_code, last_error, started_at, finished_at FROM runs
    WHERE run_id = %(run)s AND tenant_id = %(tenant)s
    """
    run = await maybe(Outcome, db.execute(query, {"run": run_id, "tenant": tenant}))
    if run is not None and run.state not in ENDED:
        return None
    ok = run is not None and run.state == "SUCCEEDED"
    error = None if ok else _error_of(run)
    failed = run is None or run.state in ("FAILED", "DEAD_LETTER")  # one that somebody stopped did not fail
    retry_at = None
    wanted = job.enabled or job.trigger == "force"
    if (
        wanted
        and run is not None
        and run.state == "FAILED"
        and not _permanent(run)
        and job.attempt <= settings.max_retries
    ):
        base, longest = settings.retry_base_delay, settings.retry_max_delay
        retry_at = now + timedelta(seconds=retry_delay(job.attempt, base, longest, jitter))
    over = retry_at is None
    errors = 0 if ok else job.consecutive_errors + (failed and over)
    spent = over and job.schedule_kind == "at" and job.next_run_at is None
    disable = spent or (job.enabled and errors >= ERRORS)
    again = job.schedule_kind == "at" and job.next_run_at is not None  # it was given another time meanwhile
    deleted = ok and job.delete_after_run and job.trigger == "tick" and not again
    status: Status = "ok" if ok else "error"
    await _end(db, job, run_id, run, status, error, now)
    if job.stateless:
        await db.execute(FORGET, {"tenant": tenant, "key": job.session_key})
    if deleted:
        await remove(db, tenant=tenant, id=id)
    else:
        settled = {"retry_at": retry_at, "status": status, "error": error, "errors": errors, "disable": disable}
        await db.execute(SETTLE, {**settled, "id": id, "tenant": tenant})
    return Finished(
        job=job,
        run_id=run_id,
        status=status,
        error=error or "",
        retry_at=retry_at,
        disabled=disable and not spent,
        deleted=deleted,
    )


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


async def _lock(db: Connection, tenant: str, id: str) -> Job | None:
    return await maybe(Job, db.execute(f"{GET} FOR UPDATE OF j", {"id": id, "tenant": tenant}))


async def _why_not(db: Connection, job: Job, found: Tick, key: str) -> str:
    """Why a tick does not run; empty if it does."""
    if found.run is None:
        return "missed"
    if job.busy:
        return "overlap"  # C5.6
    if not job.runnable:
        return INACTIVE
    if await runs.known(db, tenant=job.tenant_id, ingress_key=key) is not None:
        return "duplicate"  # the clock was set back over a tick that ran
    return ""


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
) -> None:
    there = now.astimezone(zone_of(job.timezone or settings.default_timezone))
    late = now - scheduled if attempt == 1 else timedelta()
    text = prompt(job.name, job.payload.get("said") or job.payload.get("message", ""), there, late)
    accept = (
        partial(run_intake.accept, db, runs.accept, terms=_terms(job))
        if "keys" in job.payload
        else partial(runs.accept, db)
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


async def _end(
    db: Connection, job: Job, run_id: str, run: Outcome | None, status: Status, error: str | None, now: datetime
) -> None:
    result = run.result if run is not None else None
    finished = (run.finished_at if run is not None else None) or now
    began = run.started_at if run is not None else None
    await db.execute(
        END,
        {
            "tenant": job.tenant_id,
            "job": job.id,
            "run": run_id,
            "finished": finished,
            "status": status,
            "error": error,
            "preview": cut(result.content, PREVIEW) if result is not None and result.content else None,
            "input": result.usage.prompt_tokens if result is not None else 0,
            "output": result.usage.completion_tokens if result is not None else 0,
            "duration": int((finished - began).total_seconds() * 1000) if began is not None else None,
            "delivery": await _deliver(db, job, run_id, status, result),
        },
    )


async def _deliver(db: Connection, job: Job, run_id: str, status: Status, result: RunResult | None) -> str:
    """Put the answer into the outbox for the job's chat, unless it is for nobody (C5.11). What became of it."""
    if not job.deliver or status != "ok" or not job.deliver_channel or not job.deliver_to:
        return "none"
    if result is None or silent(result.content):
        return "silent"
    put = await outbox.put(
        db,
        tenant=job.tenant_id,
        run_id=run_id,
        seq=0,
        channel_instance=job.deliver_channel,
        chat_id=job.deliver_to,
        local_key=job.deliver_to,
        kind="final",
        payload={"text": result.content},
    )
    return "queued" if put else "none"


def _permanent(run: Outcome) -> bool:
    err: Err | None = run.result.error if run.result is not None else None
    return run.reason_code in PERMANENT or (err is not None and err.code in HOPELESS)


def _error_of(run: Outcome | None) -> str:
    if run is None:
        return "the run is gone"
    if run.state == "CANCELED":
        return "cancelled"
    return cut(run.last_error or run.reason_code or "failed", 2000)


def _ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)
