"""What a model is told when its run is not in its first attempt. Contract: durability.md §6.3."""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.chat import ChatMessage
from goclaw.domain.hint_texts import hint

ERROR = 1000  # characters shown of what went wrong
DONE = 20  # finished calls listed


def again(attempt: int, error: str, done: Sequence[ChatMessage], locale: str = "en") -> str:
    """Which attempt this is, why the one before failed, what has been done. Never stored."""
    lines = [hint("attempt", locale, attempt=attempt, error=error[:ERROR] or "unknown")]
    calls = [message for message in done if message.role == "tool"]
    if calls:
        lines.append(hint("attempt_done", locale))
        for call in calls[-DONE:]:
            lines.append(hint("call_failed" if call.is_error else "call_succeeded", locale, tool=call.tool_name))
    return "\n".join(lines)
