"""Runs: one execution that answers a turn. Contract: durability.md §4, sessions-lanes-cron.md §9."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatOptions, Usage
from goclaw.runtime.faults import Err
from goclaw.runtime.message import Message

RunState = Literal["QUEUED", "CLAIMED", "RUNNING", "RETRY_WAIT", "SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"]
RunKind = Literal[
    "chat",
    "channel",
    "http",
    "wake",
    "task",
    "announce",
    "delegation",
    "subagent",
    "team_task",
    "evaluate",
    "pipeline",
    "cron",
    "heartbeat",
    "autonomy",
    "autolearn",
    "selfcheck",
    "summary",
    "flush",
    "replay",
]
Lane = Literal["main", "subagent", "team", "cron"]
FinishReason = Literal["stop", "length", "max_iterations", "cancelled"]

LANES: tuple[Lane, ...] = ("main", "subagent", "team", "cron")
PREVIEW = 200  # characters of the message shown in run.started


class Kind(Struct, frozen=True):
    """What is the same for every run of a kind (sessions-lanes-cron.md §4, §9.4; agent-loop.md §4)."""

    lane: Lane
    priority: int  # base, 0–10; waiting adds to it
    attempts: int  # handled errors until it is given up
    timeout: float = 600.0  # seconds from acceptance to its end, across restarts
    recovers: bool = True  # after a crash; False: it ends CANCELED


KINDS: dict[RunKind, Kind] = {
    "chat": Kind("main", 5, 3),
    "channel": Kind("main", 5, 3),
    "http": Kind("main", 5, 1, recovers=False),  # unless an idempotency key lets its asker come back for it
    "wake": Kind("main", 5, 1),
    "task": Kind("main", 5, 3),
    "announce": Kind("main", 6, 3),
    "delegation": Kind("team", 5, 3),
    "subagent": Kind("subagent", 5, 3, 1800.0),
    "team_task": Kind("team", 4, 3, 1800.0),
    "evaluate": Kind("team", 5, 3),
    "pipeline": Kind("team", 5, 3),
    "cron": Kind("cron", 3, 1),
    "heartbeat": Kind("cron", 2, 3, recovers=False),
    "autonomy": Kind("cron", 1, 1),
    "autolearn": Kind("cron", 0, 1),
    "selfcheck": Kind("cron", 3, 1, recovers=False),
    "summary": Kind("cron", 3, 1, recovers=False),
    "flush": Kind("cron", 3, 1, recovers=False),
    "replay": Kind("cron", 0, 1, recovers=False),
}
LANE_OF: dict[RunKind, Lane] = {kind: row.lane for kind, row in KINDS.items()}
INTERACTIVE: frozenset[RunKind] = frozenset({"chat", "channel"})  # somebody sits there and waits


class Replay(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which run is to be run again, and what shall be different (durability.md §16.3)."""

    of: str
    mode: Literal["verify", "what_if"] = "verify"
    model: str = ""
    provider: str = ""
    from_step: int = 0
    tools: Literal["recorded", "pure", "off"] = "recorded"
    system: str = ""  # instead of the recorded prompt …
    append: str = ""  # … or behind it
    user: str = ""  # instead of what the user said


class RunRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked, as stored with the run (`runs.request`)."""

    message: str
    stream: bool = True
    truncated: bool = False
    instructions: str = ""
    options: ChatOptions | None = None  # of the caller; None = the agent's
    use_tools: bool = True
    replay: Replay | None = None  # kind replay


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
    comparison: msgspec.Raw | None = None  # kind replay: JSON of durability.md §16.3


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


class InjectText(Message[bool]):
    """To a run: somebody says something while it works, and it is stored already. True if it will hear it."""

    message_id: str
    text: str
    sender: str


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
