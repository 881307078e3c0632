"""Scheduled jobs: make, change, run, read their log. Contract: edge-websocket.md §7.7, wire-compat.md E7."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.access import Role
from goclaw.domain.address import CRON
from goclaw.domain.cron import NAME, Action, Look, Ran, RunJob, epoch_ms, news
from goclaw.domain.errors import (
    Rejected,
    already_exists,
    exhausted,
    failed_precondition,
    invalid,
    not_found,
    required,
    unavailable,
)
from goclaw.domain.events import of_admins, of_user
from goclaw.domain.schedule import (
    EVERY,
    EVERY_OTHERS,
    Schedule,
    Unscheduled,
    checked,
    first,
    stagger_of,
    upcoming,
)
from goclaw.operations.activity import record
from goclaw.operations.context import Context
from goclaw.operations.cron_shapes import (
    CronEntry,
    CronFigures,
    CronJob,
    CronSchedule,
    CronState,
    entry_of,
    job_of,
    state_of,
)
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.params import decode
from goclaw.operations.resource_keys import wanted
from goclaw.operations.turns import cut, resolve_agent
from goclaw.stores import cron
from goclaw.stores.cron import Job

ASK = 10.0  # seconds the ticker has for a run by hand
PAGE = 200  # rows of a log, at most; sessions-lanes-cron.md §5.2
SHOWN = 5  # next times of a preview; dashboard.md §20

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]*(?!\n)$", max_length=NAME)]
Text = Annotated[str, Meta(min_length=1)]


class ListJobs(Struct, kw_only=True):
    include_disabled: bool = False
    agent_id: str | None = None


class JobList(Struct, kw_only=True):
    jobs: list[CronJob]
    status: CronFigures


class Wanted(Struct, kw_only=True):
    """What a job is made of; absent members keep what they are, null and "" clear what may be empty."""

    ALIASES: ClassVar = {
        "agent_key": "agent_id",
        "deliver_channel": "channel",
        "deliver_to": "to",
        "id": "job_id",
    }

    name: Name | UnsetType = UNSET
    schedule: CronSchedule | UnsetType = UNSET
    message: Text | UnsetType = UNSET
    agent_id: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    deliver: bool | UnsetType = UNSET
    channel: Annotated[str, Meta(max_length=100)] | UnsetType = UNSET
    to: Annotated[str, Meta(max_length=255)] | UnsetType = UNSET
    stateless: bool | UnsetType = UNSET
    wake_heartbeat: bool | UnsetType = UNSET
    delete_after_run: bool | UnsetType = UNSET
    timeout_sec: Annotated[int, Meta(ge=1, le=86_400)] | UnsetType = UNSET


class CreateJob(Wanted, kw_only=True):
    name: Name
    schedule: CronSchedule
    message: Text


class MadeJob(Struct, kw_only=True):
    job: CronJob


class UpdateJob(Wanted, kw_only=True):
    job_id: str
    patch: dict[str, Any] = msgspec.field(default_factory=dict)


class JobId(Struct, kw_only=True):
    ALIASES: ClassVar = {"id": "job_id"}

    job_id: str


class Deleted(Struct, kw_only=True):
    deleted: bool = True


class ToggleJob(JobId, kw_only=True):
    enabled: bool | None = None


class Toggled(Struct, rename="camel", kw_only=True):
    job_id: str
    enabled: bool


class AskStatus(Struct, kw_only=True):
    ALIASES: ClassVar = {"id": "job_id"}

    job_id: str | None = None


class RunNow(JobId, kw_only=True):
    mode: Literal["due", "force"] = "due"


class RanJob(Struct, rename="camel", omit_defaults=True, kw_only=True):
    ok: bool
    ran: bool
    run_id: str | None = None


class ListRuns(Struct, kw_only=True):
    ALIASES: ClassVar = {"id": "job_id"}

    job_id: str | None = None
    limit: Annotated[int, Meta(ge=1)] = 20
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class EntryPage(Struct, kw_only=True):
    entries: list[CronEntry]
    total: int


class Preview(Struct, kw_only=True):
    """`schedule` is an expression of five fields, or a schedule as JSON."""

    schedule: Annotated[str, Meta(min_length=1, max_length=1000)]
    tz: Annotated[str, Meta(max_length=64)] = ""


class Upcoming(Struct, kw_only=True):
    times: list[datetime]


@operation(Rpc("cron.list", Role.VIEWER))
async def list_jobs(ctx: Context, ask: ListJobs) -> JobList:
    """List scheduled jobs by name: your own, or all for admins."""
    agent = (await resolve_agent(ctx, ask.agent_id)).id if ask.agent_id else None
    rows = await ctx.db(
        cron.page, tenant=ctx.caller.tenant_id, user=_whose(ctx), agent=agent, disabled=ask.include_disabled
    )
    return JobList(jobs=[job_of(row) for row in rows], status=await _figures(ctx))


@operation(Rpc("cron.create", Role.OPERATOR))
async def create(ctx: Context, ask: CreateJob) -> MadeJob:
    """Make a job that runs by schedule, under your name."""
    agent = await resolve_agent(ctx, ask.agent_id or None)
    id = ctx.new_id()
    schedule, columns = _schedule(ctx, ask.schedule, id)
    once = ask.schedule.kind == "at"
    enabled = ask.enabled is not False
    values = {
        "agent": agent.id,
        "name": ask.name,
        "enabled": enabled,
        "payload": _payload(ctx, ask.message),
        "timeout_sec": ask.timeout_sec or None,
        "delete_after_run": once if ask.delete_after_run is UNSET else ask.delete_after_run,
        "stateless": ask.stateless is not False,
        **_delivery(ask.deliver is True, ask.channel or "", ask.to or ""),
        "wake_heartbeat": ask.wake_heartbeat is True,
        "next_run_at": first(schedule, ctx.now()) if enabled else None,
        **columns,
    }
    made = await ctx.db(cron.add, id=id, tenant=ctx.caller.tenant_id, user=ctx.user_id, **values)
    if made == "exists":
        raise Rejected(already_exists("cron_job", ask.name))
    if made == "full":
        raise Rejected(exhausted("cron_jobs"))
    _changed(ctx, made, "created")
    return MadeJob(job=job_of(made))


@operation(Rpc("cron.update", Role.OPERATOR))
async def update(ctx: Context, ask: UpdateJob) -> MadeJob:
    """Change a job. What is not named stays; in both places, the patch wins."""
    job = await _own(ctx, ask.job_id)
    changes = _merged(ask)
    enabled = job.enabled if changes.enabled is UNSET else changes.enabled
    if changes.schedule is UNSET:
        schedule, columns = job.schedule(_zone(ctx)), _columns_of(job)
    else:
        schedule, columns = _schedule(ctx, changes.schedule, job.id)
    if enabled and not job.enabled:
        _check(ctx, schedule)  # a single time that is over cannot come again
    agent = job.agent_id if changes.agent_id is UNSET else (await resolve_agent(ctx, changes.agent_id or None)).id
    payload = job.payload if changes.message is UNSET else _payload(ctx, changes.message)
    values = {
        "agent": agent,
        "name": job.name if changes.name is UNSET else changes.name,
        "enabled": enabled,
        "payload": payload,
        "timeout_sec": job.timeout_sec if changes.timeout_sec is UNSET else changes.timeout_sec,
        "delete_after_run": _or(changes.delete_after_run, job.delete_after_run),
        "stateless": _or(changes.stateless, job.stateless),
        **_delivery(
            _or(changes.deliver, job.deliver),
            _or(changes.channel, job.deliver_channel or ""),
            _or(changes.to, job.deliver_to or ""),
        ),
        "wake_heartbeat": _or(changes.wake_heartbeat, job.wake_heartbeat),
        "reschedule": enabled != job.enabled or changes.schedule is not UNSET,
        "next_run_at": first(schedule, ctx.now()) if enabled else None,
        **columns,
    }
    return MadeJob(job=job_of(await _change(ctx, job, values)))


@operation(Rpc("cron.delete", Role.OPERATOR), Cli("cron delete"), Cli("cron remove"))
async def delete(ctx: Context, ask: JobId) -> Deleted:
    """Delete a job and its log. A run of it that works goes on."""
    job = await _own(ctx, ask.job_id)
    await ctx.db(cron.remove, tenant=ctx.caller.tenant_id, id=job.id)
    _changed(ctx, job, "deleted")
    return Deleted()


@operation(Rpc("cron.toggle", Role.OPERATOR))
async def toggle(ctx: Context, ask: ToggleJob) -> Toggled:
    """Switch a job on or off; without `enabled` the other way."""
    job = await _own(ctx, ask.job_id)
    enabled = not job.enabled if ask.enabled is None else ask.enabled
    if enabled != job.enabled:
        await update(ctx, UpdateJob(job_id=job.id, enabled=enabled))
    return Toggled(job_id=job.id, enabled=enabled)


@operation(Rpc("cron.status", Role.VIEWER), Cli("cron status"))
async def status(ctx: Context, ask: AskStatus) -> CronFigures | CronState:
    """How many jobs there are and what is next; or the state of one job."""
    if ask.job_id is not None:
        return state_of(await _own(ctx, ask.job_id))
    return await _figures(ctx)


@operation(Rpc("cron.run", Role.OPERATOR))
async def run(ctx: Context, ask: RunNow) -> RanJob:
    """Run a job now, `force`, or only if it is `due`. Answers when the run is stored."""
    job = await _own(ctx, ask.job_id)
    if ctx.house.draining:
        raise Rejected(unavailable("shutting_down"))
    message = RunJob(tenant_id=ctx.caller.tenant_id, job_id=job.id, only_due=ask.mode == "due")
    ran: Ran = await ctx.ask(CRON, message, within=ASK)
    return RanJob(ok=True, ran=bool(ran.run_id), run_id=ran.run_id or None)


@operation(Rpc("cron.runs", Role.VIEWER))
async def list_runs(ctx: Context, ask: ListRuns) -> EntryPage:
    """Read the run log of a job, or of all of yours, newest first."""
    job = (await _own(ctx, ask.job_id)).id if ask.job_id is not None else None
    tenant, user = ctx.caller.tenant_id, _whose(ctx)
    limit = min(ask.limit, PAGE)
    rows = await ctx.db(cron.log, tenant=tenant, user=user, job=job, limit=limit, offset=ask.offset)
    total = await ctx.db(cron.logged, tenant=tenant, user=user, job=job)
    return EntryPage(entries=[entry_of(row) for row in rows], total=total)


@operation(Http("GET /v1/cron/preview", Role.VIEWER))
async def preview(ctx: Context, ask: Preview) -> Upcoming:
    """The next five times of a schedule, or what is wrong with it."""
    text = ask.schedule.strip()
    if text.startswith("{"):
        try:
            wanted = msgspec.json.decode(text, type=CronSchedule)
        except msgspec.DecodeError as error:
            raise Rejected(invalid("schedule", str(error).replace("`", "")[:200])) from None
    else:
        wanted = CronSchedule(kind="cron", expr=text, tz=ask.tz)
    schedule, _ = _schedule(ctx, wanted, "")
    return Upcoming(times=upcoming(schedule, ctx.now(), SHOWN))


# --- parts ----------------------------------------------------------------------------------------


def _whose(ctx: Context) -> str | None:
    """Whose jobs the caller sees; None for all of them."""
    return None if ctx.caller.is_admin else ctx.user_id


async def _own(ctx: Context, id: str) -> Job:
    """The job, if the caller may see it. Refused as not found otherwise."""
    job = await ctx.db(cron.get, tenant=ctx.caller.tenant_id, id=id) if _is_id(id) else None
    if job is None or _whose(ctx) not in (None, job.user_id):
        raise Rejected(not_found("cron_job", id[:100]))
    return job


async def _change(ctx: Context, job: Job, values: dict[str, Any]) -> Job:
    changed = await ctx.db(cron.change, tenant=ctx.caller.tenant_id, id=job.id, version=job.version, **values)
    if changed is None:
        raise Rejected(failed_precondition("changed_meanwhile"))
    if changed == "exists":
        raise Rejected(already_exists("cron_job", str(values["name"])))
    _changed(ctx, changed, "updated")
    return changed


def _changed(ctx: Context, job: Job, action: Action) -> None:
    """It is stored: the ticker looks again, watchers and history hear of it."""
    ctx.system.tell(CRON, Look())
    event = news(job.id, job.name, job.agent_id, job.user_id, action, nextRunAtMs=epoch_ms(job.next_run_at))
    for group in (of_user(job.tenant_id, job.user_id), of_admins(job.tenant_id)):
        ctx.system.publish(group, event)
    record(ctx, f"cron.{action}", "cron_job", job.id, name=job.name)


async def _figures(ctx: Context) -> CronFigures:
    found = await ctx.db(cron.figures, tenant=ctx.caller.tenant_id, user=_whose(ctx))
    return CronFigures(
        enabled=ctx.house.settings.cron.enabled,
        running=found.running,
        jobs=found.jobs,
        next_run_at_ms=epoch_ms(found.next_run_at),
    )


def _merged(ask: UpdateJob) -> Wanted:
    """The patch over the members beside it."""
    beside = {name: getattr(ask, name) for name in Wanted.__struct_fields__}
    patch = decode(Wanted, ask.patch)
    given = {name: getattr(patch, name) for name in Wanted.__struct_fields__}
    return Wanted(**{name: beside[name] if given[name] is UNSET else given[name] for name in beside})


def _schedule(ctx: Context, wanted: CronSchedule, id: str) -> tuple[Schedule, dict[str, Any]]:
    """A schedule that can be due, and its columns. Refuses what cannot."""
    schedule = Schedule(
        kind=wanted.kind,
        at=None if wanted.at_ms is None else datetime.fromtimestamp(wanted.at_ms / 1000, UTC),
        every=None if wanted.every_ms is None else timedelta(milliseconds=min(wanted.every_ms, 10**13)),
        expr=wanted.expr,
        zone=wanted.tz or _zone(ctx),
        stagger=stagger_of(id, wanted.stagger_ms),
    )
    _check(ctx, schedule)
    kind = wanted.kind
    return schedule, {
        "schedule_kind": kind,
        "run_at": schedule.at if kind == "at" else None,
        "interval_ms": wanted.every_ms if kind == "every" else None,
        "cron_expression": wanted.expr if kind == "cron" else None,
        "timezone": wanted.tz or "",
        "stagger_ms": wanted.stagger_ms,
    }


def _check(ctx: Context, schedule: Schedule) -> None:
    try:
        checked(schedule, ctx.now(), shortest=EVERY if ctx.caller.is_admin else EVERY_OTHERS)
    except Unscheduled as refusal:
        raise Rejected(invalid(refusal.field, refusal.reason)) from None


def _columns_of(job: Job) -> dict[str, Any]:
    names = ("schedule_kind", "run_at", "interval_ms", "cron_expression", "timezone", "stagger_ms")
    return {name: getattr(job, name) for name in names}


def _zone(ctx: Context) -> str:
    return ctx.house.settings.cron.default_timezone


def _payload(ctx: Context, text: str) -> dict[str, Any]:
    """What is said, as it was written, and what its runs want for themselves."""
    if not text.strip():
        raise Rejected(required("message"))
    message = cut(ctx, text)[0]
    wants = wanted(ctx, "cron", message)
    payload: dict[str, Any] = {"message": message}
    if wants.text != message:
        payload["said"] = wants.text  # without the directive
    if wants.keys:
        payload |= {"keys": list(wants.keys), "keys_inferred": wants.inferred}
    return payload


def _delivery(deliver: bool, channel: str, to: str) -> dict[str, Any]:
    """Where the answer goes. Refuses a delivery to nowhere."""
    if deliver and not channel:
        raise Rejected(required("channel"))
    if deliver and not to:
        raise Rejected(required("to"))
    return {"deliver": deliver, "deliver_channel": channel or None, "deliver_to": to or None}


def _or(given: Any, kept: Any) -> Any:
    return kept if given is UNSET else given


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
