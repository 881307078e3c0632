"""What a session should know of a run that is over. Contract: agent-loop.md §3 R3.2 and phase 8, §13.2."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from goclaw.agent.compaction import due, nearly
from goclaw.agent.label import is_its_own
from goclaw.agent.turn import Draft
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chat import ChatMessage, ToolCall
from goclaw.domain.errors import Err
from goclaw.domain.hint_texts import hint
from goclaw.domain.run import INTERACTIVE, RunRequest
from goclaw.domain.session import RunEnded
from goclaw.domain.texts import text_of
from goclaw.settings.compaction import Compaction, of_agent
from goclaw.stores.runs import Claimed


def ended(run: Claimed, profile: AgentProfile | None, found: int, draft: Draft, settings: Compaction) -> RunEnded:
    """`found` is how many messages it was told of the history. What is only likely here, the session looks up."""
    if profile is None or run.request.replay is not None:
        return RunEnded(run_id=run.run_id)
    own = of_agent(settings, msgspec.json.decode(profile.compaction))
    messages, window = found + 1 + len(draft.messages), profile.context_window
    return RunEnded(
        run_id=run.run_id,
        first=run.kind in INTERACTIVE and not found and not is_its_own(run.request.message),
        long=due(own, messages, draft.full, window) or nearly(own, draft.full, window),
        tokens=draft.full,
    )


def after_deeds(draft: Draft, err: Err, effect_of: Callable[[ToolCall], str], request: RunRequest) -> list[ChatMessage]:
    """The note of a failed run that has changed something, so that the next turn knows of it; else none (R3.2)."""
    calls = {call.id: call for message in draft.messages for call in message.tool_calls}
    ended = (calls.get(said.tool_call_id) for said in draft.messages if said.role == "tool" and not said.is_error)
    done = dict.fromkeys(call.name for call in ended if call is not None and effect_of(call) != "pure")
    if not done:
        return []
    error = text_of(err, request.locale)
    note = hint("failed_after", request.locale, error=error, tools=", ".join(done))
    return [ChatMessage(role="assistant", content=note)]
