"""Think, act, observe, until there is an answer. Contract: agent-loop.md §3, §9, §10; durability.md §8.

The loop knows a provider, tools, a journal and somebody who listens; it knows no actors and no tables. Whatever
it has said and done so far is in its `Draft`, so a run that is stopped keeps the part that exists, and one that
died goes on from the draft its journal gave back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

import trio
from msgspec import Struct
from msgspec.structs import replace

from goclaw.agent.plain import plain
from goclaw.domain.chat import (
    ChatMessage,
    ChatOptions,
    ChatRequest,
    ChatResponse,
    StreamChunk,
    ToolCall,
    ToolSpec,
    Usage,
)
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Note
from goclaw.domain.run import FinishReason
from goclaw.providers.provider import Model
from goclaw.runtime.crashpoint import crash_point
from goclaw.tools.ledger import Place, ToolResult

ID_CHARS = 40  # of a call; agent-loop.md §10.1
CUTS = 2  # answers cut inside of a tool call before the text so far must do; agent-loop.md §9.1
CUT = "Your last answer was cut off inside of a tool call, which was not run. Say less at once, or call with less."
STRANDED = "Outcome unknown: the run was stopped while this call was on its way. Verify before you repeat it."
CLOSING = "You have used all your tool calls. Answer now with what you know; say what is missing."


class Listener(Protocol):
    """Hears what happens, as it happens. Must not wait."""

    def activity(self, phase: str, iteration: int, tools: Sequence[str] = ()) -> None: ...
    def chunk(self, text: str) -> None: ...
    def thinking(self, text: str) -> None: ...
    def tool_call(self, call: ToolCall, iteration: int) -> None: ...
    def tool_result(self, call: ToolCall, result: ToolResult) -> None: ...
    def note(self, note: Note) -> None: ...


class Hands(Protocol):
    """What a run can do besides talking."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]: ...

    def beside_others(self, wanted: ToolCall) -> bool: ...

    async def act(self, wanted: ToolCall, place: Place) -> ToolResult: ...


class Journal(Protocol):
    """Keeps what a run did. What waits returns when it is in the store, and ends the run by raising."""

    def asked(self, ask: ChatRequest) -> None:
        """A model is about to be asked."""

    def heard(self, chunk: StreamChunk) -> None:
        """A piece of its answer came."""

    def answered(self, step: int, response: ChatResponse) -> None:
        """Its answer is complete."""

    async def thought(self, draft: Draft, step: int, said: ChatMessage, usage: Usage) -> None:
        """The answer asks for tools: it is kept before any of them is called."""

    async def acted(self, draft: Draft, step: int, results: Sequence[tuple[int, ToolCall, ToolResult]]) -> None:
        """Calls of step `step` have ended, named by their number in it."""

    def has_news(self) -> bool:
        """Whether somebody said something to the run since `told`."""

    async def told(self, draft: Draft) -> list[ChatMessage]:
        """What that is, now kept as steps from `draft.step` on."""


class Task(Struct, frozen=True, kw_only=True):
    """One turn to answer. `history` ends with the user's message."""

    model: str
    system: str
    history: tuple[ChatMessage, ...]
    options: ChatOptions
    metadata: dict[str, str]
    max_iterations: int
    max_tool_calls: int  # 0 = unlimited
    call_timeout: float  # seconds for a model to answer in, once it has begun
    parallel: int = 2  # calls of one answer at a time
    hint: str = ""  # for this attempt only; never stored


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
    step: int = 0  # the number of the next one: a model's answer, each of its calls, a text that came in
    unanswered: tuple[tuple[int, ToolCall], ...] = ()  # calls a former life left open …
    asked_in: int = 0  # … and the step that asked for them
    closing: bool = False  # the last question to the model is asked, or answered


def resumed(steps: Iterable[tuple[int, ChatMessage, Usage | None]]) -> Draft:
    """The draft that a run's steps so far make, given by number, in order (durability.md §8.2)."""
    draft = Draft()
    left: dict[int, ToolCall] = {}
    for number, message, usage in steps:
        draft.messages.append(message)
        draft.step = number + 1
        match message.role:
            case "assistant":
                draft.iterations, draft.asked_in = draft.iterations + 1, number
                draft.usage += usage or Usage()
                left = dict(enumerate(message.tool_calls))
            case "tool":
                draft.tool_calls += 1
                left.pop(number - draft.asked_in - 1, None)
    draft.unanswered = tuple(sorted(left.items()))
    return draft


async def answer(task: Task, provider: Model, hands: Hands, journal: Journal, listener: Listener, draft: Draft) -> None:
    """Fill `draft` until it holds an answer. Raises ProviderError, and what the journal raises.

    Tool failures are results, never raised.
    """
    if draft.unanswered:
        left, draft.unanswered = draft.unanswered, ()
        await _act(task, draft.asked_in, left, hands, journal, listener, draft)
    cuts = 0
    while True:
        draft.iterations += 1
        spent = bool(task.max_tool_calls) and draft.tool_calls >= task.max_tool_calls
        last = spent or draft.iterations >= task.max_iterations
        draft.closing = last  # nobody may say more from now on
        while journal.has_news():
            news = await journal.told(draft)
            draft.messages += news
            draft.step += len(news)
        listener.activity("thinking", draft.iterations)
        specs = () if last else hands.specs
        ask = _request(task, specs, draft, cut=cuts > 0, closing=last and draft.iterations > 1)
        journal.asked(ask)
        response = await _think(ask, provider, task.call_timeout, listener, journal, draft)
        journal.answered(draft.step, response)
        crash_point("llm.answered")
        cut = response.finish_reason == "length"
        if cut and response.tool_calls and not last and cuts < CUTS:
            cuts += 1
            continue
        if not response.tool_calls or last or cut:
            if journal.has_news():
                await _keep(_said(response), response, journal, draft)
                continue
            draft.closing = True
            if response.out_of_budget:
                draft.finish_reason = "max_iterations"
            elif cut:
                draft.finish_reason = "length"
            elif response.tool_calls:
                draft.finish_reason = "max_iterations"
            draft.messages.append(_said(response))
            draft.text = response.content
            return
        cuts = 0
        calls = tuple(enumerate(_distinct(response.tool_calls, _ids(task, draft), draft.iterations)))
        step = await _keep(_said(response, tuple(wanted for _, wanted in calls)), response, journal, draft)
        await _act(task, step, calls, hands, journal, listener, draft)


async def _keep(said: ChatMessage, response: ChatResponse, journal: Journal, draft: Draft) -> int:
    """An answer that is not the last one: a step from now on, whose number is returned."""
    step, draft.step = draft.step, draft.step + 1
    await journal.thought(draft, step, said, response.usage)
    crash_point("step.committed")
    draft.messages.append(said)
    draft.text = ""
    return step


def _said(response: ChatResponse, calls: tuple[ToolCall, ...] = ()) -> ChatMessage:
    return ChatMessage(
        role="assistant", content=response.content, thinking=response.thinking, tool_calls=calls, raw=response.raw
    )


def _request(task: Task, offered: tuple[ToolSpec, ...], draft: Draft, *, cut: bool, closing: bool) -> ChatRequest:
    """What the model is asked next. The hints in it are never stored (agent-loop.md §9.3)."""
    system = f"{task.system}\n\n{CLOSING}" if closing else task.system
    if task.hint:
        system = f"{system}\n\n{task.hint}"
    hints = (ChatMessage(role="user", content=CUT),) if cut else ()
    return ChatRequest(
        messages=(ChatMessage(role="system", content=system), *task.history, *draft.messages, *hints),
        model=task.model,
        tools=offered,
        options=task.options,
        metadata=dict(task.metadata),
    )


async def _think(
    ask: ChatRequest, provider: Model, timeout: float, listener: Listener, journal: Journal, draft: Draft
) -> ChatResponse:
    """One model call, streamed to the listener. How long nobody begins to answer is the provider's business."""
    draft.text = ""
    async with provider.stream(ask, tell=listener.note) as chunks:
        with trio.move_on_after(timeout):
            async for said in chunks:
                chunk = plain(said)
                journal.heard(chunk)
                if chunk.thinking:
                    listener.thinking(chunk.thinking)
                if chunk.content:
                    draft.text += chunk.content
                    listener.chunk(chunk.content)
                    crash_point("llm.streaming")
                if chunk.done is not None:
                    draft.usage += chunk.done.usage
                    draft.offline = chunk.done.offline
                    return chunk.done
            raise ProviderError("server_error", f"{provider.name} ended its answer without an end")
        raise ProviderError("timeout", f"{provider.name} did not finish within {timeout:g} s")


async def _act(
    task: Task,
    step: int,
    calls: Sequence[tuple[int, ToolCall]],
    hands: Hands,
    journal: Journal,
    listener: Listener,
    draft: Draft,
) -> None:
    """Run a batch; results are told and kept in call order, one for every call.

    Neighbours that may run together do, everything else alone and in order (agent-loop.md §10.3).
    """
    listener.activity("tool_exec", draft.iterations, [wanted.name for _, wanted in calls])
    for _, wanted in calls:
        listener.tool_call(wanted, draft.iterations)
        draft.open_calls[wanted.id] = wanted
    room = max(0, task.max_tool_calls - draft.tool_calls) if task.max_tool_calls else len(calls)
    for together, group in groupby(calls[:room], lambda one: hands.beside_others(one[1])):
        neighbours = list(group)
        for batch in [neighbours] if together else [[one] for one in neighbours]:
            draft.tool_calls += len(batch)
            results = await _run(step, batch, hands, task.parallel)
            crash_point("effect.done")
            await _close(listener, journal, draft, step, results)
    text = f"Error: tool budget exhausted ({task.max_tool_calls}/{task.max_tool_calls})"
    refused = ToolResult(text=text, is_error=True, error_code="rate_limited")
    await _close(listener, journal, draft, step, [(index, wanted, refused) for index, wanted in calls[room:]])


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


async def _close(
    listener: Listener,
    journal: Journal,
    draft: Draft,
    step: int,
    results: Sequence[tuple[int, ToolCall, ToolResult]],
) -> None:
    if not results:
        return
    draft.step += len(results)
    await journal.acted(draft, step, results)
    crash_point("effect.finished")
    for _, wanted, result in results:
        _told(listener, draft, wanted, result)


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
