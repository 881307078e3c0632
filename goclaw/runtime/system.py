"""One node's actors: the registry, the ways to send, and the root of the tree.

Contract: supervision.md §3 (primitives), §6 (asks), §9 (groups, monitors), §10 (registry).
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import trio

from goclaw.runtime.actor import Database
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import Child, State
from goclaw.runtime.clock import Clock
from goclaw.runtime.crash import CrashLog, DeadLetters
from goclaw.runtime.faults import (
    AlreadyRegistered,
    AskCycle,
    AskTimeout,
    MailboxFull,
    NoSuchActor,
    Rejected,
    SelfAsk,
    StartFailed,
)
from goclaw.runtime.message import Asked, ChildEnded, Down, Envelope, Message, Told
from goclaw.runtime.reply import Reply
from goclaw.runtime.timers import Timers
from goclaw.runtime.virtual import Virtual

T = TypeVar("T")
ACCEPTED = Told.ACCEPTED  # read for every message
EVENTS = "system.actors"  # the group life-cycle events are published to
WATCHING = "watching "  # groups of those who monitor the address that follows


class ActorEvent(Message[None]):
    """Something happened to an actor: started, stopped, crashed, restarted, quarantined, escalated."""

    event: str
    path: Address
    incarnation: int
    reason: str = ""


class Member(Protocol):
    """Whatever can be told: a cell, or the inbox of a task that is no actor."""

    address: Address
    groups: set[str] | None

    def deliver(self, envelope: Envelope) -> Told: ...


class Thread(Protocol):
    """The vehicle of a blocking actor."""

    def is_alive(self) -> bool: ...


class System:
    """Everything the actors of one process share. Made by `open_system`."""

    def __init__(self, nursery: trio.Nursery, database: Database, seed: int | None) -> None:
        self._nursery = nursery
        self.database = database
        self.clock = Clock()
        self.rng = random.Random(seed)  # noqa: S311 - jitter, not secrets
        self.timers = Timers()
        self.crashes = CrashLog()
        self.restarts: deque[float] = deque(maxlen=10_000)  # when, monotonic
        self.dead_letters = DeadLetters()
        self.members: dict[str, Member] = {}
        self.guests: dict[str, dict[Address, Member]] = {}  # members that are no cells, by their parent's path
        self.groups: dict[str, dict[Address, Member]] = {}
        self.zombies: set[Thread] = set()  # left behind in a call that did not return
        self.root: Cell | None = None
        self.ended = trio.Event()
        self.last_news: ChildEnded | None = None

    # --- sending ------------------------------------------------------------------------------

    def find(self, address: Address) -> Member | None:
        """The member at an address; wakes a virtual one. Raises `Rejected` when its class is full."""
        member = self.members.get(address)
        if member is None and (owner := self._virtual_owner(address)) is not None:
            return owner[0].activate(owner[1], address)
        return member

    def _virtual_owner(self, address: Address) -> tuple[Virtual, Cell] | None:
        """The virtual class an address belongs to: its nearest living ancestor decides."""
        above = address.rpartition("/")[0]
        while above:
            cell = self.members.get(above)
            if cell is not None:
                if isinstance(cell, Cell) and isinstance(cell.actor, Virtual) and cell.actor.owns(cell, address):
                    return cell.actor, cell
                return None
            above = above.rpartition("/")[0]
        return None

    def tell(
        self, to: Address, message: Message[Any], *, sender: Address | None = None, principal: object = None
    ) -> Told:
        """Hand over and go on. Never raises for load: look at the answer."""
        envelope = Envelope(message, sender, principal)
        try:
            member = self.members.get(to) or self.find(to)
        except Rejected:
            told = Told.FULL
        else:
            told = Told.NO_ACTOR if member is None else member.deliver(envelope)
        if told is not ACCEPTED and told is not Told.CLOSED:  # a closed one has written its own dead letter
            reason = "mailbox_full" if told is Told.FULL else "no_actor"
            self.dead_letters.add(self.clock.now(), to, envelope, reason)
        return told

    async def ask(
        self,
        to: Address,
        message: Message[T],
        within: float,
        *,
        sender: Address | None = None,
        chain: tuple[Address, ...] = (),
        latest: float = math.inf,
        principal: object = None,
    ) -> T:
        """The answer, at most `within` seconds from now and never after `latest`. Errors: supervision.md §6."""
        if to == sender:
            raise SelfAsk(f"{to} asked itself")
        if to in chain:
            raise AskCycle(f"{to} already waits: {' → '.join(chain)}")
        now = trio.current_time()
        deadline = min(now + within, latest)
        reply = Reply()
        await self._put(to, Asked(message, sender, principal, reply, deadline, chain), deadline)
        self.timers.at(deadline, reply)
        try:
            answer: T = await reply.wait()
        except AskTimeout:
            waited = deadline - now
            raise AskTimeout(f"{to} did not answer {type(message).TYPE} within {waited:g} s") from None
        return answer

    async def cast(
        self,
        to: Address,
        message: Message[Any],
        within: float,
        *,
        sender: Address | None = None,
        principal: object = None,
    ) -> None:
        """Tell, but wait for room. Raises `MailboxFull` or `NoSuchActor`."""
        await self._put(to, Envelope(message, sender, principal), trio.current_time() + within)

    async def _put(self, to: Address, envelope: Envelope, deadline: float) -> None:
        while True:
            member = self.members.get(to) or self.find(to)
            if member is None:
                raise NoSuchActor(to)
            if member.deliver(envelope) is not Told.FULL:
                return
            if isinstance(member, Cell):
                with trio.CancelScope(deadline=deadline):
                    await member.mailbox.room()
                    continue
            raise MailboxFull(f"{to} had no room for {type(envelope.message).TYPE}")

    def publish(self, group: str, message: Message[Any], *, sender: Address | None = None) -> int:
        """Tell every member of a group; how many accepted. Best effort, order kept per member."""
        members = self.groups.get(group)
        if not members:
            return 0
        envelope = Envelope(message, sender)
        return sum(member.deliver(envelope) is Told.ACCEPTED for member in tuple(members.values()))

    # --- membership ---------------------------------------------------------------------------

    def register(self, member: Member) -> None:
        if member.address in self.members:
            raise AlreadyRegistered(member.address)
        self.members[member.address] = member
        if not isinstance(member, Cell):
            self.guests.setdefault(_parent(member), {})[member.address] = member

    def forget(self, member: Member) -> None:
        if self.members.get(member.address) is member:
            del self.members[member.address]
            if not isinstance(member, Cell):
                guests = self.guests[_parent(member)]
                del guests[member.address]
                if not guests:
                    del self.guests[_parent(member)]
        for group in tuple(member.groups or ()):
            self.leave(group, member)

    def join(self, group: str, member: Member) -> None:
        self.groups.setdefault(group, {})[member.address] = member
        if member.groups is None:
            member.groups = set()
        member.groups.add(group)

    def leave(self, group: str, member: Member) -> None:
        if member.groups is not None:
            member.groups.discard(group)
        members = self.groups.get(group)
        if members is not None:
            members.pop(member.address, None)
            if not members:
                del self.groups[group]

    def monitor(self, watcher: Member, address: Address) -> None:
        """One `Down` when the actor is gone for good or quarantined; at once if it is already."""
        target = self.members.get(address)
        if target is None and self._virtual_owner(address) is None:
            watcher.deliver(Envelope(Down(address=address, incarnation=0, reason="no_actor")))
        elif isinstance(target, Cell) and target.state is State.QUARANTINED:
            down = Down(address=address, incarnation=target.incarnation, reason="quarantined")
            watcher.deliver(Envelope(down))
        else:
            self.join(WATCHING + address, watcher)  # so a monitor ends with its watcher's incarnation

    def down(self, cell: Cell, reason: str) -> None:
        """Tell everybody who monitors a cell, once."""
        group = WATCHING + cell.address
        self.publish(group, Down(address=cell.address, incarnation=cell.incarnation, reason=reason))
        for watcher in tuple(self.groups.get(group, {}).values()):
            self.leave(group, watcher)

    # --- life ---------------------------------------------------------------------------------

    def spawn(self, task: Callable[[], Awaitable[object]], name: str) -> None:
        self._nursery.start_soon(task, name=name)

    async def start(self, child: Child) -> None:
        """Start the root. Raises whatever kept it from coming up, unwrapped."""
        self.root = Cell(self, Address(), child, None)
        self.register(self.root)
        try:
            await self.root.start()
        except StartFailed as failed:
            cause: BaseException = failed
            while isinstance(cause, StartFailed):
                cause = cause.cause
            raise cause from None

    async def stop(self) -> None:
        """Stop the tree in reverse start order, each child within its budget. Twice is the same as once."""
        if self.root is not None and not self.ended.is_set():
            await self.root.stop()

    def root_ended(self, news: ChildEnded) -> None:
        """Nobody restarts the root: the system has ended, `last_news` says why."""
        assert self.root is not None
        self.root.close(news.reason)
        self.last_news = news
        self.ended.set()

    def happened(self, event: str, cell: Cell, reason: str = "") -> None:
        if event == "actor.restarted":
            self.restarts.append(trio.current_time())
        if EVENTS in self.groups:
            self.publish(
                EVENTS, ActorEvent(event=event, path=cell.address, incarnation=cell.incarnation, reason=reason)
            )


def _parent(member: Member) -> str:
    return member.address.rpartition("/")[0] or "/"


@asynccontextmanager
async def open_system(database: Database, seed: int | None = None) -> AsyncIterator[System]:
    """An empty system; leaving the block stops the tree, then cancels whatever is left."""
    async with trio.open_nursery() as nursery:
        system = System(nursery, database, seed)
        nursery.start_soon(system.timers.run)
        try:
            yield system
        finally:
            if not nursery.cancel_scope.cancel_called:  # otherwise there are no tasks left to stop
                with trio.CancelScope(shield=True):
                    await system.stop()
            nursery.cancel_scope.cancel()
