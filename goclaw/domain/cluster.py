"""Several gateways on one database: who owns what, and how they wake each other.

Contract: durability.md §10, §12.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from msgspec import Struct

from goclaw.runtime.message import Message

SHARDS = 256

WakeKind = Literal["runs", "outbox", "cancel", "inbox", "cache", "lease"]

MARKS = "cluster.marks"  # group: what other nodes should hear of, as `Marked`; nobody listens on a node alone
HEARD = "cluster.heard"  # group: what other nodes told, as `Woken` and `Missed`


def shard_of(tenant: str, key: str) -> int:
    """Which of the 256 owners a session has; the same on every node (durability.md §2)."""
    return hashlib.sha256(f"{tenant}\0{key}".encode()).digest()[0]


def advisory_key(node_id: str) -> int:
    """The lock that a node holds as long as its listening connection lives: 64 bits with a sign."""
    return int.from_bytes(hashlib.sha256(f"goclaw node {node_id}".encode()).digest()[:8], signed=True)


class Ownership:
    """What this node may do now. One per process: `/infra/cluster` writes it, whoever starts work reads it.

    A node alone on its database (`alone`: the embedded server) owns everything and never loses it.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.alone = alone
        self.held = True  # False: the node cannot prove that it lives, so it starts nothing (durability.md §12.5)
        self.stopped = False  # an operator stopped everything, so nothing is started (security.md §13)
        self.peers = 0  # other living nodes, as of the last look
        self.met = 0  # looks that found others, and times when nobody looked
        self.listening = False  # whoever leaves us work rings
        self.shards: dict[int, int] = {}  # ours, with their fences

    @property
    def sole(self) -> bool:
        """Nobody else touches what we know, so it may be remembered."""
        return self.alone or (self.held and self.peers == 0)

    @property
    def company(self) -> int | None:
        """What was read is good while this stays the same. None: others write too."""
        return self.met if self.sole else None

    @property
    def where(self) -> list[int] | None:
        """The shards whose work is ours; None means all."""
        return None if self.alone else list(self.shards)

    def has(self, tenant: str, key: str) -> bool:
        """This session is ours: its runs are for us to claim."""
        return self.alone or (self.held and shard_of(tenant, key) in self.shards)


class Lease(Struct, frozen=True):
    """How long a node is believed to live without a word, in seconds, and what follows from it."""

    ttl: float = 15.0

    @property
    def renew(self) -> float:
        """Seconds between two renewals."""
        return self.ttl / 3

    @property
    def early(self) -> float:
        """Age at which the lease of a node without its advisory lock may be taken."""
        return self.ttl * 0.4

    @property
    def quarantine(self) -> float:
        """Age of the last renewal at which a node stops trusting itself."""
        return self.ttl * 2 / 3


class Marked(Message[None]):
    """Published to MARKS after a commit that concerns other nodes."""

    kind: WakeKind
    shard: int | None = None
    topic: str = ""


class Woken(Message[None]):
    """Another node rang: something of this kind changed. Losing it costs a poll, never work (W4)."""

    kind: WakeKind
    shards: tuple[int, ...] = ()
    topics: tuple[str, ...] = ()


class Missed(Message[None]):
    """We could not hear for a while: look everywhere (W5)."""


def run_topic(run_id: str) -> str:
    return f"run:{run_id}"


def runs_in(topics: tuple[str, ...]) -> list[str]:
    """The ids of runs among the topics of a wake-up."""
    return [topic.removeprefix("run:") for topic in topics if topic.startswith("run:")]
