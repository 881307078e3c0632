"""Subagents: what a run hands to copies of its agent. Contract: orchestration.md §3."""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec import Struct

from goclaw.runtime.message import Message

TaskStatus = Literal["running", "completed", "failed", "cancelled"]
Status = Literal["queued", "running", "waiting_child", "completed", "failed", "cancelled"]

RESULT = 8_000  # characters of a result in `info`
TOLD = 16_000  # … and in what the parent's session is told; orchestration.md §5 A8
STEERS = 5  # of one subagent
ITERATIONS = 20  # model calls of one
SUBJECT = 50  # characters of the task that name it


class Wish(Struct, frozen=True, kw_only=True):
    """A subagent that is asked for. `id` is made from the call's key; `run_id` counts if there is none yet."""

    id: str
    run_id: str
    tenant_id: str
    parent_run_id: str
    task: str
    label: str
    role: str = ""
    provider: str = ""  # with `model`, instead of the parent's
    model: str = ""
    detached: bool = False
    announces: bool = True


class Spawned(Struct, frozen=True, kw_only=True):
    """One that is stored. `fresh`: by this call; `held` until fewer of its tree work."""

    id: str
    run_id: str
    label: str
    session_key: str
    agent_key: str
    user_id: str
    active: int = 0  # children of its parent that have not ended, and how many there may be
    limit: int = 0
    fresh: bool = True
    held: bool = False


class Steering(Struct, frozen=True, kw_only=True):
    """What became of an instruction."""

    id: str
    generation: int


class Refused(Exception):
    """A limit or a rule says no; nothing was stored. `reason` is of orchestration.md §2."""

    def __init__(self, code: str, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.code = code


class Subagent(Struct, frozen=True, kw_only=True):
    """One as its parent sees it."""

    n: int  # in the list
    id: str
    run_id: str
    label: str
    status: Status
    model: str
    elapsed_ms: int
    steers: int
    task: str = ""
    content: str = ""
    error: str | None = None
    generation: int = 1
    iterations: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def over(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")


class Began(Message[None]):
    """A run of a subagent was stored: whoever listens may know, and its lane."""

    tenant_id: str
    run_id: str
    parent_run_id: str
    session_key: str
    agent_key: str
    user_id: str
    id: str
    label: str
    held: bool = False
    steered: bool = False


class Stopped(Message[None]):
    """Runs of subagents were asked to stop, in the database."""

    tenant_id: str
    user_id: str
    runs: tuple[tuple[str, str], ...]  # their ids and sessions


class AwaitEnd(Message[bool]):
    """Answered with True when none of these tasks works any more, with False after so many seconds."""

    tenant_id: str
    ids: tuple[str, ...]
    within: float


class SubagentEvent(Message[None]):
    """`subagent.started` and the like, for the user and the admins."""

    type: str
    body: msgspec.Raw


PLAIN = re.compile(r"[^a-z0-9]+")


def child_key(agent_key: str, label: str, id: str) -> str:
    """The session of a subagent: readable, and nobody else's."""
    return f"agent:{agent_key}:subagent:{PLAIN.sub('-', label.lower()).strip('-')[:40] or 'task'}-{id[:8]}"
