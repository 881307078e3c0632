"""Runs: one execution that answers a turn. Contract: durability.md §4, sessions-lanes-cron.md §9."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Raw, Struct

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

RecordKind = Literal["open", "request", "response", "tool", "input", "draws", "chunks", "end"]  # durability.md §16.1

LANES: tuple[Lane, ...] = ("main", "subagent", "team", "cron")
PREVIEW = 200  # characters of the message shown in run.started


class Kind(Struct, frozen=True):
    """What is the same for every run of a kind (sessions-lanes-cron.md §4, §9.4; agent-loop.md §4)."""

    lane: Lane
    priority: int  # base, 0–10; waiting adds to it
    attempts: int  # handled errors until it is given up
    timeout: float | None = None  # seconds from acceptance to its end, across restarts; None = agents.run_timeout_sec
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


class ReplyTo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The chat that gets the answer, as a platform knows it."""

    channel_instance: str
    chat_id: str
    local_key: str = ""  # what must stay in order; the chat unless told


class ChildOf(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a subagent's run stands in its tree (orchestration.md §3.2)."""

    root: str  # the run at the top; its purse pays
    depth: int = 1
    leaf: bool = True  # it may have no children


class RunRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked, as stored with the run (`runs.request`)."""

    message: str
    stream: bool = True
    truncated: bool = False
    instructions: str = ""
    options: ChatOptions | None = None  # of the caller; None = the agent's
    response_format: str = ""  # of the caller, a JSON object: what the answer must fit
    use_tools: bool = True
    tool_allow: tuple[str, ...] | None = None  # of the caller: only these of what it would have
    max_iterations: int | None = None  # of the caller: fewer than the agent's
    light_context: bool = False  # no context files (sessions-lanes-cron.md §6.1)
    role: str = ""  # of whoever asked, if somebody did himself
    mentioned: bool = False  # he named the agent, so that it may not keep silent
    sender: str = ""  # who said it, if not the session's user
    provider: str = ""  # with `model`: instead of the agent's
    model: str = ""
    metadata: str = ""  # of the caller, a JSON object: kept for him, never shown to a model
    replay: Replay | None = None  # kind replay
    child_of: ChildOf | None = None  # a subagent, or what its session hears of its own children
    max_cost_usd: Decimal | None = None  # of the run and all it starts
    reply_to: ReplyTo | None = None  # None: whoever asked listens
    skip_hooks: bool = False  # it judges the work of others
    locale: str = "en"  # he asked in: what the house says to the model beside him


class SentFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that goes with an answer, as it was when the run ended."""

    name: str  # of `/v1/files/`; empty for one that no link reaches
    path: str  # in the workspace
    content_type: str
    size: int  # bytes
    caption: str = ""
    as_voice: bool = False


class RunResult(Struct, frozen=True, kw_only=True):
    """How a run ended, as its asker sees it. `error` is set when it failed."""

    run_id: str
    session_key: str
    content: str = ""
    usage: Usage = Usage()
    cost_usd: Decimal | None = None  # of all its model calls; None while a price is not known
    finish_reason: FinishReason = "stop"
    stop_reason: str = ""  # finer: agent-loop.md §2.2
    silent: bool = False  # the agent chose to say nothing
    cancelled: bool = False
    offline: bool = False
    media: tuple[SentFile, ...] = ()
    error: Err | None = None
    structured: Raw | None = None  # the answer as a value, where it had to fit a schema and does
    comparison: str | None = None  # kind replay: JSON of durability.md §16.3


SUSPICIOUS = 2  # crashes; the first time whoever was at work is innocent until it happens again


def suspected(crashes: int) -> bool:
    """Whether a run may be what takes the process down, so that it runs alone (durability.md §6.4).

    The contract suspects after the first crash. But then all that was at work when a node died would go on one by one.
    """
    return crashes >= SUSPICIOUS


SUSPECT = "suspect.running"  # the group of whoever runs a suspect on this node: one lane at most (durability.md §6.4)
SATURATED = "lanes.saturated"  # the group of lanes that keep their runs waiting for too long (durability.md §11)


class RunQueued(Message[None]):
    """To a lane: a session has a run that waits. Saying it twice is harmless.

    `waited` is how long it has been due, in seconds, below 0 for one that will be; None if the teller does not know
    that it is due, nor that the run is the first that waits there.
    """

    tenant_id: str
    session_key: str
    user_id: str = ""
    priority: int = 5  # base
    waited: float | None = None
    suspect: bool = False  # it has crashed before


class RunsWait(Message[None]):
    """To a lane: what a look into the database found."""

    found: tuple[RunQueued, ...]


class TakeSlot(Message[bool]):
    """May this run start at once, if its session is idle? A slot that was granted is used or given back."""

    run_id: str


class GiveSlotBack(Message[None]):
    """The run did not start at once after all."""

    run_id: str


class LendSlot(Message[None]):
    """From a run that waits for a child: others may have its slot meanwhile (sessions-lanes-cron.md L4.4)."""

    run_id: str


class ReclaimSlot(Message[bool]):
    """The child is done. Answered with True when the run has a slot again, before anybody who waits in the queue."""

    run_id: str


class TakeSlotBack(Message[None]):
    """The run goes on and cannot wait for a slot: it has one from now on, and if it is one too many."""

    run_id: str


# run.cancelled says one of these; edge-websocket.md §8
STOPPED_BY = frozenset({"user", "interrupt", "timeout", "supervisor", "dropped", "client_gone"})


def stop_reason(wish: str) -> str:
    """What clients are told of why a run was stopped; whoever gives a reason of his own is a user."""
    return wish if wish in STOPPED_BY else "user"


class StopRun(Message[bool]):
    """Cancel a run that has no actor yet. False if the lane has not claimed it, or it is over."""

    run_id: str
    reason: str
    by: str


class StopAll(Message[None]):
    """To every lane: cancel what runs (security.md §13)."""

    by: str


class InjectText(Message[bool]):
    """To a run that works: somebody says something meanwhile. True when the run took it, or had taken it before."""

    message_id: str  # the idempotency key, if he gave one: the same in every try
    text: str
    sender: str


class Awaiting(Message[None]):
    """To a run that works: a call of it waits for somebody outside. `what` is the detail of its activity."""

    what: str
    tool: str


class LaneLoad(Message[None]):
    name: str
    limit: int
    active: int
    queued: int
    by_agent: tuple[tuple[str, int], ...] = ()  # tenant/agent key and how many of its runs work
    wait_p50: float = 0.0  # seconds from due to claimed, in the last minute
    wait_p95: float = 0.0
    drops: int = 0  # turns dropped or refused since the start
    pressure: int = 0  # how many kinds of work stopped because the lane is saturated


class GetLoad(Message[LaneLoad]):
    """How busy a lane is. `queued` counts sessions with waiting runs it knows of."""


class Outlook(Message[None]):
    ahead: int  # runs that must end first, as far as the lane knows; 0 = a slot is free
    rounds: float  # the same, one after the other in each slot
    mean: float | None = None  # seconds a run takes here, lately


class GetOutlook(Message[Outlook]):
    """What somebody who queues up now with this base priority has to expect."""

    priority: int = 5


class SetLimit(Message[None]):
    """The lane has so many slots from now on. Running runs end as they would."""

    limit: int


class HandBack(Message[int]):
    """To a lane at shutdown: claim no more, wait up to `within` seconds for runs to end, put the rest back
    into the queue. Answered with the number put back."""

    within: float
