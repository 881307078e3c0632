"""What can go wrong between two actors: refusals as values, faults as exceptions.

Contract: supervision.md §6. A refusal (`Err`) is an answer; a fault says the runtime could not get one.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Err(msgspec.Struct, frozen=True):
    """An expected no. Actors return it; whoever asked gets it raised as `Rejected`.

    `key` names a human text, `details` fills its placeholders and is sent as machine data.
    `retry_after` is in seconds and only meaningful with `retryable`.
    """

    code: str
    key: str
    details: dict[str, Any] = {}
    retryable: bool = False
    retry_after: float | None = None


class Rejected(Exception):
    """An `Err` on its way to the caller."""

    def __init__(self, err: Err) -> None:
        super().__init__(f"{err.code} {err.key} {err.details or ''}".rstrip())
        self.err = err


def capacity() -> Err:
    """No more children fit below this supervisor."""
    return Err("RESOURCE_EXHAUSTED", "resource_exhausted", {"reason": "capacity"}, retryable=True, retry_after=1.0)


def quarantined(path: str, rest: float) -> Err:
    """The actor crashed too often and is left alone for `rest` seconds."""
    details = {"reason": "quarantined", "path": str(path)}  # an address is no plain text to encoders
    return Err("UNAVAILABLE", "quarantined", details, retryable=True, retry_after=rest)


def storm(rest: float) -> Err:
    """Actors of this class crash in crowds; nobody new is let in for `rest` seconds."""
    return Err("UNAVAILABLE", "unavailable", {"reason": "crash_storm"}, retryable=True, retry_after=rest)


def cancelled() -> Err:
    """A `Cancel` ended the handler of this message."""
    return Err("UNAVAILABLE", "cancelled", {"reason": "cancelled"})


class RuntimeFault(Exception):
    """The runtime could not deliver or get an answer. `retryable` follows supervision.md §6."""

    retryable = False


class MailboxFull(RuntimeFault):
    """The receiver had no room before the deadline."""

    retryable = True


class QueueDropped(RuntimeFault):
    """A newer message pushed this one out of a `drop_old` mailbox."""

    retryable = True


class NoSuchActor(RuntimeFault):
    """Nothing is registered at the address and no virtual class claims it."""


class ActorStopped(RuntimeFault):
    """The receiver stopped before it handled the message."""

    retryable = True


class ActorCrashed(RuntimeFault):
    """The handler of this very message crashed. Carries the crash's fingerprint; retryable if it is IDEMPOTENT."""

    def __init__(self, path: str, fingerprint: str, *, retryable: bool = False) -> None:
        super().__init__(f"{path} crashed ({fingerprint})")
        self.path = path
        self.fingerprint = fingerprint
        self.retryable = retryable


class AskTimeout(RuntimeFault):
    """No reply before the deadline. The handler may still be running."""


class AskCycle(RuntimeFault):
    """The receiver already waits, directly or not, for the sender."""


class SelfAsk(AskCycle):
    """An actor asked itself."""


class DoubleReply(RuntimeFault):
    """A handler answered the same ask twice: a bug."""


class AlreadyRegistered(RuntimeFault):
    """The address is taken by a living actor."""


class StartFailed(RuntimeFault):
    """A child did not come up, so neither did its supervisor. `cause` is what it raised."""

    def __init__(self, path: str, cause: BaseException) -> None:
        super().__init__(f"{path} failed to start: {cause}")
        self.path = path
        self.cause = cause


class Escalated(RuntimeFault):
    """A child crashed more often than its limit allows; the supervisor gives up with it.

    Its text does not name the child: more people may read of the supervisor's crash than of the child.
    """

    def __init__(self, path: str, fingerprint: str) -> None:
        super().__init__(f"a child exceeded its restart limit ({fingerprint})")
        self.path = path
        self.fingerprint = fingerprint


class LinkBroken(RuntimeFault):
    """A linked actor ended abnormally, so this one does too."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} ended: {reason}")
        self.path = path
        self.reason = reason


class NotRemotable(RuntimeFault):
    """The message holds a local handle and cannot leave this node: a bug of the sender."""


class MutableMessage(RuntimeFault):
    """Debug mode: a message carries something that can change after it was sent."""


class IgnoredFull(RuntimeFault):
    """Debug mode: a `tell` was refused for load, and its sender did not look."""


class InjectedFault(Exception):
    """A planned fault crashed this handler."""

    def __init__(self, plan: str) -> None:
        super().__init__(f"injected by {plan}")
        self.plan = plan


class ControlOverflow(RuntimeFault):
    """More signals waited for an actor than anybody has reason to send: a bug of the sender."""


class ThreadDied(RuntimeFault):
    """A blocking actor's call ended with SystemExit or another exception that ends threads."""


class TooManyZombies(RuntimeFault):
    """Too many threads were left behind in calls that never returned. Only a new process cures that."""


class TooManyThreads(RuntimeFault):
    """No more blocking actors fit on this node."""
