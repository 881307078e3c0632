"""Tasks over HTTP: runs of the kind `task` and no others (edge-http.md §23). On the socket `tasks.*` is `runs.*`."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, not_found
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, operation
from goclaw.operations.run_rows import Run
from goclaw.operations.runs import (
    CancelRun,
    GetRun,
    ListEvents,
    ListRuns,
    RunPage,
    RunTrail,
    cancel,
    get,
    list_events,
    list_runs,
    run_seen,
)


class TaskPage(Struct, kw_only=True):
    tasks: list[Run]
    total: int
    limit: int
    offset: int


def as_tasks(page: RunPage) -> TaskPage:
    return TaskPage(tasks=page.runs, total=page.total, limit=page.limit, offset=page.offset)


@operation(Http("GET /v1/tasks", Role.VIEWER, reply=as_tasks))
async def list_tasks(ctx: Context, ask: ListRuns) -> RunPage:
    """List tasks, newest first. Who is no admin sees their own."""
    return await list_runs(ctx, replace(ask, kind="task"))


@operation(Http("GET /v1/tasks/{run_id}", Role.VIEWER))
async def get_task(ctx: Context, ask: GetRun) -> Run:
    """Show a task, with its result once it has one."""
    await task_seen(ctx, ask)
    return await get(ctx, ask)


@operation(Http("GET /v1/tasks/{run_id}/events", Role.VIEWER))
async def list_task_events(ctx: Context, ask: ListEvents) -> RunTrail:
    """Read what befell a task, oldest first."""
    await task_seen(ctx, ask)
    return await list_events(ctx, ask)


@operation(Http("POST /v1/tasks/{run_id}/cancel", Role.OPERATOR))
async def cancel_task(ctx: Context, ask: CancelRun) -> Run:
    """Stop a task."""
    await task_seen(ctx, ask)
    return await cancel(ctx, ask)


async def task_seen(ctx: Context, ask: GetRun) -> None:
    """Refuses runs of other kinds as not found."""
    row = await run_seen(ctx, ask.run_id)
    if row.kind != "task":
        raise Rejected(not_found("task", row.run_id))
