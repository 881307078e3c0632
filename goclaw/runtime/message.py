"""What actors say to each other: frozen messages and the runtime's own signals. Contract: supervision.md §3, §4.3."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, dataclass_transform

import msgspec

from goclaw.runtime.address import Address

if TYPE_CHECKING:
    from goclaw.runtime.reply import Reply

R = TypeVar("R", covariant=True)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class MessageType(msgspec.StructMeta):
    """Makes every message frozen and keyword-only by inheritance, and gives it a dotted `TYPE`."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        if "TYPE" not in namespace:
            subject = namespace.get("__module__", "").rpartition(".")[2]
            namespace["TYPE"] = f"{subject}.{re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()}"
        return super().__new__(mcls, name, bases, namespace, **{"frozen": True, "kw_only": True, **options})


class Message(msgspec.Struct, Generic[R], metaclass=MessageType):
    """A message whose answer has type `R`; `Message[None]` is for telling.

    `TYPE` defaults to `<module>.<class_in_snake_case>`. The struct is its own codec (M4).
    """

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1
    REMOTE: ClassVar[bool] = True  # False: it holds a local handle and never leaves the node (M4)
    IDEMPOTENT: ClassVar[bool] = False  # may be asked again after its handler crashed (§6)
    LOSABLE: ClassVar[bool] = False  # its sender need not look whether there was room
    CANCEL_WITH_ASKER: ClassVar[bool] = False  # nobody wants its effect once the asker is gone (D3)

    @property
    def subject(self) -> str:
        """What a `Cancel` may name it by, a run id for instance."""
        return ""

    @property
    def poison_key(self) -> Hashable:
        """Equal for messages that are the same work. By default only the very same object is."""
        return None


class Signal(Message[R]):
    """Control traffic: overtakes ordinary messages and never waits for room."""


class Notice(Signal[None]):
    """Always finds room but keeps its place: what its subject said before is heard before."""


class Stop(Signal[None]):
    """Finish the message in hand, stop the children, then end."""

    reason: str = "shutdown"


class Suspend(Signal[None]):
    """Hold ordinary messages back until `Resume`; control is still served."""


class Resume(Signal[None]):
    """Serve ordinary messages again."""


class Cancel(Signal[None]):
    """Cancel the handler that runs now, if its actor is `preemptible`. The actor lives on (§4.3).

    With a subject it hits only work of that subject: what runs, and what waits in the mailbox.
    """

    reason: str
    by: str = ""
    of: str = ""


class Drain(Signal[None]):
    """Bring the work in hand to a good place and stop taking more (§14). A crash does not forget it."""

    within: float = 0.0  # seconds


class LeaseLost(Signal[None]):
    """Somebody else owns the address now: whatever runs is cancelled, `on_stop` is not called (§4.3)."""

    key: str = ""


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """How an actor answers a `Probe`."""

    state: str
    handle_ms: float  # age of the handler that runs, 0 between two messages
    in_hand: str = ""  # type of its message
    waiting: int = 0  # ordinary messages behind it


class Probe(Signal[Probed]):
    """Are you alive? Answered by the runtime: at once while a handler runs, else by the actor's loop (§4.3)."""


class Passivate(Signal[None]):
    """Sleep, if a virtual actor has nothing to do and agrees (§10 R7)."""


class RestartDue(Notice):
    """A child's back-off or quarantine is over, or an operator `asked` for a start or stop that needs its parent."""

    address: Address
    asked: bool = False


class Down(Notice):
    """A monitored actor is gone for good, quarantined or, if that was asked for, passivated. One per `monitor`."""

    address: Address
    incarnation: int
    reason: str


class Restarted(Notice):
    """A monitored actor has a new incarnation; for those who asked for it (§8.5)."""

    address: Address
    incarnation: int


class LinkExit(Notice):
    """A linked actor ended abnormally. A crash here too, unless the actor's class says `trap_links` (§9)."""

    address: Address
    reason: str


class ChildEnded(Notice):
    """A child's incarnation ended. Actors that start children may handle it; supervisors always do."""

    address: Address
    incarnation: int
    reason: str  # normal, shutdown, passivated, crash, killed
    error: str = ""  # fingerprint of a crash


class Told(Enum):
    """What became of a told message. Senders of work that matters look at it."""

    ACCEPTED = "accepted"
    FULL = "full"
    NO_ACTOR = "no_actor"
    CLOSED = "closed"


class Envelope:
    """A message under way, and what the receiver may know about its sender."""

    __slots__ = ("message", "principal", "sender", "since")

    asked = False
    reply: Reply | None = None
    deadline: float = math.inf  # monotonic seconds
    chain: tuple[Address, ...] = ()

    def __init__(self, message: Message[Any], sender: Address | None = None, principal: object = None) -> None:
        self.message = message
        self.sender = sender
        self.principal = principal
        self.since: float | None = None  # when a mailbox took it in, in seconds of `Load.now`; not all are timed

    def left(self) -> bool:
        """Called once when it leaves a mailbox. False if it lost its point while it waited."""
        return True

    def defer(self) -> Reply | None:
        """Take the duty to answer out of it, if there is one."""
        return None


class Asked(Envelope):
    """A message somebody waits for."""

    __slots__ = ("chain", "deadline", "reply")

    asked = True

    def __init__(
        self,
        message: Message[Any],
        sender: Address | None,
        principal: object,
        reply: Reply,
        deadline: float,
        chain: tuple[Address, ...],
    ) -> None:
        self.message = message
        self.sender = sender
        self.principal = principal
        self.since = None
        self.reply = reply
        self.deadline = deadline
        self.chain = chain  # who waits for whom, oldest first; the cycle check scans it

    def defer(self) -> Reply | None:
        reply, self.reply = self.reply, None
        return reply
