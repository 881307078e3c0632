"""Events of the house as frames of a socket. Contract: edge-websocket.md §6.2, §8."""

from __future__ import annotations

import json
from typing import Any

import pytest

from goclaw.domain.events import ChaosEvent, Farewell, RunEvent, SessionUpdated, ShuttingDown, body
from goclaw.edge.ws.news import entry_of
from goclaw.edge.ws.outbox import Outbox
from goclaw.runtime.message import Message


def happened(type: str, **more: Any) -> RunEvent:
    facts: dict[str, Any] = {"agent_key": "scout", "session_key": "agent:scout:x", "kind": "chat", **more}
    return RunEvent(type=type, run_id="r", run_seq=3, ts=7, tenant_id="t", user_id="lan", **facts)


def sent(message: Message[Any]) -> dict[str, Any]:
    entry, outbox = entry_of(message, "conn_1"), Outbox()
    assert entry is not None
    assert outbox.put(entry)
    frame: dict[str, Any] = json.loads(outbox.take())
    return frame


ENVELOPE = {"runId": "r", "agentId": "scout", "sessionKey": "agent:scout:x", "runSeq": 3, "userId": "lan", "ts": 7}


def test_a_run_event_has_an_envelope_and_a_payload() -> None:
    frame = sent(happened("run.started", body=body(model="m")))
    assert (frame["event"], frame["payload"]) == (
        "agent",
        {"type": "run.started", **ENVELOPE, "payload": {"model": "m"}},
    )


def test_a_delta_has_its_text_in_both_places() -> None:
    assert sent(happened("chunk", text="hi"))["payload"] == {
        "type": "chunk",
        **ENVELOPE,
        "text": "hi",
        "payload": {"content": "hi"},
    }


@pytest.mark.parametrize(("kind", "shown"), [("chat", None), ("http", "http")])
def test_a_users_own_turn_needs_no_kind(kind: str, shown: str | None) -> None:
    assert sent(happened("run.queued", kind=kind))["payload"].get("runKind") == shown


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        ("run.queued", "keep"),
        ("run.completed", "keep"),
        ("tool.call", "keep"),
        ("tool.result", "keep"),
        ("activity", "newest"),
        ("chunk", "merge"),
        ("thinking", "merge"),
    ],
)
def test_an_event_has_its_class(type: str, kind: str) -> None:
    entry = entry_of(happened(type), "conn_1")
    assert entry is not None
    assert entry.kind == kind


def test_sessions_and_shutdowns_are_told() -> None:
    session = sent(SessionUpdated(tenant_id="t", user_id="lan", session_key="agent:a:b"))
    assert (session["event"], session["payload"]) == ("session.updated", {"sessionKey": "agent:a:b", "userId": "lan"})
    shutdown = sent(ShuttingDown(reason="deploy", in_ms=5, reconnect_after_ms=9))
    assert shutdown["payload"] == {"reason": "deploy", "in_ms": 5, "reconnectAfterMs": 9}


@pytest.mark.parametrize(
    ("type", "kind"), [("chaos.started", "keep"), ("chaos.fired", "newest"), ("chaos.ended", "keep")]
)
def test_chaos_is_told_and_its_firings_give_way(type: str, kind: str) -> None:
    event = ChaosEvent(type=type, body=body(id="p"))
    entry = entry_of(event, "conn_1")
    assert entry is not None
    assert entry.kind == kind
    assert (sent(event)["event"], sent(event)["payload"]) == (type, {"id": "p"})


@pytest.mark.parametrize("message", [happened("run.released"), Farewell()])
def test_what_is_not_for_sockets_is_not_sent(message: Message[Any]) -> None:
    assert entry_of(message, "conn_1") is None
