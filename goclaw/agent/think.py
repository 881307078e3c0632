"""Asking the model, and making a conversation smaller that is too long for it. Contract: agent-loop.md §9, §13.5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import trio

from goclaw.agent.compaction import summarise
from goclaw.agent.plain import plain
from goclaw.agent.pruning import prune
from goclaw.agent.shrink import HARD, Line, before, standing_in
from goclaw.agent.stream import StreamFilter, Unsaid
from goclaw.agent.turn import Draft, Task, Turn
from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, StreamChunk, ToolSpec
from goclaw.domain.errors import ProviderError
from goclaw.domain.hint_texts import hint
from goclaw.domain.tokens import estimate_prompt
from goclaw.providers.provider import Tell, silent
from goclaw.runtime.crashpoint import crash_point


async def think(turn: Turn, specs: tuple[ToolSpec, ...], *, cut: bool, last: bool) -> ChatResponse:
    """The next answer. A conversation too long for the model is made smaller, twice at most (§13.5)."""
    journal, draft = turn.journal, turn.draft
    while True:
        ask = _request(turn.task, specs, draft, cut=cut, closing=last and draft.iteration > 1)
        journal.asked(ask)
        try:
            response = await _streamed(turn, ask)
        except ProviderError as error:
            if error.kind != "context_overflow" or draft.shrunk > 1:
                raise
            journal.failed(error)
            await shrink(turn)
        else:
            journal.answered(draft.step, response)
            draft.hints.clear()
            draft.full = response.usage.prompt_tokens + response.usage.completion_tokens
            return response


async def shrink(turn: Turn) -> None:
    """Have the older part of the conversation summarised; the second time, results of tools go (§9.1, §13.5)."""
    task, journal, draft = turn.task, turn.journal, turn.draft
    draft.shrunk += 1
    everything = [*task.history, *draft.messages]
    covered = before(everything)
    if draft.shrunk > 1 or not covered:
        draft.shrunk = 2
        return
    turn.listener.activity("compacting", draft.iterations)

    async def ask(request: ChatRequest) -> str:
        journal.asked(request)
        try:
            response = await _whole(turn, request)
        except ProviderError as error:
            journal.failed(error)
            raise
        journal.answered(draft.step, response)
        return response.content.strip()

    lines = [Line.of(message) for message in everything[:covered]]
    try:
        draft.summary = await summarise(lines, ask, task.model, session=task.metadata.get("session", ""))
    except ProviderError:
        draft.shrunk = 2
    else:
        draft.covered = covered


def _request(task: Task, offered: tuple[ToolSpec, ...], draft: Draft, *, cut: bool, closing: bool) -> ChatRequest:
    """What the model is asked next. The hints in it are never stored (agent-loop.md §9.3)."""
    words = partial(hint, locale=task.locale)
    why = words("circle", why=draft.circle) if draft.circle else words("closing")
    system = "\n\n".join(part for part in (task.system, why if closing else "", task.hint) if part)
    told = [*draft.hints, *([words("cut")] if cut else ())]
    said: Sequence[ChatMessage] = (*task.history, *draft.messages)
    if draft.covered:
        said = (*standing_in(draft.summary, task.locale), *said[draft.covered :])
    if draft.shrunk > 1:
        said = prune(said, 0, task.window, HARD)
    return ChatRequest(
        messages=(
            ChatMessage(role="system", content=system),
            *said,
            *(ChatMessage(role="user", content=hint) for hint in told),
        ),
        model=task.model,
        tools=offered,
        options=task.options,
        metadata=dict(task.metadata),
    )


async def _whole(turn: Turn, ask: ChatRequest) -> ChatResponse:
    """An answer that only we read."""
    return await _last_of(turn, ask, lambda chunk: None, silent)


async def _streamed(turn: Turn, ask: ChatRequest) -> ChatResponse:
    """An answer that is heard while it comes."""
    listener, draft = turn.listener, turn.draft
    draft.text = ""
    readable = StreamFilter()
    unsaid = Unsaid(turn.task.loop.termination_keyword if turn.task.loop is not None else "")

    def tell(text: str, thinking: str, *, end: bool = False) -> None:
        if thinking:
            listener.thinking(thinking)
        text = unsaid.feed(text) + (unsaid.end() if end else "")
        if text:
            draft.text += text
            listener.chunk(text)

    def hear(chunk: StreamChunk) -> None:
        turn.journal.heard(chunk)
        if chunk.thinking:
            listener.thinking(chunk.thinking)
        if chunk.content:
            tell(*readable.feed(chunk.content))
            crash_point("llm.streaming")
        if chunk.done is not None:
            tell(*readable.end(), end=True)

    return await _last_of(turn, ask, hear, listener.note)


async def _last_of(turn: Turn, ask: ChatRequest, hear: Callable[[StreamChunk], None], tell: Tell) -> ChatResponse:
    """The whole answer. How long nobody begins to answer is the provider's business."""
    model, timeout = turn.model, turn.task.call_timeout
    async with model.stream(ask, tell=tell) as chunks:
        with trio.move_on_after(timeout):
            async for said in chunks:
                chunk = plain(said)
                hear(chunk)
                if chunk.done is not None:
                    turn.draft.usage += chunk.done.usage
                    turn.draft.offline = chunk.done.offline
                    return chunk.done
            raise ProviderError("server_error", f"{model.name} ended its answer without an end")
        raise ProviderError("timeout", f"{model.name} did not finish within {timeout:g} s")


def since(draft: Draft) -> int:
    """Tokens of what came to the draft after the model's last words."""
    last = max((n for n, message in enumerate(draft.messages) if message.role == "assistant"), default=-1)
    return estimate_prompt(draft.messages[last + 1 :])
