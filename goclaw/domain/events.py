"""What happens, for whoever listens: runs, sessions, the gateway itself.

Names and payloads: edge-websocket.md §8. Every event of a run goes to the run's group, to the groups of its
user and to the tenant's admins; the edges render it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from goclaw.domain.run import RunKind, RunResult
from goclaw.runtime.message import Message

TERMINAL = frozenset({"run.completed", "run.failed", "run.cancelled"})


class RunEvent(Message[None]):
    """One step in the life of a run, in the order of edge-websocket.md §8.3.

    `text` is the delta of chunk and thinking; `body` holds the other members, encoded once for all readers.
    `result` comes with the terminal event only.
    """

    type: str
    run_id: str
    run_seq: int
    ts: int  # epoch milliseconds
    tenant_id: str
    user_id: str
    agent_key: str
    session_key: str
    kind: RunKind
    text: str = ""
    body: msgspec.Raw = msgspec.Raw(b"{}")
    asked_by: str = ""  # run.queued: the socket connection that sent the turn …
    request_id: str | int | None = None  # … and the id of its request, for its eyes only
    result: RunResult | None = None

    @property
    def terminal(self) -> bool:
        return self.result is not None


class SessionUpdated(Message[None]):
    """`about` says what happened if it was no message: deleted, reset, compacted, a new label or model."""

    tenant_id: str
    user_id: str
    session_key: str
    about: msgspec.Raw = msgspec.Raw(b"{}")


class CronEvent(Message[None]):
    """A job was changed or ran: the body of event `cron` (edge-websocket.md §8). For its user and the admins."""

    body: msgspec.Raw


class HeartbeatEvent(Message[None]):
    """What a heartbeat did: the body of event `heartbeat`. For the agent's owner and the admins."""

    body: msgspec.Raw


class AgentEvent(Message[None]):
    """`agent.updated` or `agent.summoning`, for the agent's owner and the admins."""

    type: str
    body: msgspec.Raw


class ProviderStatus(Message[None]):
    """A model rests, or may be asked again: the body of event `provider.status`. For admins."""

    body: msgspec.Raw


class AgentAlert(Message[None]):
    """An agent has something to say to whoever runs this: the body of event `agent.alert`. For admins."""

    body: msgspec.Raw


class SelfChecked(Message[None]):
    """The look at everything after a start is over: the body of event `startup.selfcheck`. For admins."""

    body: msgspec.Raw


class ShuttingDown(Message[None]):
    """The gateway drains. Sent to every socket before it is closed."""

    reason: str
    in_ms: int
    reconnect_after_ms: int


class Pulse(Message[None]):
    """Time has passed: look who is silent. One for all sockets, so that an idle one needs no clock of its own."""


class Farewell(Message[None]):
    """Sockets close now, with 1001."""


class Saturation(Message[None]):
    """A lane keeps its runs waiting for too long, or no longer (`level` 0). Told as `system.backpressure`."""

    lane: str
    level: int
    wait_p95: float  # seconds
    queued: int


class ChaosEvent(Message[None]):
    """`chaos.started`, `chaos.fired` (at most ten a second) and `chaos.ended`, whose body is the report."""

    type: str
    body: msgspec.Raw


class EstopEvent(Message[None]):
    """`estop.engaged` or `estop.released`, with what and by whom. For admins."""

    type: str
    body: msgspec.Raw


def body(**members: Any) -> msgspec.Raw:
    """An event's payload, encoded."""
    return msgspec.Raw(msgspec.json.encode(members))


# --- groups ---------------------------------------------------------------------------------------

RUNS = "runs"  # every event of every run, for whoever keeps them
SOCKETS = "sockets.open"  # every connection, greeted or not
EVERYBODY = "sockets"  # every authenticated connection


def of_run(run_id: str) -> str:
    return f"run.{run_id}"


def of_user(tenant_id: str, user_id: str) -> str:
    return f"user.{tenant_id}.{user_id}"


def of_admins(tenant_id: str) -> str:
    return f"admins.{tenant_id}"


def of_operators(tenant_id: str) -> str:
    """Operators and admins."""
    return f"operators.{tenant_id}"
