"""Handing work to a copy of oneself. Contract: tools.md §10, orchestration.md §3."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from goclaw.domain.subagent import SUBJECT
from goclaw.tools.sessions.children import LONGEST, WAIT, act, result, said
from goclaw.tools.subagents import Subagents
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

SLOT = 3600  # seconds a run that waited may have to wait for its slot


class Spawn(Struct):
    action: Literal["spawn", "list", "info", "cancel", "kill", "steer", "send", "wait", "log"] = "spawn"
    task: Annotated[str, Meta(min_length=1, max_length=32_000)] | None = None
    mode: Literal["async", "sync", "run"] = "async"
    label: Annotated[str, Meta(max_length=100)] | None = None
    model: Annotated[str, Meta(max_length=200)] | None = None
    id: Annotated[str, Meta(max_length=64)] | None = None
    message: Annotated[str, Meta(max_length=32_000)] | None = None
    timeout: Annotated[int, Meta(ge=1, le=LONGEST)] = WAIT
    recent_minutes: Annotated[int, Meta(ge=1)] | None = None
    detached: bool = False
    agent: Annotated[str, Meta(max_length=100)] | None = None
    role: Annotated[str, Meta(max_length=64)] | None = None
    pipeline_id: Annotated[str, Meta(max_length=64)] | None = None
    task_id: Annotated[str, Meta(max_length=64)] | None = None


@tool(
    group="sessions",
    effect=Effect.KEYED,
    reads=("list", "info", "wait", "log"),
    not_in=("replay", "summary", "flush", "selfcheck"),
    timeout=LONGEST + SLOT,
)
async def spawn(ctx: ToolContext, ask: Spawn, children: Subagents) -> str:
    """Hand a task to a subagent: a copy of you with its own conversation, in your workspace.

    `async`: it works on, and you are told its result when it is done; do not poll. `sync`: wait for the result.
    """
    if ask.action != "spawn":
        return await act(
            ctx,
            children,
            ask.action,
            id=ask.id,
            message=ask.message,
            timeout=ask.timeout,
            recent=ask.recent_minutes,
        )
    if ask.agent:
        raise ToolFailed("invalid_args", "use_delegate: spawn makes copies of you; for another agent call delegate")
    if ask.pipeline_id or ask.task_id:
        raise ToolFailed("not_found", "there is no such pipeline; leave pipeline_id and task_id out")
    task = (ask.task or "").strip()
    if not task:
        raise ToolFailed("invalid_args", "bad_request: task is missing; what shall it do?")
    sync = ask.mode != "async"
    born = await children.spawn(
        ctx.asker,
        ctx.run_id,
        ctx.key,
        task=task,
        label=(ask.label or ask.role or task[:SUBJECT]).strip(),
        role=ask.role or "",
        model=ask.model or "",
        detached=ask.detached and not sync,
        announces=not sync,
        depth=ctx.depth,
    )
    if not sync:
        accepted = {
            "status": "accepted",
            "id": born.id,
            "label": born.label,
            "active": born.active,
            "limit": born.limit,
        }
        return said({**accepted, "note": "You will be told its result. Do not poll; go on or end your turn."})
    await children.wait(ctx.asker, ctx.run_id, [born.id], ask.timeout)
    (row,) = await children.known(ctx.asker, ids=[born.id], most=ctx.most)
    if not row.over:
        await children.announce(ctx.asker, row.id)
        late = f"it works on after {ask.timeout} s as {row.id}; you will be told its result, or cancel it"
        raise ToolFailed("timeout", late)
    return said(result(row))
