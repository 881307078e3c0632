"""Actors as their authors see them: a class with handlers, and the context each handler gets.

Contract: supervision.md §5, §7.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, Protocol, TypeVar, get_type_hints

from goclaw.runtime.address import Address
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Asked, Envelope, Message, Stop, Told

if TYPE_CHECKING:
    import structlog

    from goclaw.runtime.cell import Cell
    from goclaw.runtime.child import Child
    from goclaw.runtime.clock import Clock
    from goclaw.runtime.reply import Reply
    from goclaw.runtime.system import System
    from goclaw.runtime.timers import Timer

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])
MARGIN = 0.005  # seconds an inherited deadline shrinks by, so the callee gives up first; supervision.md §6 D1

Handler = tuple[Callable[..., Any], bool]  # a function, and whether it is a coroutine function
Table = dict[type, Handler]


class Database(Protocol):
    """Runs a unit of work in one transaction. Handed over when the system is opened."""

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any: ...


def handles(method: M) -> M:
    """Mark a method as the handler of the message type its last parameter is annotated with."""
    method.__handles__ = True  # type: ignore[attr-defined]  # a mark, read by `Actor.table`
    return method


class Actor:
    """Private state and handlers, one of which runs at a time. State is lost in a crash: `on_start` re-reads it.

    A handler returns its answer, or an `Err` to refuse. An exception means "I am broken": the supervisor
    restarts the actor and whoever asked gets `ActorCrashed`. Work slower than a database round trip is a child.
    """

    capacity: ClassVar[int] = 1024
    overflow: ClassVar[Overflow] = Overflow.REJECT
    preemptible: ClassVar[bool] = False  # a `Cancel` signal cancels the handler that is running
    weather: ClassVar[tuple[type[Exception], ...]] = ()  # outages: the asker gets them, the actor lives on
    trap_links: ClassVar[bool] = False  # a `LinkExit` is a message to handle instead of a crash
    responsive: ClassVar[bool] = False  # a handler that takes more than 5 s is worth an event (H5)
    start_within: ClassVar[float] = 10.0  # seconds for `on_start`
    supervises: ClassVar[bool] = False  # a stop takes as long as its children need
    _table: ClassVar[Table]

    async def on_start(self, ctx: Context) -> None:
        """Rebuild state from the store. Raising counts as a crash."""

    async def live(self, ctx: Context) -> None:
        """Long work beside the handlers, for resident actors that have some: a listening loop, a watched process.

        Starts after `on_start`. Its end is the actor's normal end, its exception a crash; a stop cancels it.
        """

    async def on_stop(self, ctx: Context, reason: str) -> None:
        """Called after an orderly end only, never after a crash or kill."""

    async def on_passivate(self, ctx: Context) -> bool:
        """A virtual actor was idle for long. False keeps it active."""
        return True

    def coalesce(self, message: Message[Any]) -> Hashable:
        """Under `Overflow.COALESCE`: of waiting messages with equal keys only the newest stays. None is no key."""
        return None

    def release(self) -> None:
        """Called at every end, also after a crash or kill; must not wait. For resources outside the tree."""

    def snapshot(self) -> dict[str, Any]:
        """A few facts for operators, ≤ 4 KiB, no secrets. A handler may be waiting in the middle of its work."""
        return {}

    @classmethod
    def table(cls) -> Table:
        """Message type → handler, built once per class. Raises TypeError for two handlers of one type."""
        if "_table" not in cls.__dict__:
            found: Table = {}
            for name in dir(cls):
                method = getattr(cls, name)
                if getattr(method, "__handles__", False):
                    kind = list(get_type_hints(method).values())[1]  # of self, ctx, message
                    if kind in found:
                        raise TypeError(f"{cls.__name__} has two handlers for {kind.__name__}")
                    found[kind] = (method, inspect.iscoroutinefunction(method))
            cls._table = found
        return cls._table


class Context:
    """What a handler may touch: its own place in the tree, other actors, time, the store. Valid for one message."""

    __slots__ = ("_cell", "_envelope")

    def __init__(self, cell: Cell, envelope: Envelope | None = None) -> None:
        self._cell = cell
        self._envelope = envelope

    @property
    def address(self) -> Address:
        return self._cell.address

    @property
    def incarnation(self) -> int:
        return self._cell.incarnation

    @property
    def system(self) -> System:
        return self._cell.system

    @property
    def clock(self) -> Clock:
        return self._cell.system.clock

    @property
    def rng(self) -> random.Random:
        return self._cell.system.rng

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        return self._cell.log

    @property
    def sender(self) -> Address | None:
        return self._envelope.sender if self._envelope else None

    @property
    def principal(self) -> object:
        return self._envelope.principal if self._envelope else None

    @property
    def deadline(self) -> float:
        """Monotonic seconds after which nobody waits for this answer any more."""
        return self._envelope.deadline if self._envelope else float("inf")

    def tell(self, to: Address, message: Message[Any]) -> Told:
        return self._cell.system.tell(to, message, sender=self._cell.address, principal=self.principal)

    async def ask(self, to: Address, message: Message[T], within: float) -> T:
        """The answer, within so many seconds and never later than our own asker waits.

        Raises `Rejected` for a refusal, `AskTimeout`, `ActorCrashed`, `NoSuchActor`, `MailboxFull`, `AskCycle`.
        """
        envelope = self._envelope
        self._cell.asked += 1
        return await self._cell.system.ask(
            to,
            message,
            within,
            sender=self._cell.address,
            chain=(*envelope.chain, self._cell.address) if envelope else (self._cell.address,),
            latest=self.deadline - MARGIN,
            principal=self.principal,
        )

    async def cast(self, to: Address, message: Message[Any], within: float) -> None:
        """Tell, but wait for room. Raises `MailboxFull`, `NoSuchActor`, or `ActorStopped` if it takes nothing."""
        await self._cell.system.cast(to, message, within, sender=self._cell.address, principal=self.principal)

    def forward(self, to: Address, message: Message[Any]) -> Told:
        """Tell `message` to another actor and leave our asker's answer to it. A refusal reaches the asker."""
        envelope = self._envelope
        if envelope is None or (reply := envelope.defer()) is None:
            return self.tell(to, message)
        asked = Asked(message, self._cell.address, envelope.principal, reply, envelope.deadline, envelope.chain)
        return self._cell.system.hand_on(to, asked)

    def publish(self, group: str, message: Message[Any]) -> int:
        return self._cell.system.publish(group, message, sender=self._cell.address)

    def join(self, group: str) -> None:
        self._cell.system.join(group, self._cell)

    def leave(self, group: str) -> None:
        self._cell.system.leave(group, self._cell)

    def after(self, delay: float, message: Message[Any]) -> Timer:
        """Send ourselves `message` in so many seconds, unless this incarnation ends first."""
        return self._cell.later(delay, message)

    def every(self, period: float, message: Message[Any]) -> Timer:
        """As `after`, again and again; a tick that still waits in the mailbox is not doubled."""
        return self._cell.later(period, message, period)

    def child(self, child: Child) -> Address:
        """Start a child below us and go on; its end arrives as `ChildEnded`."""
        return self._cell.family.start_soon(child).address

    async def stop_child(self, address: Address) -> None:
        """Stop a child within its shutdown budget. Nothing happens if it is gone already."""
        await self._cell.family.stop(address)

    @property
    def parent(self) -> Address | None:
        """Our supervisor; the root has none."""
        return self._cell.parent.address if self._cell.parent is not None else None

    def children(self) -> list[Address]:
        """Our living children, in start order."""
        return [child.address for child in self._cell.children]

    def monitor(self, address: Address, *, passive: bool = False, restarts: bool = False) -> None:
        """Get one `Down` when the actor at `address` is gone for good or quarantined, at once if it is already.

        `passive`: also when it is passivated. `restarts`: and a `Restarted` for each new incarnation.
        """
        self._cell.system.monitor(self._cell, address, passive=passive, restarts=restarts)

    def demonitor(self, address: Address) -> None:
        """No `Down` of `address` is handled after this."""
        self._cell.system.demonitor(self._cell, address)

    def link(self, address: Address) -> None:
        """Tie our life to another's: if either ends abnormally, so does the other, unless it traps links."""
        self._cell.system.link(self._cell, address)

    def unlink(self, address: Address) -> None:
        """Untie both. No `LinkExit` of `address` is handled after this."""
        self._cell.system.unlink(self._cell, address)

    def hold(self) -> None:
        """Keep this virtual actor from being passivated until it calls `let_go`. A crash lets go."""
        self._cell.kept = True

    def let_go(self) -> None:
        """Passivation is welcome again."""
        self._cell.kept = False

    def defer(self) -> Reply | None:
        """Take over the duty to answer; the handler's return value is then ignored. None if we were told."""
        return self._envelope.defer() if self._envelope else None

    def stop(self, reason: str = "normal") -> None:
        """End after this handler."""
        self._cell.signal(Stop(reason=reason))

    async def db(self, work: Callable[Concatenate[Any, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a store function in one transaction."""
        result: T = await self._cell.system.database.run(work, *args, **kwargs)
        return result
