"""Scheduled jobs: make, change, switch, delete. Contract: edge-websocket.md §7.7."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.access import Role
from goclaw.domain.address import CRON
from goclaw.domain.cron import NAME, Action, Look, epoch_ms, news
from goclaw.domain.errors import Rejected, already_exists, ambiguous, exhausted, failed_precondition, invalid, required
from goclaw.domain.events import of_admins, of_user
from goclaw.domain.schedule import first
from goclaw.operations import resource_keys
from goclaw.operations.activity import record, recorded
from goclaw.operations.context import Context
from goclaw.operations.cron import JobId, agent_of, own
from goclaw.operations.cron_shapes import CronJob, CronSchedule, job_of
from goclaw.operations.cron_times import check, scheduled, zone
from goclaw.operations.once import id_of
from goclaw.operations.operation import Cli, Rpc, operation
from goclaw.operations.params import decode
from goclaw.operations.turns import heard
from goclaw.stores import cron
from goclaw.stores.cron import Job

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]*(?!\n)$", max_length=NAME)]
Text = Annotated[str, Meta(min_length=1)]
File = Annotated[str, Meta(min_length=1, max_length=4096)]


class Wanted(Struct, kw_only=True):
    """What a job is made of; absent members keep what they are, null clears what may be empty."""

    ALIASES: ClassVar = {
        "agent_key": "agent_id",
        "deliver_channel": "channel",
        "deliver_to": "to",
        "id": "job_id",
    }

    name: Name | UnsetType = UNSET
    schedule: CronSchedule | UnsetType = UNSET
    message: Text | UnsetType = UNSET
    prompt_file: File | UnsetType = UNSET  # instead of a message: read in the workspace when the job runs
    agent_id: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    deliver: bool | UnsetType = UNSET
    channel: Annotated[str, Meta(max_length=100)] | UnsetType | None = UNSET
    to: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET
    stateless: bool | UnsetType = UNSET
    wake_heartbeat: bool | UnsetType = UNSET
    delete_after_run: bool | UnsetType = UNSET
    timeout_sec: Annotated[int, Meta(ge=1, le=86_400)] | UnsetType | None = UNSET


class CreateJob(Wanted, kw_only=True):
    name: Name
    schedule: CronSchedule


class MadeJob(Struct, kw_only=True):
    job: CronJob


class UpdateJob(Wanted, kw_only=True):
    job_id: str
    patch: dict[str, Any] = msgspec.field(default_factory=dict)


class Deleted(Struct, kw_only=True):
    deleted: bool = True


class ToggleJob(JobId, kw_only=True):
    enabled: bool | None = None


class Toggled(Struct, rename="camel", kw_only=True):
    job_id: str
    enabled: bool


@operation(Rpc("cron.create", Role.OPERATOR))
@recorded
async def create(ctx: Context, ask: CreateJob) -> MadeJob:
    """Make a job that runs by schedule, under your name."""
    agent = await agent_of(ctx, ask.agent_id or ctx.caller.agent_id or None)
    id = id_of(ctx)
    if ctx.idempotency_key and (before := await ctx.db(cron.get, tenant=ctx.caller.tenant_id, id=id)) is not None:
        return MadeJob(job=job_of(before))
    schedule, columns = scheduled(ctx, ask.schedule, id)
    once = ask.schedule.kind == "at"
    enabled = ask.enabled is not False
    values = {
        "agent": agent.id,
        "name": ask.name,
        "enabled": enabled,
        "payload": await _payload(ctx, ask),
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
    await _changed(ctx, made, "created")
    return MadeJob(job=job_of(made))


@operation(Rpc("cron.update", Role.OPERATOR))
@recorded
async def update(ctx: Context, ask: UpdateJob) -> MadeJob:
    """Change a job. What is not named stays; in both places, the patch wins."""
    job = await own(ctx, ask.job_id)
    changes = _merged(ask)
    enabled = job.enabled if changes.enabled is UNSET else changes.enabled
    if changes.schedule is UNSET:
        schedule, columns = job.schedule(zone(ctx)), _columns_of(job)
    else:
        schedule, columns = scheduled(ctx, changes.schedule, job.id)
    if enabled and not job.enabled:
        check(ctx, schedule)  # a single time that is over cannot come again
    agent = job.agent_id if changes.agent_id is UNSET else (await agent_of(ctx, changes.agent_id or None)).id
    payload = job.payload if (changes.message, changes.prompt_file) == (UNSET, UNSET) else await _payload(ctx, changes)
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
            _or(changes.channel, job.deliver_channel) or "",
            _or(changes.to, job.deliver_to) or "",
        ),
        "wake_heartbeat": _or(changes.wake_heartbeat, job.wake_heartbeat),
        "reschedule": enabled != job.enabled or changes.schedule is not UNSET,
        "next_run_at": first(schedule, ctx.now()) if enabled else None,
        **columns,
    }
    return MadeJob(job=job_of(await _change(ctx, job, values)))


@operation(Rpc("cron.delete", Role.OPERATOR), Cli("cron delete"), Cli("cron remove"))
@recorded
async def delete(ctx: Context, ask: JobId) -> Deleted:
    """Delete a job and its log. A run of it that works goes on."""
    job = await own(ctx, ask.job_id)
    await ctx.db(cron.remove, tenant=ctx.caller.tenant_id, id=job.id)
    await _changed(ctx, job, "deleted")
    return Deleted()


@operation(Rpc("cron.toggle", Role.OPERATOR))
@recorded
async def toggle(ctx: Context, ask: ToggleJob) -> Toggled:
    """Switch a job on or off; without `enabled` the other way."""
    job = await own(ctx, ask.job_id)
    enabled = not job.enabled if ask.enabled is None else ask.enabled
    if enabled != job.enabled:
        await update(ctx, UpdateJob(job_id=job.id, enabled=enabled))
    return Toggled(job_id=job.id, enabled=enabled)


# --- parts ----------------------------------------------------------------------------------------


async def _change(ctx: Context, job: Job, values: dict[str, Any]) -> Job:
    changed = await ctx.db(cron.change, tenant=ctx.caller.tenant_id, id=job.id, version=job.version, **values)
    if changed is None:
        raise Rejected(failed_precondition("changed_meanwhile"))
    if changed == "exists":
        raise Rejected(already_exists("cron_job", str(values["name"])))
    await _changed(ctx, changed, "updated")
    return changed


async def _changed(ctx: Context, job: Job, action: Action) -> None:
    """It is stored: the ticker looks again, watchers and history hear of it."""
    ctx.system.tell(CRON, Look())
    event = news(job.id, job.name, job.agent_id, job.user_id, action, nextRunAtMs=epoch_ms(job.next_run_at))
    for group in (of_user(job.tenant_id, job.user_id), of_admins(job.tenant_id)):
        ctx.system.publish(group, event)
    await record(ctx, f"cron.{action}", "cron_job", job.id, name=job.name)


def _merged(ask: UpdateJob) -> Wanted:
    """The patch over the members beside it."""
    beside = {name: getattr(ask, name) for name in Wanted.__struct_fields__}
    patch = decode(Wanted, ask.patch)
    given = {name: getattr(patch, name) for name in Wanted.__struct_fields__}
    return Wanted(**{name: beside[name] if given[name] is UNSET else given[name] for name in beside})


def _columns_of(job: Job) -> dict[str, Any]:
    names = ("schedule_kind", "run_at", "interval_ms", "cron_expression", "timezone", "stagger_ms")
    return {name: getattr(job, name) for name in names}


async def _payload(ctx: Context, wanted: Wanted) -> dict[str, Any]:
    """What the agent will be told, the message or the file that will hold it, and what its runs want for themselves."""
    if wanted.prompt_file is not UNSET:
        if wanted.message is not UNSET:
            raise Rejected(ambiguous("prompt_file"))
        path = PurePosixPath(wanted.prompt_file)
        if path.is_absolute() or ".." in path.parts or not wanted.prompt_file.isprintable():
            raise Rejected(invalid("prompt_file", "it is no path inside of the workspace"))
        return {"prompt_file": wanted.prompt_file}
    if wanted.message is UNSET or not wanted.message.strip():
        raise Rejected(required("message"))
    message, _ = await heard(ctx, wanted.message)
    wants = resource_keys.wanted(ctx, "cron", message)
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
