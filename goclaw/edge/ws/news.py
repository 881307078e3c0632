"""Events of the house as frames of a socket: who may see them, under which name, with which members.

Contract: edge-websocket.md §6.1, §8. The groups a connection joins already decide most of who sees what.
"""

from __future__ import annotations

from typing import Any

import msgspec

from goclaw.domain.approval import ApprovalEvent
from goclaw.domain.budget import BudgetEvent
from goclaw.domain.config import ConfigEvent
from goclaw.domain.events import (
    AgentAlert,
    AgentEvent,
    ChaosEvent,
    CronEvent,
    EstopEvent,
    HeartbeatEvent,
    ProviderStatus,
    RunEvent,
    Saturation,
    SelfChecked,
    SessionUpdated,
    ShuttingDown,
)
from goclaw.domain.hook import HookEvent
from goclaw.domain.policy import PolicyEvent
from goclaw.domain.process import ProcessEvent
from goclaw.domain.subagent import SubagentEvent
from goclaw.domain.tools import ToolsEvent
from goclaw.edge.ws.outbox import Entry
from goclaw.runtime.message import Message

DELTAS = frozenset({"chunk", "thinking"})
INTERNAL = frozenset({"run.released"})  # never sent: the run goes on after the restart


def entry_of(message: Message[Any], connection_id: str) -> Entry | None:
    """The frame for an event, None if sockets are not told of it."""
    match message:
        case RunEvent(type=type) if type in INTERNAL:
            return None
        case RunEvent(type=type) if type in DELTAS:
            return Entry("merge", "agent", run_event(message), key=(message.run_id, type), text=message.text)
        case RunEvent(type="run.queued") if message.asked_by == connection_id:
            members = {**msgspec.json.decode(message.body), "requestId": message.request_id}
            return Entry("keep", "agent", {**run_event(message), "payload": members})
        case RunEvent(type=type):
            payload = {**run_event(message), "payload": message.body}
            return Entry("newest" if type == "activity" else "keep", "agent", payload)
        case SessionUpdated():
            whose = {"sessionKey": message.session_key, "userId": message.user_id}
            return Entry("keep", "session.updated", {**whose, **msgspec.json.decode(message.about)})
        case CronEvent():
            return Entry("keep", "cron", message.body)
        case BudgetEvent(type=type):
            return Entry("keep", type, message.body)
        case ApprovalEvent(type=type) | ProcessEvent(type=type) | SubagentEvent(type=type):
            return Entry("keep", type, message.body)
        case HeartbeatEvent():
            return Entry("keep", "heartbeat", message.body)
        case PolicyEvent(type="policy.reloaded"):
            return Entry("keep", "policy.reloaded", message.body)
        case PolicyEvent():
            return Entry("keep", "policy.rejected", message.body)
        case ConfigEvent(type="config.reloaded"):
            return Entry("keep", "config.reloaded", message.body)
        case ConfigEvent(type="config.rejected"):
            return Entry("keep", "config.rejected", message.body)
        case ConfigEvent(type="config.rollback"):
            return Entry("keep", "config.rollback", message.body)
        case ConfigEvent():
            return Entry("keep", "config.restart_needed", message.body)
        case HookEvent():
            return Entry("keep", "security.hook.circuit_breaker", message.body)
        case EstopEvent(type="estop.engaged"):
            return Entry("keep", "estop.engaged", message.body)
        case EstopEvent():
            return Entry("keep", "estop.released", message.body)
        case AgentEvent(type="agent.updated"):
            return Entry("keep", "agent.updated", message.body)
        case AgentEvent():
            return Entry("keep", "agent.summoning", message.body)
        case ToolsEvent():
            return Entry("keep", "tools.updated", message.body)
        case ProviderStatus():
            return Entry("keep", "provider.status", message.body)
        case SelfChecked():
            return Entry("keep", "startup.selfcheck", message.body)
        case AgentAlert():
            return Entry("keep", "agent.alert", message.body)
        case ShuttingDown():
            return Entry(
                "keep",
                "shutdown",
                {
                    "reason": message.reason,
                    "in_ms": message.in_ms,
                    "reconnectAfterMs": message.reconnect_after_ms,
                },
            )
        case Saturation():
            members = {
                "dropped": 0,
                "classes": [],
                "queued": message.queued,
                "lane": message.lane,
                "level": message.level,
                "waitP95Ms": int(message.wait_p95 * 1000),
            }
            return Entry("keep", "system.backpressure", members)
        case ChaosEvent(type="chaos.fired"):
            return Entry("newest", "chaos.fired", message.body)
        case ChaosEvent(type="chaos.started"):
            return Entry("keep", "chaos.started", message.body)
        case ChaosEvent():
            return Entry("keep", "chaos.ended", message.body)
        case _:
            return None


def run_event(event: RunEvent) -> dict[str, Any]:
    """The envelope of edge-websocket.md §8.1, without its payload."""
    envelope: dict[str, Any] = {
        "type": event.type,
        "runId": event.run_id,
        "agentId": event.agent_key,
        "sessionKey": event.session_key,
        "runSeq": event.run_seq,
        "userId": event.user_id,
        "ts": event.ts,
    }
    if event.kind != "chat":
        envelope["runKind"] = event.kind
    return envelope
