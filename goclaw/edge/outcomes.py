"""Whatever a request runs into becomes one named refusal. No exception text leaves the process.

Contract: edge-websocket.md §3.1.
"""

from __future__ import annotations

import secrets

import structlog

from goclaw.domain.errors import (
    Err,
    ProviderError,
    Rejected,
    StoreError,
    exhausted,
    failed_precondition,
    internal,
    not_found,
    provider_failed,
    unavailable,
)
from goclaw.runtime.faults import (
    ActorCrashed,
    ActorStopped,
    AskCycle,
    AskTimeout,
    MailboxFull,
    NoSuchActor,
    QueueDropped,
    StartFailed,
)

log = structlog.get_logger()


def refusal_of(error: Exception, what: str) -> Err:
    """The answer for a request that raised `error`; `what` names the method or route in the log."""
    match error:
        case Rejected(err=err):
            return err
        case MailboxFull():
            return exhausted("mailbox_full", 1.0)
        case QueueDropped():
            return exhausted("queue_dropped", 1.0)
        case AskTimeout():
            return unavailable("timeout")
        case ActorCrashed(fingerprint=fingerprint):
            # not retryable: the handler may have done its work before it crashed
            return Err("UNAVAILABLE", "unavailable", {"reason": "crashed", "fingerprint": fingerprint})
        case StartFailed():
            return unavailable("start_failed", 1.0)
        case ActorStopped():
            return unavailable("restarting")
        case AskCycle():
            return failed_precondition("cycle")
        case NoSuchActor():
            return not_found("actor", str(error))
        case ProviderError():
            return provider_failed(error)
        case StoreError():
            log.warning("edge.store_failed", what=what, error=str(error))
            return unavailable("store", 2.0)
        case _:
            error_id = secrets.token_hex(8)
            log.error("edge.failed", what=what, error_id=error_id, exc_info=error)
            return internal(error_id)
