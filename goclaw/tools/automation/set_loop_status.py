"""What a loop is at, in a few words. Contract: tools.md §10, durability.md §8.3."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

KEPT = 200  # characters; data-model.md `loop_checkpoints.status_text`


class SetLoopStatus(Struct):
    status: Annotated[str, Meta(max_length=500)]


@tool(group="automation", effect=Effect.KEYED)
async def set_loop_status(ctx: ToolContext, ask: SetLoopStatus) -> str:
    """Say in a few words what you are at; only while you go on by yourself."""
    if ctx.progress is None or ctx.progress.step() is None:
        raise ToolFailed("unsupported", "this run does not go on by itself")
    await ctx.progress.tell(ask.status[:KEPT])
    return msgspec.json.encode({"updated": True}).decode()
