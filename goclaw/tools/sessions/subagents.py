"""Looking after one's subagents. Contract: tools.md §10, orchestration.md §3."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from goclaw.tools.sessions.children import LONGEST, WAIT, act
from goclaw.tools.sessions.spawn import SLOT
from goclaw.tools.subagents import Subagents
from goclaw.tools.tool import Effect, ToolContext, tool


class LookAfter(Struct):
    action: Literal["list", "info", "cancel", "steer", "wait", "log", "history"]
    id: Annotated[str, Meta(max_length=64)] | None = None
    message: Annotated[str, Meta(max_length=32_000)] | None = None
    timeout: Annotated[int, Meta(ge=1, le=LONGEST)] = WAIT
    recent_minutes: Annotated[int, Meta(ge=1)] | None = None


@tool(
    group="sessions",
    effect=Effect.KEYED,
    reads=("list", "info", "wait", "log", "history"),
    timeout=LONGEST + SLOT,
)
async def subagents(ctx: ToolContext, ask: LookAfter, children: Subagents) -> str:
    """List your subagents, read what one did, give it another instruction, end it, or wait for results.

    `id` is an id, `#n` of the list, `last` or `all`.
    """
    return await act(
        ctx,
        children,
        ask.action,
        id=ask.id,
        message=ask.message,
        timeout=ask.timeout,
        recent=ask.recent_minutes,
    )
