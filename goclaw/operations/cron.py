"""Scheduled jobs: list, run, read their log. Contract: edge-websocket.md §7.7, wire-compat.md E7."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.address import CRON
from goclaw.domain.agent import AgentProfile
from goclaw.domain.cron import Ran, RunJob, epoch_ms
from goclaw.domain.errors import (
    Rejected,
    invalid,
    not_found,
    unavailable,
)
from goclaw.domain.schedule import (
    upcoming,
)
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
from goclaw.operations.cron_times import scheduled
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.turns import resolve_agent
from goclaw.stores import cron
from goclaw.stores.cron import Job

ASK = 10.0  # seconds the ticker has for a run by hand
PAGE = 200  # rows of a log, at most; sessions-lanes-cron.md §5.2
SHOWN = 5  # next times of a preview; dashboard.md §20


class ListJobs(Struct, kw_only=True):
    include_disabled: bool = False
    agent_id: str | None = None


class JobList(Struct, kw_only=True):
    jobs: list[CronJob]
    status: CronFigures


class JobId(Struct, kw_only=True):
    ALIASES: ClassVar = {"id": "job_id"}

    job_id: str


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
    user, agent = whose(ctx)
    if ask.agent_id:
        agent = (await agent_of(ctx, ask.agent_id)).id
    rows = await ctx.db(cron.page, tenant=ctx.caller.tenant_id, user=user, agent=agent, disabled=ask.include_disabled)
    return JobList(jobs=[job_of(row) for row in rows], status=await _figures(ctx))


@operation(Rpc("cron.status", Role.VIEWER), Cli("cron status"))
async def status(ctx: Context, ask: AskStatus) -> CronFigures | CronState:
    """How many jobs there are and what is next; or the state of one job."""
    if ask.job_id is not None:
        return state_of(await own(ctx, ask.job_id))
    return await _figures(ctx)


@operation(Rpc("cron.run", Role.OPERATOR))
async def run(ctx: Context, ask: RunNow) -> RanJob:
    """Run a job now, `force`, or only if it is `due`. Answers when the run is stored."""
    job = await own(ctx, ask.job_id)
    if ctx.house.draining:
        raise Rejected(unavailable("shutting_down"))
    message = RunJob(tenant_id=ctx.caller.tenant_id, job_id=job.id, only_due=ask.mode == "due", key=ctx.idempotency_key)
    ran: Ran = await ctx.ask(CRON, message, within=ASK)
    return RanJob(ok=True, ran=bool(ran.run_id), run_id=ran.run_id or None)


@operation(Rpc("cron.runs", Role.VIEWER))
async def list_runs(ctx: Context, ask: ListRuns) -> EntryPage:
    """Read the run log of a job, or of all of yours, newest first."""
    job = (await own(ctx, ask.job_id)).id if ask.job_id is not None else None
    tenant, (user, agent) = ctx.caller.tenant_id, whose(ctx)
    limit = min(ask.limit, PAGE)
    rows = await ctx.db(cron.log, tenant=tenant, user=user, agent=agent, job=job, limit=limit, offset=ask.offset)
    total = await ctx.db(cron.logged, tenant=tenant, user=user, agent=agent, job=job)
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
    schedule, _ = scheduled(ctx, wanted, "")
    return Upcoming(times=upcoming(schedule, ctx.now(), SHOWN))


# --- parts ----------------------------------------------------------------------------------------


def whose(ctx: Context) -> tuple[str | None, str | None]:
    """Of which user and of which agent the caller sees jobs; None for all. An agent that asks sees its own (§5.3)."""
    return (None, None) if ctx.caller.is_admin else (ctx.user_id, ctx.caller.agent_id or None)


async def agent_of(ctx: Context, name: str | None) -> AgentProfile:
    """The agent a job is or will be of. Refused as not found unless the caller sees its jobs."""
    agent = await resolve_agent(ctx, name)
    if whose(ctx)[1] not in (None, agent.id):
        raise Rejected(not_found("agent", agent.key))
    return agent


async def own(ctx: Context, id: str) -> Job:
    """The job, if the caller may see it. Refused as not found otherwise."""
    job = await ctx.db(cron.get, tenant=ctx.caller.tenant_id, id=id) if _is_id(id) else None
    user, agent = whose(ctx)
    if job is None or user not in (None, job.user_id) or agent not in (None, job.agent_id):
        raise Rejected(not_found("cron_job", id[:100]))
    return job


async def _figures(ctx: Context) -> CronFigures:
    user, agent = whose(ctx)
    found = await ctx.db(cron.figures, tenant=ctx.caller.tenant_id, user=user, agent=agent)
    return CronFigures(
        enabled=ctx.house.settings.cron.enabled,
        running=found.running,
        jobs=found.jobs,
        next_run_at_ms=epoch_ms(found.next_run_at),
    )


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
