"""Jobs that run by schedule, for agents. Contract: tools.md §10, sessions-lanes-cron.md §5.3."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.cron import NAME
from goclaw.domain.errors import Rejected
from goclaw.tools.methods import Methods
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

NAMES = 100  # tries for a name that is free
JOB = (
    '{"name":"a-slug","schedule":{"kind":"at","atMs":…} or {"kind":"every","everyMs":…} or '
    '{"kind":"cron","expr":"0 9 * * 1-5","tz":"Europe/Paris"},"message":"what to do"}; '
    "instead of message: promptFile, a path in the workspace; may also have agentId, enabled, "
    "deliver, channel, to, stateless, wakeHeartbeat, deleteAfterRun, timeoutSec"
)
SHAPES = {
    "add": f'{{"action":"add","job":{JOB}}}',
    "update": '{"action":"update","jobId":"…","patch":{…}} with the members of a job that change',
    "remove": '{"action":"remove","jobId":"…"}',
    "run": '{"action":"run","jobId":"…","runMode":"due" or "force"}',
}
MEMBERS = {"name", "schedule", "message", "promptFile", "agentId", "enabled", "deliver", "channel", "to", "stateless"}
MEMBERS |= {"wakeHeartbeat", "deleteAfterRun", "timeoutSec"}
SCHEDULE = {"kind", "atMs", "everyMs", "expr", "tz", "staggerMs"}

JobId = Annotated[str, Meta(max_length=64)]


class Cron(Struct, rename="camel"):
    action: Literal["status", "list", "add", "update", "remove", "run", "runs"]
    include_disabled: bool = False
    job: Annotated[dict[str, Any], Meta(description=JOB)] | None = None
    job_id: JobId | None = None
    patch: Annotated[dict[str, Any], Meta(description="members of a job")] | None = None
    run_mode: Literal["due", "force"] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 20


@tool(
    group="automation",
    effect=Effect.KEYED,
    reads=("status", "list", "runs"),
    not_in=("cron", "subagent"),  # nothing multiplies itself (§5.3)
)
async def cron(ctx: ToolContext, ask: Cron, methods: Methods) -> str:
    """Manage jobs that run later or again and again: list, add, update, remove, run one now, read the log of runs.

    Changes are made once, however often a call is repeated under its key.
    """
    said = await _asked(ctx, ask, methods)
    return msgspec.json.encode(said).decode()


async def _asked(ctx: ToolContext, ask: Cron, methods: Methods) -> dict[str, Any]:
    of = {} if ask.job_id is None else {"jobId": ask.job_id}
    match ask.action:
        case "status":
            return await methods.call(ctx.asker, "cron.status", of)
        case "list":
            return await methods.call(ctx.asker, "cron.list", {"includeDisabled": ask.include_disabled})
        case "runs":
            return await methods.call(ctx.asker, "cron.runs", {**of, "limit": ask.limit})
        case "add":
            return await _add(ctx, _job(ask.job, "add"), methods)
        case "update":
            changes = _job(ask.patch, "update")
            return await _scheduled(ctx, methods, "cron.update", {**_one(ask), "patch": changes})
        case "remove":
            return await _remove(ctx, _one(ask), methods)
        case "run":
            params = {**_one(ask), "mode": ask.run_mode or "due"}
            return await methods.call(ctx.asker, "cron.run", params, key=ctx.key)


async def _add(ctx: ToolContext, job: dict[str, Any], methods: Methods) -> dict[str, Any]:
    """A new job of the asker's agent; its answers go to the chat they talk in. A name that is taken gets a number."""
    if ctx.asker.channel:
        job = {"deliver": True, "channel": ctx.asker.channel, "to": ctx.asker.chat_id, **job}
    job = {"stateless": False, **job}
    name = job.get("name")
    for number in range(2, NAMES):
        try:
            return await _scheduled(ctx, methods, "cron.create", job)
        except Rejected as refusal:
            if refusal.err.code != "ALREADY_EXISTS":
                raise
        ending = f"-{number}"
        job["name"] = f"{str(name)[: NAME - len(ending)]}{ending}"
    raise ToolFailed("conflict", f"every name like {name} is taken; choose another")


async def _remove(ctx: ToolContext, of: dict[str, Any], methods: Methods) -> dict[str, Any]:
    try:
        return await methods.call(ctx.asker, "cron.delete", of)
    except Rejected as refusal:
        if ctx.again and refusal.err.code == "NOT_FOUND":  # we were here before
            return {"deleted": True}
        raise


async def _scheduled(ctx: ToolContext, methods: Methods, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The answer; who names a time that is over is told what time it is."""
    try:
        return await methods.call(ctx.asker, method, params, key=ctx.key)
    except Rejected as refusal:
        if refusal.err.details.get("field") != "schedule.atMs":
            raise
        now = ctx.now()
        told = f"{refusal.err.details['reason']}; now is {int(now.timestamp() * 1000)} ms ({now:%Y-%m-%dT%H:%M:%SZ})"
        raise ToolFailed("invalid_args", f"schedule.atMs: {told}") from None


def _one(ask: Cron) -> dict[str, Any]:
    if ask.job_id is None:
        raise ToolFailed("invalid_args", f"jobId is missing; the right shape is {SHAPES[ask.action]}")
    return {"jobId": ask.job_id}


def _job(given: dict[str, Any] | None, action: Literal["add", "update"]) -> dict[str, Any]:
    """The members of a job, each where it belongs; tabs become spaces."""
    where = "job" if action == "add" else "patch"
    if not given:
        raise ToolFailed("invalid_args", f"{where} is missing; the right shape is {SHAPES[action]}")
    schedule = given.get("schedule")
    inside = set(schedule) if isinstance(schedule, dict) else set()
    strange = sorted({*(set(given) - MEMBERS), *(f"schedule.{name}" for name in inside - SCHEDULE)})
    if strange:
        names = ", ".join(name[:64] for name in strange[:10])
        told = f"{names} does not belong into {where}; the right shape is {SHAPES[action]}"
        raise ToolFailed("invalid_args", told)
    return {name: value.replace("\t", " ") if isinstance(value, str) else value for name, value in given.items()}
