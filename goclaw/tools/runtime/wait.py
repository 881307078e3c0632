"""Letting time pass. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated

import trio
from msgspec import Meta, Struct

from goclaw.tools.tool import Effect, ToolContext, tool

LONGEST = 300  # seconds


class Wait(Struct):
    seconds: Annotated[float, Meta(ge=0.1, le=LONGEST)]
    reason: Annotated[str, Meta(max_length=200)] | None = None


@tool(group="runtime", effect=Effect.PURE, timeout=LONGEST + 10)
async def wait(ctx: ToolContext, ask: Wait) -> str:
    """Wait some seconds, for something that takes its time. For longer waits set a reminder."""
    await trio.sleep(ask.seconds)
    return f"waited {ask.seconds:g}s"
