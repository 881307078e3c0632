"""Tools whose effects can be counted afterwards, one of each class. The gateway's process finds them by name."""

from __future__ import annotations

import os
from typing import Annotated

import httpx
import msgspec
from msgspec import Meta, Struct

from goclaw.tools.tool import Effect, Settled, ToolContext, tool

LINES = "effects"  # file in the workspace
TARGET = "PROOF_TARGET"  # variable: the URL that takes keyed calls


class Mark(Struct):
    mark: Annotated[str, Meta(min_length=1, max_length=200, description="one line")]


class Taken(Struct):
    marks: list[str]  # that came under the key so far


@tool(group="proof", effect=Effect.PURE)
async def echo_mark(ctx: ToolContext, ask: Mark) -> str:
    """Say the mark again."""
    return f"echoed {ask.mark}"


@tool(group="proof", effect=Effect.UNSAFE)
async def append_line(ctx: ToolContext, ask: Mark) -> str:
    """Append a line to a file. Doing it twice leaves two lines."""
    _append(ctx, ask.mark)
    return f"did {ask.mark}"


@tool(group="proof", effect=Effect.KEYED)
async def post_once(ctx: ToolContext, ask: Mark) -> str:
    """Hand the mark to a service that acts once for every key."""
    await _post(ctx.key, ask.mark)
    return f"did {ask.mark}"


async def _paid(ctx: ToolContext, ask: Mark, before: str) -> Settled:
    taken = await _post(ctx.key, "")
    return Settled(bool(taken.marks), f"did {ask.mark}")


@tool(group="proof", effect=Effect.CHECKABLE, settle=_paid)
async def pay(ctx: ToolContext, ask: Mark) -> str:
    """Hand the mark to a service that can be asked whether it has it."""
    await _post(ctx.key, ask.mark)
    return f"did {ask.mark}"


async def _count(ctx: ToolContext, ask: Mark) -> str:
    return str(len(_read(ctx)))


async def _written(ctx: ToolContext, ask: Mark, before: str) -> Settled:
    lines = _read(ctx)
    untouched = str(len(lines)) == before
    return Settled(True if ask.mark in lines else False if untouched else None, f"did {ask.mark}")


@tool(group="proof", effect=Effect.LOCAL, before=_count, settle=_written)
async def write_note(ctx: ToolContext, ask: Mark) -> str:
    """Append a line to a file that can be looked at afterwards."""
    _append(ctx, ask.mark)
    return f"did {ask.mark}"


def _read(ctx: ToolContext) -> list[str]:
    place = ctx.workspace.root / LINES
    return place.read_text().splitlines() if place.exists() else []


def _append(ctx: ToolContext, line: str) -> None:
    descriptor = os.open(ctx.workspace.root / LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


async def _post(key: str, mark: str) -> Taken:
    """Without a mark: only ask."""
    async with httpx.AsyncClient() as http:
        answer = await http.post(os.environ[TARGET], json={"mark": mark}, headers={"idempotency-key": key})
        return msgspec.json.decode(answer.content, type=Taken)
