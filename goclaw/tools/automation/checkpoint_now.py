"""What a loop has done so far is kept. Contract: tools.md §10, durability.md §8.3.

Every step is in the database before it is acted on, so there is nothing left to do.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool


class CheckpointNow(Struct):
    reason: Annotated[str, Meta(max_length=500)] | None = None


@tool(group="automation", effect=Effect.PURE)
async def checkpoint_now(ctx: ToolContext, ask: CheckpointNow) -> str:
    """Make sure that the work so far is kept; only while you go on by yourself."""
    step = ctx.progress.step() if ctx.progress is not None else None
    if step is None:
        raise ToolFailed("unsupported", "this run does not go on by itself")
    return msgspec.json.encode({"saved": True, "step": step}).decode()
