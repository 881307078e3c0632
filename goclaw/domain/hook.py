"""Hooks: what people put before and behind the steps of runs. Contract: tools.md §22, orchestration.md §13.4."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from goclaw.runtime.message import Message

Event = Literal[
    "session_start",
    "user_prompt_submit",
    "pre_tool_use",
    "post_tool_use",
    "stop",
    "subagent_start",
    "subagent_stop",
]
Handler = Literal["command", "http", "prompt"]
Scope = Literal["global", "tenant", "agent"]
Decision = Literal["allow", "block", "error", "timeout"]
OnTimeout = Literal["block", "allow"]

BLOCKING = frozenset({"user_prompt_submit", "pre_tool_use", "subagent_start"})
TIMEOUT_MS, LONGEST_MS = 5000, 10_000  # of one hook
CHAIN = 10.0  # seconds for all hooks of one event
ERROR = 256  # characters that are kept of what went wrong


class Hook(Struct, frozen=True, kw_only=True):
    id: str
    tenant_id: str
    scope: Scope
    event: Event
    handler_type: Handler
    name: str
    config: str  # of the handler, JSON
    secrets: str | None = None  # sealed, in hex
    matcher: str | None
    if_expr: str | None
    timeout_ms: int
    on_timeout: OnTimeout
    priority: int
    enabled: bool
    version: int
    source: str
    agents: tuple[str, ...] = ()  # ids; for scope `agent`


class Happening(Struct, frozen=True, kw_only=True):
    """What a hook is told of: its input, as JSON."""

    event: Event
    tenant_id: str = ""
    run_id: str | None = None
    session_key: str = ""
    agent_id: str = ""
    user_id: str = ""
    depth: int = 0
    tool_name: str = ""
    tool_input: msgspec.Raw = msgspec.Raw(b"{}")
    prompt: str = ""  # what a user said, or a subagent shall do
    result: str = ""  # of a call, its beginning; of a subagent, how it ended
    is_error: bool = False


class HooksFor(Message[tuple[Hook, ...]]):
    """Those in force for an agent at an event, in order."""

    tenant_id: str
    agent_id: str
    event: Event


class HooksChanged(Message[None]):
    """Somebody changed some."""


class HookEnded(Message[None]):
    """What one decided, for its history and its breaker."""

    hook: Hook
    about: Happening
    decision: Decision
    milliseconds: int
    error: str = ""


class MayHappen(Message[str]):
    """For the hooks that may block it, where no run asks them itself; the answer says why not, or nothing."""

    about: Happening


class Happened(Message[None]):
    """For the hooks that block nothing."""

    about: Happening


class HookEvent(Message[None]):
    """`security.hook.circuit_breaker`: a hook was switched off. For admins."""

    body: msgspec.Raw
