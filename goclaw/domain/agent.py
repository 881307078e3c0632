"""Agents: who answers, with which model and where it works."""

from __future__ import annotations

from msgspec import Struct

from goclaw.runtime.message import Message

DEFAULT_KEY = "default"  # the starter agent; the web UI asks for it by this name (wire-compat.md C2)


class AgentProfile(Struct, frozen=True, kw_only=True):
    """What the engine needs to know of an agent. `provider` and `model` are resolved, never empty."""

    id: str
    key: str
    name: str
    provider: str
    model: str
    agent_type: str
    status: str
    is_default: bool
    workspace: str  # relative to the gateway's workspace directory, or absolute
    restrict_to_workspace: bool
    max_tool_iterations: int
    context_window: int


class GetProfile(Message[AgentProfile]):
    """Who lives at this address. Refused with `not_found` when the agent is gone or inactive."""
