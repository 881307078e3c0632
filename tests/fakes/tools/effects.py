"""Tools whose effects can be counted afterwards, one of each class. The gateway's process finds them by name."""

from __future__ import annotations

import os
from typing import Annotated

import httpx
from msgspec import Meta, Struct

from goclaw.tools.tool import Effect, ToolContext, tool

LINES = "effects"  # file in the workspace
TARGET = "PROOF_TARGET"  # variable: the URL that takes keyed calls


class Mark(Struct):
    mark: Annotated[str, Meta(min_length=1, max_length=200, description="one line")]


@tool(group="proof", effect=Effect.UNSAFE)
async def append_line(ctx: ToolContext, ask: Mark) -> str:
    """Append a line to a file. Doing it twice leaves two lines."""
    descriptor = os.open(ctx.workspace.root / LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{ask.mark}\n".encode())
    finally:
        os.close(descriptor)
    return f"appended {ask.mark}"


@tool(group="proof", effect=Effect.UNSAFE)
async def post_keyed(ctx: ToolContext, ask: Mark) -> str:
    """Hand the mark to a service that takes every key once."""
    async with httpx.AsyncClient() as http:
        answer = await http.post(os.environ[TARGET], json={"mark": ask.mark})
        return answer.text


@tool(group="proof", effect=Effect.SAFE)
async def echo_mark(ctx: ToolContext, ask: Mark) -> str:
    """Say the mark again."""
    return f"echoed {ask.mark}"
