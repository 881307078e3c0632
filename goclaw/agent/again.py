"""What a model is told when its run is not in its first attempt. Contract: durability.md §6.3."""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.chat import ChatMessage

ERROR = 1000  # characters shown of what went wrong
DONE = 20  # finished calls listed


def again(attempt: int, error: str, done: Sequence[ChatMessage]) -> str:
    """Which attempt this is, why the one before failed, what has been done. Never stored."""
    lines = [f"[This is attempt {attempt} at this task. The one before failed: {error[:ERROR] or 'unknown'}]"]
    calls = [message for message in done if message.role == "tool"]
    if calls:
        lines.append("Already done, do not repeat:")
        lines += [f"- {call.tool_name}: {'failed' if call.is_error else 'succeeded'}" for call in calls[-DONE:]]
    return "\n".join(lines)
