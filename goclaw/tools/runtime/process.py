"""See to programs that were left running in the background. Contract: tools.md §10, §13."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import trio
from msgspec import Meta, Struct

from goclaw.domain.process import Facts, Owner, Stroke
from goclaw.tools.approvals import Approvals
from goclaw.tools.processes import Processes
from goclaw.tools.runtime.exec import LONGEST, Exec, checked, owner_of, wish
from goclaw.tools.runtime.rules import Rules
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

WATCH = 30.0  # seconds, unless the call says otherwise
LOOK = 65_536  # bytes looked at at once

Pattern = Annotated[str, Meta(min_length=1, max_length=200)]


class Process(Struct):
    action: Literal["list", "poll", "log", "write", "kill", "watch_patterns"]
    session_id: Annotated[str, Meta(pattern="^p-[0-9]+$")] | None = None
    offset: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=30_000)] = 1200
    timeout_ms: Annotated[int, Meta(ge=0, le=120_000)] | None = None
    interval_ms: Annotated[int, Meta(ge=50, le=5000)] = 250
    patterns: Annotated[list[Pattern], Meta(max_length=20)] | None = None
    case_sensitive: bool = False
    alert_on_exit: bool = True
    data: Annotated[str, Meta(max_length=65_536)] | None = None
    signal: Literal["TERM", "INT", "KILL"] | None = None


async def consent(ctx: ToolContext, ask: Process, rules: Rules, approvals: Approvals, processes: Processes) -> None:
    """What is written to a shell is a command as any other."""
    if ask.action != "write" or ask.session_id is None or not ask.data:
        return
    rules.check_channel(ctx.asker)
    if (await processes.wait(owner_of(ctx.asker), ask.session_id, 0)).shell:
        commands, asks = checked(ctx, ask.data, rules, approvals)
        wanted = wish(ctx, Exec(command=ask.data), commands, forced=asks)
        await approvals.ask(msgspec.structs.replace(wanted, tool="process"))


@tool(
    group="runtime",
    effect=Effect.UNSAFE,
    consent=consent,
    reads=("list", "poll", "log", "watch_patterns"),
    timeout=2 * LONGEST,  # an answer may take as long as any
    most=30_000,
)
async def process(ctx: ToolContext, ask: Process, rules: Rules, approvals: Approvals, processes: Processes) -> str:
    """List background processes, read what one wrote, wait for its end or for a text in it, write to it, or end it."""
    rules.check_channel(ctx.asker)
    owner = owner_of(ctx.asker)
    if ask.action == "list":
        return msgspec.json.encode(await processes.list(owner)).decode()
    if ask.session_id is None:
        raise ToolFailed("invalid_args", f"session_id is missing; {ask.action} is about one process")
    return msgspec.json.encode(await _done(ask, ask.session_id, owner, processes)).decode()


async def _done(ask: Process, id: str, owner: Owner, processes: Processes) -> Any:
    match ask.action:
        case "poll":
            facts = await processes.wait(owner, id, (ask.timeout_ms or 0) / 1000)
            piece = await processes.read(owner, id, ask.offset, ask.limit)
            return {**_state(facts, "started_at", "ended_at"), "log": piece.text, "next_offset": piece.next_offset}
        case "log":
            return msgspec.to_builtins(await processes.read(owner, id, ask.offset, ask.limit))
        case "write":
            if not ask.data:
                raise ToolFailed("invalid_args", "data is missing: what shall be written?")
            return {"written": await processes.write(owner, id, ask.data.encode())}
        case "kill":
            signal: Stroke = ask.signal or "TERM"
            return msgspec.to_builtins(await processes.kill(owner, id, signal))
        case _:
            if not ask.patterns:
                raise ToolFailed("invalid_args", "patterns is missing: which texts shall be watched for?")
            return await _watched(ask, id, owner, ask.patterns, processes)


async def _watched(
    ask: Process, id: str, owner: Owner, patterns: Sequence[str], processes: Processes
) -> dict[str, Any]:
    """Look for one of `patterns` in what is written from `offset` on, until it is there or there is no more hope."""
    began = trio.current_time()
    until = began + (WATCH if ask.timeout_ms is None else ask.timeout_ms / 1000)
    wanted = {pattern if ask.case_sensitive else pattern.casefold(): pattern for pattern in patterns}
    at, seen = ask.offset, ""
    while True:
        facts = await processes.wait(owner, id, 0)
        while (piece := await processes.read(owner, id, at, LOOK)).next_offset > at and piece.text:
            at, seen = piece.next_offset, seen + (piece.text if ask.case_sensitive else piece.text.casefold())
            if found := next((pattern for folded, pattern in wanted.items() if folded in seen), None):
                return _seen(facts, began, at, matched=True, pattern=found)
            seen = seen[-max(map(len, wanted)) :]  # one may be written in two pieces
        if not facts.running:
            return _seen(facts, began, at, matched=False, **({"event": "exit"} if ask.alert_on_exit else {}))
        if (left := until - trio.current_time()) <= 0:
            return _seen(facts, began, at, matched=False, timed_out=True)
        await processes.wait(owner, id, min(ask.interval_ms / 1000, left))


def _seen(facts: Facts, began: float, at: int, **more: Any) -> dict[str, Any]:
    state = _state(facts)
    del state["id"]
    return {**more, **state, "next_offset": at, "elapsed_ms": int((trio.current_time() - began) * 1000)}


def _state(facts: Facts, *more: str) -> dict[str, Any]:
    said = msgspec.to_builtins(facts)
    return {name: said[name] for name in ("id", "running", "exit_code", *more) if name in said}
