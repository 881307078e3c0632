"""Several calls that only read, made at the same time. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import trio
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.chat import ToolCall
from goclaw.tools.ledger import ToolResult
from goclaw.tools.tool import Answer, Effect, ToolContext, ToolFailed, tool


class Inner(Struct, forbid_unknown_fields=True):
    tool: str
    arguments: dict[str, Any]
    id: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class Parallel(Struct):
    calls: Annotated[list[Inner], Meta(min_length=1, max_length=20)]


@tool(group="automation", effect=Effect.PURE, timeout=600.0)
async def parallel(ctx: ToolContext, ask: Parallel) -> Answer:
    """Make several calls of tools that only read at the same time, and return their results by id.

    None of them is made if one is of a tool that must run alone.
    """
    if ctx.calls is None:
        raise ToolFailed("unavailable", "there are no other tools here")
    names = [one.id or f"{number}" for number, one in enumerate(ask.calls, 1)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ToolFailed("invalid_args", f"/calls: the id {twice[0]} is there twice")
    wanted = [
        ToolCall(id=f"{ctx.call_id}.{number}", name=one.tool, arguments=one.arguments)
        for number, one in enumerate(ask.calls, 1)
    ]
    if alone := [call.name for call in wanted if not ctx.calls.beside_others(call)]:
        raise ToolFailed(
            "invalid_args", f"/calls: {alone[0][:64]} is no tool that may run beside others; call it alone"
        )
    results: dict[int, ToolResult] = {}
    limiter = trio.CapacityLimiter(ctx.at_once)
    calls = ctx.calls

    async def one(number: int) -> None:
        async with limiter:
            results[number] = await calls.act(wanted[number])

    async with trio.open_nursery() as nursery:
        for number in range(len(wanted)):
            nursery.start_soon(one, number)
    said = {name: _said(results[number]) for number, name in enumerate(names)}
    return Answer(text=msgspec.json.encode(said).decode(), data=said)


def _said(result: ToolResult) -> dict[str, Any]:
    return {"ok": not result.is_error, "error" if result.is_error else "result": result.text}
