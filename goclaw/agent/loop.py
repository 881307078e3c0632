"""Think, act, observe, until there is an answer. Contract: agent-loop.md §3, §9, §12."""

from __future__ import annotations

from msgspec.structs import replace

from goclaw.agent import looping
from goclaw.agent.act import act, distinct, ids
from goclaw.agent.attach import collect
from goclaw.agent.markup import SILENT, silent
from goclaw.agent.sanitise import sanitised
from goclaw.agent.shrink import FULL
from goclaw.agent.think import shrink, since, think
from goclaw.agent.turn import Draft, Hands, Journal, Listener, Task, Turn
from goclaw.domain.chat import ChatMessage, ChatResponse, ToolCall
from goclaw.domain.hint_texts import hint
from goclaw.providers.provider import Model
from goclaw.runtime.crashpoint import crash_point

CUTS = 2  # answers cut inside of a tool call before the text so far must do; agent-loop.md §9.1
LATE = 3 / 4  # of the iterations, when a model is told


async def answer(task: Task, provider: Model, hands: Hands, journal: Journal, listener: Listener, draft: Draft) -> None:
    """Fill `draft` until it holds an answer. Raises ProviderError, and what the journal raises.

    Tool failures are results, never raised.
    """
    turn = Turn(task, provider, hands, journal, listener, draft)
    draft.repeats.locale = task.locale
    draft.repeats.recall(draft.messages, hands.only_reads)
    looping.take_up(turn)
    if draft.unanswered:
        left, draft.unanswered = draft.unanswered, ()
        await act(turn, draft.asked_in, left)
    cuts = 0
    while True:
        draft.iterations += 1
        last = draft.closing = _is_last(task, draft)  # nobody may say more from now on
        while journal.has_news():
            news = await journal.told(draft)
            draft.messages += news
            draft.step += len(news)
        if draft.iteration == int(task.max_iterations * LATE) and not last and not _has_spoken(draft):
            draft.hints.append(hint("budget", task.locale))
        if draft.shrunk == 0 and draft.full and draft.full + since(draft) >= FULL * task.window:
            await shrink(turn)
        listener.activity("thinking", draft.iterations)
        specs = () if last else hands.specs
        response = await think(turn, specs, cut=cuts > 0, last=last)
        crash_point("llm.answered")
        collect(draft, response.content)
        cut = response.finish_reason == "length"
        if cut and response.tool_calls and not last and cuts < CUTS:
            cuts += 1
            continue
        if not response.tool_calls or last or cut:
            if task.loop is not None:
                draft.loop = looping.ended(turn, task.loop, response)
                if draft.loop is None:
                    await _keep(_said(response), response, journal, draft)
                    looping.begin(turn)
                    continue
            if journal.has_news():
                await _keep(_said(response), response, journal, draft)
                continue
            _finish(task, response, draft)
            if draft.loop is not None:
                listener.loop(draft.loop, {"steps": looping.done(draft), "tokens": draft.usage.total_tokens})
            return
        cuts = 0
        if response.content.strip():
            listener.block(response.content)
        calls = tuple(enumerate(distinct(response.tool_calls, ids(task, draft), draft.iterations)))
        step = await _keep(_said(response, tuple(wanted for _, wanted in calls)), response, journal, draft)
        await act(turn, step, calls)


def _is_last(task: Task, draft: Draft) -> bool:
    """Whether the next question to the model is the last one, so that it has no tools."""
    if draft.circle:
        draft.stop_reason = "loop_killed"
    elif task.max_tool_calls and draft.calls >= task.max_tool_calls:
        draft.stop_reason = "max_tool_calls"
    elif draft.iteration >= task.max_iterations:
        draft.stop_reason = "max_iterations"
    else:
        return False
    return True


def _finish(task: Task, response: ChatResponse, draft: Draft) -> None:
    """The answer stands."""
    draft.closing = True
    if response.out_of_budget or draft.loop == "budget_exceeded":
        draft.finish_reason, draft.stop_reason = "max_iterations", "budget"
    elif response.finish_reason == "length":
        draft.finish_reason, draft.stop_reason = "length", "length"
    elif response.tool_calls or draft.circle:
        draft.finish_reason = "max_iterations"
    elif draft.stop_reason == "max_iterations" and task.max_iterations == draft.iteration == 1:
        draft.stop_reason = "final"  # it was asked for one answer and gave it
    said = _said(response)
    if task.options.response_format is None:
        said = replace(said, content=_readable(task, response, draft))
    else:
        draft.fits = response.fits
    draft.messages.append(said)
    draft.text = "" if draft.silent else said.content


def _readable(task: Task, response: ChatResponse, draft: Draft) -> str:
    """What people read of an answer (agent-loop.md §12.1 to §12.3)."""
    text = sanitised(response.content)
    if task.loop is not None:
        text = looping.readable(task.loop, text, draft)
    if silent(text):
        if not task.mentioned:
            draft.silent, draft.stop_reason = True, "no_reply"
            return text
        text = text.replace(SILENT, "").strip()
    if text or draft.media:
        return text
    thought = response.thinking or response.content.strip()
    return task.only_thought if thought else task.nothing_said


def _has_spoken(draft: Draft) -> bool:
    return any(message.role == "assistant" and message.content for message in draft.messages)


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
