"""Calling tools: each call once, each answered once, in order. Contract: agent-loop.md §10."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby

import trio
from msgspec.structs import replace

from goclaw.agent.turn import Draft, Hands, Listener, Task, Turn
from goclaw.domain.chat import ChatMessage, ToolCall
from goclaw.runtime.crashpoint import crash_point
from goclaw.tools.ledger import Place, ToolResult

ID_CHARS = 40  # of a call; agent-loop.md §10.1
STRANDED = "Outcome unknown: the run was stopped while this call was on its way. Verify before you repeat it."


async def act(turn: Turn, step: int, calls: Sequence[tuple[int, ToolCall]]) -> None:
    """Run a batch; results are told and kept in call order, one for every call.

    Neighbours that may run together do, everything else alone and in order (agent-loop.md §10.3).
    """
    task, hands, listener, draft = turn.task, turn.hands, turn.listener, turn.draft
    listener.activity("tool_exec", draft.iterations, [wanted.name for _, wanted in calls])
    for _, wanted in calls:
        listener.tool_call(wanted, draft.iterations)
        draft.open_calls[wanted.id] = wanted
    room = max(0, task.max_tool_calls - draft.calls) if task.max_tool_calls else len(calls)
    for together, group in groupby(calls[:room], lambda one: hands.beside_others(one[1])):
        neighbours = list(group)
        for batch in [neighbours] if together else [[one] for one in neighbours]:
            draft.tool_calls += len(batch)
            results = await _run(step, batch, hands, task.parallel)
            crash_point("effect.done")
            await _close(turn, step, results)
            for _, wanted, result in results:
                _watch(hands, draft, wanted, result)
    text = f"Error: tool budget exhausted ({task.max_tool_calls}/{task.max_tool_calls})"
    refused = ToolResult(text=text, is_error=True, error_code="rate_limited")
    await _close(turn, step, [(index, wanted, refused) for index, wanted in calls[room:]])


def _watch(hands: Hands, draft: Draft, wanted: ToolCall, result: ToolResult) -> None:
    """Does it go round in circles? (agent-loop.md §10.6)"""
    draft.media += [each for each in result.media if each not in draft.media]
    verdict = draft.repeats.saw(wanted.name, wanted.arguments, result.text, reads=hands.only_reads(wanted))
    match verdict:
        case ("stop", why):
            draft.circle = draft.circle or why
        case ("warn", why):
            draft.hints.append(why)


async def _run(
    step: int, batch: Sequence[tuple[int, ToolCall]], hands: Hands, at_once: int
) -> list[tuple[int, ToolCall, ToolResult]]:
    """The results of calls that may run at the same time, in call order."""
    if len(batch) == 1:
        index, wanted = batch[0]
        return [(index, wanted, await hands.act(wanted, Place(step, index)))]
    results: dict[int, ToolResult] = {}
    limiter = trio.CapacityLimiter(at_once)

    async def one(index: int, wanted: ToolCall) -> None:
        async with limiter:
            results[index] = await hands.act(wanted, Place(step, index))

    async with trio.open_nursery() as nursery:
        for index, wanted in batch:
            nursery.start_soon(one, index, wanted)
    return [(index, wanted, results[index]) for index, wanted in batch]


def interrupt(listener: Listener, draft: Draft, *, begun: bool = False) -> None:
    """Give every call that is still open its result, because the run ends here.

    `begun`: the first of them has an effect and was on its way, so nobody knows what became of it.
    """
    for wanted in list(draft.open_calls.values()):
        text, code = (STRANDED, "unknown") if begun else ("cancelled", "cancelled")
        begun = False
        _told(listener, draft, wanted, ToolResult(text=text, is_error=True, error_code=code))


async def _close(turn: Turn, step: int, results: Sequence[tuple[int, ToolCall, ToolResult]]) -> None:
    if not results:
        return
    turn.draft.step += len(results)
    await turn.journal.acted(turn.draft, step, results)
    crash_point("effect.finished")
    for _, wanted, result in results:
        _told(turn.listener, turn.draft, wanted, result)


def _told(listener: Listener, draft: Draft, wanted: ToolCall, result: ToolResult) -> None:
    del draft.open_calls[wanted.id]
    listener.tool_result(wanted, result)
    draft.messages.append(result_of(wanted, result))


def result_of(wanted: ToolCall, result: ToolResult) -> ChatMessage:
    """The answer to a call, as the model reads it."""
    return ChatMessage(
        role="tool",
        content=result.text,
        tool_call_id=wanted.id,
        tool_name=wanted.name,
        is_error=result.is_error,
    )


def ids(task: Task, draft: Draft) -> set[str]:
    """Ids of calls the model has seen so far, and the empty one."""
    return {"", *(earlier.id for message in (*task.history, *draft.messages) for earlier in message.tool_calls)}


def distinct(calls: Sequence[ToolCall], taken: set[str], iteration: int) -> tuple[ToolCall, ...]:
    """Calls with ids that exist, are short and were never there before (agent-loop.md §10.1)."""
    fixed = []
    for place, wanted in enumerate(calls):
        id, salt = wanted.id, 0
        while id in taken or len(id) > ID_CHARS:
            digest = hashlib.sha256(f"{wanted.id} {iteration} {place} {salt}".encode()).hexdigest()
            id, salt = f"call_{digest[:24]}", salt + 1
        taken.add(id)
        fixed.append(replace(wanted, id=id))
    return tuple(fixed)
