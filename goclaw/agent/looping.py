"""Loop mode inside of one run: an answer ends a step, and another begins until the agent says that all is done.

Each step has the limits of a run of its own. What it begins with is a text the run tells itself, so it is kept and
recorded like what others say. Contract: agent-loop.md §15.1, durability.md §8.3.
"""

from __future__ import annotations

from goclaw.agent.markup import without
from goclaw.agent.sanitise import sanitised
from goclaw.agent.turn import Draft, Turn
from goclaw.domain.chat import ChatMessage, ChatResponse
from goclaw.domain.hint_texts import hint
from goclaw.domain.loop import Loop, LoopEnd


def take_up(turn: Turn) -> None:
    """A life of the run begins: with the first step, with the one that was never told, or within one."""
    loop, draft = turn.task.loop, turn.draft
    if loop is None:
        return
    if not draft.messages:
        turn.listener.loop("started", {"maxSteps": loop.max_steps, "maxTokens": loop.max_tokens})
        return begin(turn)
    if _ends_step(draft.messages[-1]):
        return begin(turn)
    last = max((n for n, message in enumerate(draft.messages) if _ends_step(message)), default=-1)
    before = draft.messages[: last + 1]
    draft.began = (
        sum(message.role == "assistant" for message in before),
        sum(message.role == "tool" for message in before),
    )


def begin(turn: Turn) -> None:
    """The next step."""
    loop, draft = turn.task.loop, turn.draft
    assert loop is not None
    draft.began, draft.shrunk, draft.stop_reason = (draft.iterations, draft.tool_calls), 0, "final"
    turn.journal.go_on(
        hint(
            "loop_step",
            turn.task.locale,
            step=done(draft) + 1,
            most=loop.max_steps,
            tokens=draft.usage.total_tokens,
            budget=loop.max_tokens,
            left=max(0, int(turn.journal.left() // 60)),
            keyword=loop.termination_keyword,
        )
    )


def ended(turn: Turn, loop: Loop, response: ChatResponse) -> LoopEnd | None:
    """Whether this answer is the last one, and why; None if there is another step."""
    draft = turn.draft
    step = done(draft) + 1
    tokens = draft.usage.total_tokens
    turn.listener.loop("step", {"step": step, "maxSteps": loop.max_steps, "tokens": tokens})
    if loop.termination_keyword in sanitised(response.content):
        return "completed"
    if draft.circle:
        return "failed"
    if response.out_of_budget or step >= loop.max_steps or tokens >= loop.max_tokens:
        return "budget_exceeded"
    return None


def readable(loop: Loop, text: str, draft: Draft) -> str:
    """An answer without the keyword; what was said last if it was nothing else."""
    text = without(text, loop.termination_keyword)
    if text or draft.media:
        return text
    said = (message.content for message in reversed(draft.messages) if message.role == "assistant")
    return next((sanitised(one) for one in said if one.strip()), "")


def done(draft: Draft) -> int:
    """Steps that are over."""
    return sum(map(_ends_step, draft.messages))


def _ends_step(message: ChatMessage) -> bool:
    return message.role == "assistant" and not message.tool_calls
