"""What a supervisor knows of a child: how it starts, how often it may crash, how often it did.

Contract: supervision.md §8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any

from goclaw.runtime.actor import Actor

if TYPE_CHECKING:
    from goclaw.runtime.crash import Crash
    from goclaw.runtime.message import Message
    from goclaw.runtime.timers import Timer

POISONS = 16  # remembered per cell
ABNORMAL = frozenset({"crash", "killed", "lease_lost"})


class State(Enum):
    """Where a cell is in its life (supervision.md §7)."""

    STARTING = "starting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    BACKOFF = "backoff"
    QUARANTINED = "quarantined"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Restart(Enum):
    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # only after an abnormal end
    TEMPORARY = "temporary"  # never


class Strategy(Enum):
    """Who is restarted with a child that ended."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    DYNAMIC = "dynamic"  # one_for_one over children that come and go; crashes are counted per child


class Ordered(Enum):
    """What an operator wants of a child that is about to end. It never counts as a crash."""

    RESTART = "restart"
    STOP = "stop"  # its supervisor leaves it alone until somebody restarts it


class Exhausted(Enum):
    """What a child's last allowed crash leads to."""

    ESCALATE = "escalate"  # the supervisor gives up and crashes with it
    QUARANTINE = "quarantine"  # the child rests; its neighbours never notice


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `restarts` within the last `within` seconds."""

    restarts: int = 3
    within: float = 5.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between a crash and the restart. Source: supervision.md §8.1."""

    first: float = 0.1
    longest: float = 30.0
    factor: float = 2.0
    jitter: float = 0.2  # ± share
    reset_after: float = 60.0  # a life this long starts the streak again, and its restart is immediate


class History:
    """What crashes have cost a cell so far. Most cells share `UNSCATHED`."""

    __slots__ = (
        "backoff", "by", "due", "last_crash", "ordered", "poison", "quarantined_until", "quarantines", "restarts",
        "streak", "suspect", "times",
    )  # fmt: skip

    def __init__(self) -> None:
        self.restarts = 0
        self.times: list[float] = []  # restarts inside the limit's window, monotonic seconds
        self.streak = 0  # restarts since the last long life
        self.quarantines = 0  # likewise
        self.quarantined_until = 0.0
        self.due: Timer | None = None  # ends the back-off or quarantine
        self.last_crash: Crash | None = None
        self.backoff = 0.0  # seconds of the rest before the last restart
        self.suspect: Message[Any] | None = None  # what the last crash had in hand
        self.poison: deque[Message[Any]] | None = None  # what two incarnations in a row died of
        self.ordered: Ordered | None = None  # an operator wants this end
        self.by = ""  # which operator

    def remember(self, crash: Crash, in_hand: Message[Any] | None) -> None:
        """One more crash. A message that had a part in this one and the one before is poison (§8.5)."""
        self.last_crash = crash
        if in_hand is not None and self.suspect is not None and same_work(in_hand, self.suspect):
            self.poison = self.poison or deque(maxlen=POISONS)
            self.poison.append(in_hand)
        self.suspect = in_hand

    def poisoned(self, message: Message[Any]) -> bool:
        return self.poison is not None and any(same_work(message, known) for known in self.poison)


def same_work(one: Message[Any], other: Message[Any]) -> bool:
    """They are one message, or say by their keys that they are the same work."""
    key = one.poison_key
    return one is other or (key is not None and type(one) is type(other) and key == other.poison_key)


UNSCATHED = History()


def restart_delay(attempt: int, spec: Backoff, rng: Random) -> float:
    """Seconds to wait before restart `attempt` of a streak (1 = the first). Raises ValueError below 1."""
    if attempt < 1:
        raise ValueError("attempts count from 1")
    delay = min(spec.longest, spec.first * spec.factor ** min(attempt - 1, 64))
    return delay * (1 + spec.jitter * (2 * rng.random() - 1))


@dataclass(frozen=True, slots=True)
class Child:
    """One line of a supervisor's table of contents. `start(*args)` makes a fresh actor for each incarnation."""

    id: str
    start: Callable[..., Actor]
    args: tuple[Any, ...] = ()
    restart: Restart = Restart.PERMANENT
    shutdown: float = 5.0  # seconds of an orderly stop, then it is killed; supervisors take what they need
    backoff: Backoff = Backoff()
    limit: Limit | None = None  # own limit under a dynamic supervisor; otherwise the supervisor's
    on_exhausted: Exhausted | None = None  # likewise
    depends_on: tuple[str, ...] = ()  # siblings that start before it
    lease: str = ""  # the shard whose lease its activation needs
    critical: bool = False  # while it is not running, health says degraded
    significant: bool = False  # its normal end ends the supervisor normally, see `Supervisor.ends_with`
    dormant: bool = False  # a task exists only while the mailbox is not empty
    kind: str = "io"


def child(id: str, start: Callable[..., Actor], *args: Any, **options: Any) -> Child:
    """`child("lanes", lanes, settings)`: the positional form supervisors are written in."""
    return Child(id, start, args, **options)
