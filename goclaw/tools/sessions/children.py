"""What an agent may do with its subagents once they are there. Contract: orchestration.md §3.1."""

from __future__ import annotations

from typing import Any

import msgspec

from goclaw.domain.subagent import RESULT, Subagent
from goclaw.tools.subagents import Subagents
from goclaw.tools.tool import ToolContext, ToolFailed

WAIT = 300  # seconds, unless the call says otherwise
LONGEST = 600


def said(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def act(
    ctx: ToolContext,
    children: Subagents,
    action: str,
    *,
    id: str | None,
    message: str | None,
    timeout: int,
    recent: int | None,
) -> str:
    match action:
        case "list":
            return said(await _list(ctx, children, recent))
        case "info":
            rows = await _chosen(ctx, children, id or "all", recent=recent)
            shown = await children.known(ctx.asker, ids=[row.id for row in rows], most=RESULT)
            records = [record(row) for row in shown]
            return said(records[0] if id not in (None, "all") and records else {"subagents": records})
        case "log" | "history":
            row = await _one(ctx, children, id)
            return said({"id": row.id, "label": row.label, "log": await children.log(ctx.asker, row.run_id)})
        case "cancel" | "kill":
            rows = await _chosen(ctx, children, _named(id))
            running = [row.id for row in rows if not row.over]
            if running:
                await children.stop(ctx.asker, running)
            return said({"cancelled": running, "not_running": [row.id for row in rows if row.over]})
        case "steer" | "send":
            if not (message or "").strip():
                raise ToolFailed("invalid_args", "bad_request: message is missing; what shall it do instead?")
            row = await _one(ctx, children, id)
            steered = await children.steer(ctx.asker, row.id, ctx.key, message or "")
            return said({"status": "steered", "id": steered.id, "generation": steered.generation})
        case _:
            return said(await _wait(ctx, children, id or "all", timeout))


async def _list(ctx: ToolContext, children: Subagents, recent: int | None) -> dict[str, Any]:
    rows = await children.known(ctx.asker, recent=recent)
    shown = [
        {
            "n": row.n,
            "id": row.id,
            "label": row.label,
            "status": row.status,
            "model": row.model,
            "elapsed_ms": row.elapsed_ms,
            "steers": row.steers,
        }
        for row in rows
    ]
    active = sum(not row.over for row in rows)
    return {"subagents": shown, "active": active, "limit": await children.limit(ctx.asker)}


async def _wait(ctx: ToolContext, children: Subagents, id: str, timeout: int) -> dict[str, Any]:
    rows = await _chosen(ctx, children, id)
    ids = [row.id for row in rows if id != "all" or not row.over]
    await children.wait(ctx.asker, ctx.run_id, ids, timeout)
    after = await children.known(ctx.asker, ids=ids, most=RESULT)
    pending = [row.id for row in after if not row.over]
    return {"done": [result(row) for row in after if row.over], "pending": pending, "timed_out": bool(pending)}


def result(row: Subagent) -> dict[str, Any]:
    return {
        "status": row.status,
        "id": row.id,
        "label": row.label,
        "content": row.content,
        **({"error": row.error} if row.error else {}),
        "iterations": row.iterations,
        "tokens": {"input": row.input_tokens, "output": row.output_tokens},
        "elapsed_ms": row.elapsed_ms,
    }


def record(row: Subagent) -> dict[str, Any]:
    more = {"n": row.n, "task": row.task, "model": row.model, "generation": row.generation, "steers": row.steers}
    return {**result(row), **more}


def _named(id: str | None) -> str:
    if not id:
        raise ToolFailed("invalid_args", "bad_request: id is missing; an id, #n of the list, last or all")
    return id


async def _one(ctx: ToolContext, children: Subagents, id: str | None) -> Subagent:
    rows = await _chosen(ctx, children, _named(id))
    if len(rows) != 1:
        raise ToolFailed("invalid_args", "bad_request: this is about one subagent; give its id")
    return rows[0]


async def _chosen(ctx: ToolContext, children: Subagents, selector: str, *, recent: int | None = None) -> list[Subagent]:
    """`all`, `last`, `#n`, an id or the first 8 characters of one."""
    rows = await children.known(ctx.asker, recent=recent)
    if selector == "all":
        return rows
    if selector == "last":
        found = rows[-1:]
    elif selector.startswith("#"):
        found = [row for row in rows if selector[1:] == str(row.n)]
    else:
        found = [row for row in rows if len(selector) >= 8 and row.id.startswith(selector.lower())]
    if not found:
        raise ToolFailed("not_found", f"there is no subagent {selector}; list shows yours")
    if len(found) > 1:
        raise ToolFailed("invalid_args", f"ambiguous_id: {selector} is the beginning of several; give the whole id")
    return found
