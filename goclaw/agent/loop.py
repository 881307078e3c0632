"""Think, act, observe, until there is an answer. Contract: agent-loop.md §3, §9, §10.

The loop knows a provider, tools and somebody who listens; it knows no actors and stores nothing. Whatever
it has said and done so far is in its `Draft`, so a run that is stopped keeps the part that exists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

import trio
from msgspec import Struct
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest, ChatResponse, ToolCall, Usage
from goclaw.domain.errors import ProviderError
from goclaw.domain.run import FinishReason
from goclaw.providers.provider import Provider
from goclaw.tools.pipeline import ToolResult, call, find
from goclaw.tools.tool import Effect, Tool, ToolContext

PARALLEL = 2  # calls of one batch at a time; agent-loop.md §4 tool_max_parallel_calls
ID_CHARS = 40  # of a call; agent-loop.md §10.1
CUTS = 2  # answers cut inside of a tool call before the text so far must do; agent-loop.md §9.1
CUT = "Your last answer was cut off inside of a tool call, which was not run. Say less at once, or call with less."
CLOSING = "You have used all your tool calls. Answer now with what you know; say what is missing."


class Listener(Protocol):
    """Hears what happens, as it happens. Must not wait."""

    def activity(self, phase: str, iteration: int, tools: Sequence[str] = ()) -> None: ...
    def chunk(self, text: str) -> None: ...
    def thinking(self, text: str) -> None: ...
    def tool_call(self, call: ToolCall, iteration: int) -> None: ...
    def tool_result(self, call: ToolCall, result: ToolResult) -> None: ...


class Task(Struct, frozen=True, kw_only=True):
    """One turn to answer. `history` ends with the user's message."""

    model: str
    system: str
    history: tuple[ChatMessage, ...]
    options: ChatOptions
    metadata: dict[str, str]
    max_iterations: int
    max_tool_calls: int  # 0 = unlimited
    call_timeout: float  # seconds for one whole model call


@dataclass
class Draft:
    """The answer so far: messages to store in order, the text of the current segment, what it cost."""

    messages: list[ChatMessage] = field(default_factory=list)
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    iterations: int = 0
    tool_calls: int = 0
    finish_reason: FinishReason = "stop"
    offline: bool = False
    open_calls: dict[str, ToolCall] = field(default_factory=dict)  # announced, without a result yet


async def answer(
    task: Task, provider: Provider, tools: Mapping[str, Tool], ctx: ToolContext, listener: Listener, draft: Draft
) -> None:
    """Fill `draft` until it holds an answer. Raises ProviderError; tool failures are results, never raised."""
    cuts = 0
    while True:
        draft.iterations += 1
        spent = bool(task.max_tool_calls) and draft.tool_calls >= task.max_tool_calls
        last = spent or draft.iterations >= task.max_iterations
        listener.activity("thinking", draft.iterations)
        ask = _request(task, {} if last else tools, draft, cut=cuts > 0, closing=last and draft.iterations > 1)
        response = await _think(ask, provider, task.call_timeout, listener, draft)
        cut = response.finish_reason == "length"
        if cut and response.tool_calls and not last and cuts < CUTS:
            cuts += 1
            continue
        if not response.tool_calls or last or cut:
            if cut:
                draft.finish_reason = "length"
            elif response.tool_calls:
                draft.finish_reason = "max_iterations"
            draft.messages.append(_said(response))
            draft.text = response.content
            return
        cuts = 0
        calls = _distinct(response.tool_calls, _ids(task, draft), draft.iterations)
        draft.messages.append(_said(response, calls))
        draft.text = ""
        await _act(task, calls, tools, ctx, listener, draft)


def _said(response: ChatResponse, calls: tuple[ToolCall, ...] = ()) -> ChatMessage:
    return ChatMessage(role="assistant", content=response.content, thinking=response.thinking, tool_calls=calls)


def _request(task: Task, offered: Mapping[str, Tool], draft: Draft, *, cut: bool, closing: bool) -> ChatRequest:
    """What the model is asked next. The hints in it are never stored (agent-loop.md §9.3)."""
    system = f"{task.system}\n\n{CLOSING}" if closing else task.system
    hints = (ChatMessage(role="user", content=CUT),) if cut else ()
    return ChatRequest(
        messages=(ChatMessage(role="system", content=system), *task.history, *draft.messages, *hints),
        model=task.model,
        tools=tuple(tool.spec for tool in offered.values()),
        options=task.options,
        metadata=dict(task.metadata),
    )


async def _think(
    ask: ChatRequest, provider: Provider, timeout: float, listener: Listener, draft: Draft
) -> ChatResponse:
    """One model call, streamed to the listener."""
    draft.text = ""
    with trio.move_on_after(timeout):
        async with provider.stream(ask) as chunks:
            async for chunk in chunks:
                if chunk.thinking:
                    listener.thinking(chunk.thinking)
                if chunk.content:
                    draft.text += chunk.content
                    listener.chunk(chunk.content)
                if chunk.done is not None:
                    draft.usage += chunk.done.usage
                    draft.offline = chunk.done.offline
                    return chunk.done
        raise ProviderError("bad_answer", f"{provider.name} ended its answer without an end")
    raise ProviderError("timeout", f"{provider.name} did not finish within {timeout:g} s")


async def _act(
    task: Task,
    calls: Sequence[ToolCall],
    tools: Mapping[str, Tool],
    ctx: ToolContext,
    listener: Listener,
    draft: Draft,
) -> None:
    """Run a batch; results are told and kept in call order, one for every call.

    Neighbours that only read run together, everything else alone and in order (agent-loop.md §10.3).
    """
    listener.activity("tool_exec", draft.iterations, [wanted.name for wanted in calls])
    for wanted in calls:
        listener.tool_call(wanted, draft.iterations)
        draft.open_calls[wanted.id] = wanted
    room = task.max_tool_calls - draft.tool_calls if task.max_tool_calls else len(calls)
    for together, group in groupby(calls[:room], lambda wanted: _only_reads(tools, wanted)):
        neighbours = list(group)
        for batch in [neighbours] if together else [[wanted] for wanted in neighbours]:
            draft.tool_calls += len(batch)
            for wanted, result in zip(batch, await _run(batch, tools, ctx), strict=True):
                _close(listener, draft, wanted, result)
    for wanted in calls[room:]:
        text = f"Error: tool budget exhausted ({task.max_tool_calls}/{task.max_tool_calls})"
        _close(listener, draft, wanted, ToolResult(text=text, is_error=True, error_code="rate_limited"))


async def _run(batch: Sequence[ToolCall], tools: Mapping[str, Tool], ctx: ToolContext) -> list[ToolResult]:
    """The results of calls that may run at the same time, in call order."""
    results: dict[str, ToolResult] = {}
    limiter = trio.CapacityLimiter(PARALLEL)

    async def one(wanted: ToolCall) -> None:
        async with limiter:
            results[wanted.id] = await call(tools, ctx, wanted)

    async with trio.open_nursery() as nursery:
        for wanted in batch:
            nursery.start_soon(one, wanted)
    return [results[wanted.id] for wanted in batch]


def interrupt(listener: Listener, draft: Draft) -> None:
    """Give every call that is still open its result, because the run ends here."""
    for wanted in list(draft.open_calls.values()):
        _close(listener, draft, wanted, ToolResult(text="cancelled", is_error=True, error_code="cancelled"))


def _close(listener: Listener, draft: Draft, wanted: ToolCall, result: ToolResult) -> None:
    del draft.open_calls[wanted.id]
    listener.tool_result(wanted, result)
    draft.messages.append(
        ChatMessage(
            role="tool",
            content=result.text,
            tool_call_id=wanted.id,
            tool_name=wanted.name,
            is_error=result.is_error,
        )
    )


def _only_reads(tools: Mapping[str, Tool], wanted: ToolCall) -> bool:
    tool = find(tools, wanted.name)
    return tool is None or tool.effect is Effect.SAFE


def _ids(task: Task, draft: Draft) -> set[str]:
    """Ids of calls the model has seen so far, and the empty one."""
    return {"", *(earlier.id for message in (*task.history, *draft.messages) for earlier in message.tool_calls)}


def _distinct(calls: Sequence[ToolCall], taken: set[str], iteration: int) -> tuple[ToolCall, ...]:
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
