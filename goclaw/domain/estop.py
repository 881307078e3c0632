"""What running calls hear of the emergency stop. Contract: security.md §13."""

from __future__ import annotations

from goclaw.runtime.message import Message

TOOL_CALLS = "tools.running"  # every call that is being made


class ToolsStopped(Message[None]):
    """Something was stopped: look whether it was you."""
