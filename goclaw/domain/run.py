"""Runs: one execution that answers a turn. Contract: durability.md §4, sessions-lanes-cron.md §9."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from goclaw.domain.chat import ChatOptions, Usage
from goclaw.runtime.faults import Err
from goclaw.runtime.message import Message

RunState = Literal["QUEUED", "CLAIMED", "RUNNING", "RETRY_WAIT", "SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"]
RunKind = Literal["chat", "http"]  # kinds of sessions-lanes-cron.md §9.4 that exist so far
Lane = Literal["main", "subagent", "team", "cron"]
FinishReason = Literal["stop", "length", "max_iterations", "cancelled"]

LANES: tuple[Lane, ...] = ("main", "subagent", "team", "cron")
PREVIEW = 200  # characters of the message shown in run.started
LANE_OF: dict[RunKind, Lane] = {"chat": "main", "http": "main"}


class RunRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked, as stored with the run (`runs.request`)."""

    message: str
    stream: bool = True
    truncated: bool = False
    instructions: str = ""
    options: ChatOptions | None = None  # of the caller; None = the agent's
    use_tools: bool = True


class RunResult(Struct, frozen=True, kw_only=True):
    """How a run ended, as its asker sees it. `error` is set when it failed."""

    run_id: str
    session_key: str
    content: str = ""
    usage: Usage = Usage()
    finish_reason: FinishReason = "stop"
    cancelled: bool = False
    offline: bool = False
    error: Err | None = None


class RunQueued(Message[None]):
    """To a lane: a session has a run that waits. Saying it twice is harmless."""

    tenant_id: str
    session_key: str


class TakeSlot(Message[bool]):
    """May this run start at once, if its session is idle? A slot that was granted is used or given back."""

    run_id: str


class GiveSlotBack(Message[None]):
    """The run did not start at once after all."""

    run_id: str


class StopRun(Message[bool]):
    """Cancel a run that has no actor yet. False if the lane has not claimed it, or it is over."""

    run_id: str
    reason: str
    by: str


class LaneLoad(Message[None]):
    name: str
    limit: int
    active: int
    queued: int
    by_agent: tuple[tuple[str, int], ...] = ()  # tenant/agent key and how many of its runs work


class GetLoad(Message[LaneLoad]):
    """How busy a lane is. `queued` counts sessions with waiting runs it knows of."""


class HandBack(Message[int]):
    """To a lane at shutdown: claim no more, wait up to `within` seconds for runs to end, put the rest back
    into the queue. Answered with the number put back."""

    within: float
