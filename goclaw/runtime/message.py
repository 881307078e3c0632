"""What actors say to each other: frozen messages and the runtime's own signals. Contract: supervision.md §3, §4.3."""

from __future__ import annotations

import math
import re
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


class Signal(Message[None]):
    """Control traffic: overtakes ordinary messages and never waits for room."""


class Notice(Signal):
    """Always finds room but keeps its place: what its subject said before is heard before."""


class Stop(Signal):
    """Finish the message in hand, stop the children, then end."""

    reason: str = "shutdown"


class Suspend(Signal):
    """Hold ordinary messages back until `Resume`; control is still served."""


class Resume(Signal):
    """Serve ordinary messages again."""


class Cancel(Signal):
    """Cancel the handler that runs now, if its actor is `preemptible`. The actor lives on (§4.3)."""

    reason: str
    by: str = ""


class Passivate(Signal):
    """Sleep, if a virtual actor has nothing to do and agrees (§10 R7)."""


class RestartDue(Notice):
    """A child's back-off or quarantine is over."""

    address: Address


class Down(Notice):
    """A watched actor is gone for good. At most one per `monitor`."""

    address: Address
    incarnation: int
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

    __slots__ = ("message", "principal", "sender")

    reply: Reply | None = None
    deadline: float = math.inf  # monotonic seconds
    chain: tuple[Address, ...] = ()

    def __init__(self, message: Message[Any], sender: Address | None = None, principal: object = None) -> None:
        self.message = message
        self.sender = sender
        self.principal = principal

    def left(self) -> bool:
        """Called once when it leaves a mailbox. False if it lost its point while it waited."""
        return True

    def defer(self) -> Reply | None:
        """Take the duty to answer out of it, if there is one."""
        return None


class Asked(Envelope):
    """A message somebody waits for."""

    __slots__ = ("chain", "deadline", "reply")

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
        self.reply = reply
        self.deadline = deadline
        self.chain = chain  # who waits for whom, oldest first; the cycle check scans it

    def defer(self) -> Reply | None:
        reply, self.reply = self.reply, None
        return reply
