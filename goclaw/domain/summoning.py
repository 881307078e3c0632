"""Summoning: an agent's files written by a model from a description. Contract: agent-loop.md §19.6."""

from __future__ import annotations

from typing import Any, Literal

from goclaw.domain.events import AgentEvent, body
from goclaw.runtime.address import Address
from goclaw.runtime.message import Message

SUMMONER = Address("engine", "summoning", "summoner")
DESCRIPTION = 4000  # characters a summoning reads of it
WISH = 8000  # characters of what shall be different; edge-http.md §5

Step = Literal["started", "file_generated", "completed", "failed", "cancelled"]


class Summon(Message[None]):
    """An agent waits for its files: look."""


class Unsummon(Message[None]):
    """An agent is gone: nobody needs its files any more."""

    agent_id: str


def step(agent_id: str, type: Step, **more: Any) -> AgentEvent:
    """With the id under both of its names (wire-compat.md C2)."""
    given = {name: value for name, value in more.items() if value}
    return AgentEvent(type="agent.summoning", body=body(agent_id=agent_id, agentId=agent_id, type=type, **given))
