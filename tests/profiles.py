"""An agent as its run knows it, for tests that have no house."""

from __future__ import annotations

from typing import Any

from goclaw.domain.agent import AgentProfile

SCOUT: dict[str, Any] = {
    "id": "1",
    "key": "scout",
    "name": "Scout",
    "owner_id": "lan",
    "provider": "offline",
    "model": "offline-1",
    "agent_type": "open",
    "status": "active",
    "is_default": True,
    "workspace": "scout",
    "restrict_to_workspace": True,
    "max_tool_iterations": 20,
    "context_window": 200_000,
}


def scout(**more: Any) -> AgentProfile:
    return AgentProfile(**{**SCOUT, **more})
