"""How runs of scheduled jobs end: what is written down, delivered and tried again. Tables `cron_jobs`, `cron_run_logs`.

Contract: sessions-lanes-cron.md §5.2, C5.7, C5.8, C5.11.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from goclaw.domain.cron import ERRORS, PREVIEW, retry_delay, silent
from goclaw.domain.errors import Err
from goclaw.domain.run import RunResult, RunState
from goclaw.domain.run_states import OPEN
from goclaw.settings.cron import Cron
from goclaw.stores import outbox
from goclaw.stores.cron import Job, Status, locked, remove
from goclaw.stores.sessions import withdraw
from goclaw.stores.unit import Connection, maybe, transaction
from goclaw.stores.values import cut

PERMANENT = frozenset({"FAILED_AUTH", "FAILED_BILLING"})  # reasons of a run that another try does not change; C5.7
HOPELESS = frozenset({"NOT_FOUND", "INVALID_REQUEST", "FORBIDDEN"})  # error codes of the same kind


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

FORGET = """
UPDATE session_messages m SET archived_at = now() FROM sessions s
WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s AND m.session_id = s.id AND NOT m.hidden
  AND m.archived_at IS NULL
"""  # what was said stays readable for the curious; the next run of a stateless job hears none of it


@transaction
async def finish(
    db: Connection, *, tenant: str, id: str, run_id: str, now: datetime, jitter: float, settings: Cron
) -> Finished | None:
    """Write down how the job's run ended, and whether it is tried again. None if that is done already."""
    job = await locked(db, tenant, id)
    if job is None or job.active_run_id != run_id:
        return None
    query = """
    SELECT state, result, reason_code, last_error, started_at, finished_at FROM runs
    WHERE run_id = %(run)s AND tenant_id = %(tenant)s
    """
    run = await maybe(Outcome, db.execute(query, {"run": run_id, "tenant": tenant}))
    if run is not None and run.state in OPEN:
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
        await withdraw(db, tenant=tenant, key=job.session_key)
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


# --- parts ----------------------------------------------------------------------------------------


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
