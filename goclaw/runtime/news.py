"""What happens to actors, as messages of the group `EVENTS`. Contract: edge-websocket.md §8.4, supervision.md §15."""

from __future__ import annotations

from datetime import datetime

from goclaw.runtime.address import Address
from goclaw.runtime.crash import Crash
from goclaw.runtime.message import Message

EVENTS = "system.actors"  # the group all of these are published to


class ActorNews(Message[None]):
    """Something happened to an actor or on the node. `event` is its name outside."""

    event: str
    at: datetime


class LifeNews(ActorNews):
    """`actor.started`, `stopped`, `crashed`, `restarted`, `quarantined`, `escalated`."""

    path: Address
    kind: str
    of_class: str
    incarnation: int
    reason: str = ""
    crash: Crash | None = None
    supervisor: str = ""
    strategy: str = ""  # the supervisor's
    restarts_window: int = 0
    backoff_ms: int | None = None
    by: str = ""  # who asked for it, "" for nobody


class MailboxFilling(ActorNews):
    """A mailbox passed four fifths of its capacity. At most once a second per actor."""

    path: Address
    depth: int
    capacity: int
    dropped: int


class ActorSlow(ActorNews):
    """A handler of a class that calls itself responsive runs for more than five seconds."""

    path: Address
    of_class: str
    message_type: str
    age_ms: int


class DeadLettersRising(ActorNews):
    """More than ten dead letters a second for ten seconds."""

    reason: str
    rate: float  # per second
    top_type: str
