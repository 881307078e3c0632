"""Whatever a request runs into becomes one named refusal. Contract: edge-websocket.md §3.1."""

from __future__ import annotations

import pytest

from goclaw.domain.errors import Err, ProviderError, Rejected, StoreError, not_found
from goclaw.domain.texts import TEXTS
from goclaw.edge.http.answers import status_of
from goclaw.edge.outcomes import refusal_of
from goclaw.runtime.faults import (
    ActorCrashed,
    ActorStopped,
    AskCycle,
    AskTimeout,
    DoubleReply,
    MailboxFull,
    NoSuchActor,
    QueueDropped,
    SelfAsk,
    StartFailed,
)

QUARANTINED = Err("UNAVAILABLE", "quarantined", {"reason": "quarantined", "path": "/a"}, True, 300.0)


@pytest.mark.parametrize(
    ("error", "code", "reason", "retryable", "status"),
    [
        (Rejected(not_found("agent", "x")), "NOT_FOUND", None, False, 404),
        (Rejected(QUARANTINED), "UNAVAILABLE", "quarantined", True, 503),
        (MailboxFull(), "RESOURCE_EXHAUSTED", "mailbox_full", True, 503),
        (QueueDropped(), "RESOURCE_EXHAUSTED", "queue_dropped", True, 429),
        (AskTimeout(), "UNAVAILABLE", "timeout", True, 503),
        (ActorCrashed("/a", "f1"), "UNAVAILABLE", "crashed", False, 503),
        (StartFailed("/a", ValueError("bad row")), "UNAVAILABLE", "start_failed", True, 503),
        (ActorStopped(), "UNAVAILABLE", "restarting", True, 503),
        (NoSuchActor("/a"), "NOT_FOUND", None, False, 404),
        (AskCycle(), "FAILED_PRECONDITION", "cycle", False, 409),
        (SelfAsk(), "FAILED_PRECONDITION", "cycle", False, 409),
        (ProviderError("overloaded", "busy"), "UNAVAILABLE", "provider_error", True, 502),
        (ProviderError("auth", "bad key"), "UNAVAILABLE", "provider_error", False, 502),
        (StoreError("unavailable", "no route to db.internal"), "UNAVAILABLE", "store", True, 503),
    ],
)
def test_what_can_happen_has_a_name(
    error: Exception, code: str, reason: str | None, retryable: bool, status: int
) -> None:
    err = refusal_of(error, "chat.send")
    assert (err.code, err.details.get("reason"), err.retryable) == (code, reason, retryable)
    assert status_of(err) == status
    assert err.key in TEXTS


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("password=hunter2"),
        DoubleReply("hunter2"),
        ExceptionGroup("hunter2", [KeyError("hunter2")]),
        StoreError("conflict", "hunter2"),
    ],
)
def test_no_text_of_an_exception_leaves_the_process(error: Exception) -> None:
    assert "hunter2" not in repr(refusal_of(error, "GET /"))


def test_the_unforeseen_has_an_id_to_look_for() -> None:
    one, other = (refusal_of(ValueError("x"), "GET /") for _ in range(2))
    assert (one.code, one.retryable) == ("INTERNAL", True)
    assert len(one.details["errorId"]) == 16
    assert one.details["errorId"] != other.details["errorId"]


def test_a_crash_is_named_by_its_fingerprint() -> None:
    assert refusal_of(ActorCrashed("/a", "f1"), "x").details["fingerprint"] == "f1"
