"""One node's actors: the registry, the ways to send, and the root of the tree.

Contract: supervision.md §3 (primitives), §6 (asks), §9 (groups, monitors), §10 (registry).
"""

from __future__ import annotations

import math
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from time import perf_counter
from typing import Any, Protocol, TypeVar

import trio

from goclaw.runtime.actor import Database
from goclaw.runtime.address import Address
from goclaw.runtime.blocking import Vehicles
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import ABNORMAL, Child, State
from goclaw.runtime.clock import Clock
from goclaw.runtime.crash import Crash, CrashLog, DeadLetters
from goclaw.runtime.debug import Checks, watch_stalls
from goclaw.runtime.faults import (
    ActorStopped,
    AlreadyRegistered,
    AskCycle,
    AskTimeout,
    MailboxFull,
    NoSuchActor,
    Rejected,
    SelfAsk,
    StartFailed,
)
from goclaw.runtime.lens import Lens
from goclaw.runtime.mailbox import Load, Mailbox
from goclaw.runtime.message import Asked, ChildEnded, Down, Envelope, LinkExit, Message, Restarted, Told
from goclaw.runtime.metrics import Meter
from goclaw.runtime.news import EVENTS, LifeNews, MailboxFilling
from goclaw.runtime.reply import Reply
from goclaw.runtime.timers import Timers
from goclaw.runtime.virtual import Virtual

T = TypeVar("T")
ACCEPTED = Told.ACCEPTED  # read for every message
WATCHING = "watching "  # groups of those who monitor the address that follows
DOZING = "dozing "  # likewise, and want to hear of passivations
REBIRTH = "rebirth "  # likewise, and want to hear of restarts
LINKED = "linked "  # groups of those whose life is tied to the address that follows


class Member(Protocol):
    """Whatever can be told: a cell, or the inbox of a task that is no actor."""

    address: Address
    groups: set[str] | None

    def deliver(self, envelope: Envelope) -> Told: ...


class Inline(Protocol):
    """Stands in for threads where time is virtual, because virtual time does not see them (§17)."""

    async def run(self, job: Callable[[], T]) -> T: ...


class System:
    """Everything the actors of one process share. Made by `open_system`."""

    def __init__(self, nursery: trio.Nursery, database: Database, seed: int | None, debug: bool) -> None:
        self._nursery = nursery
        self.database = database
        self.clock = Clock()
        self.rng = random.Random(seed)  # noqa: S311 - jitter, not secrets
        self.timers = Timers()
        self.crashes = CrashLog()
        self.load = Load(trio.current_time if _is_virtual() else perf_counter, self._filling)
        self.lens: Lens | None = None  # looks at every message while somebody wants that
        self.checks: Checks | None = Checks() if debug else None
        self.restarts: deque[float] = deque(maxlen=10_000)  # when, monotonic
        self.dead_letters = DeadLetters()
        self.members: dict[str, Member] = {}
        self.guests: dict[str, dict[Address, Member]] = {}  # members that are no cells, by their parent's path
        self.groups: dict[str, dict[Address, Member]] = {}
        self.vehicles = Vehicles()
        self.inline: Inline | None = None  # runs blocking handlers in the loop, for virtual time
        self.root: Cell | None = None
        self.ended = trio.Event()
        self.last_news: ChildEnded | None = None
        self.abandoned = 0  # asks whose asker went away
        self.escalations = 0
        self.meter = Meter()
        self.lag = 0.0  # seconds the loop was late when a watchdog last looked

    # --- sending ------------------------------------------------------------------------------

    def find(self, address: Address) -> Member | None:
        """The member at an address; wakes a virtual one. Raises `Rejected` when its class is full."""
        member = self.members.get(address)
        if member is None and (owner := self._virtual_owner(address)) is not None:
            return owner[0].activate(owner[1], address)
        return member

    def cell(self, address: Address) -> Cell | None:
        """The cell at an address, if there is one; wakes nobody."""
        member = self.members.get(address)
        return member if isinstance(member, Cell) else None

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
        if self.checks is not None:
            self.checks.message(message)
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
            if self.checks is not None and told is Told.FULL:
                self.checks.refusal_is_looked_at(to, message)
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
        asked = Asked(message, sender, principal, reply, deadline, chain)
        await self._put(to, asked, deadline)
        self.timers.at(deadline, reply)
        try:
            answer: T = await reply.wait()
        except AskTimeout:
            self._abandon(to, asked)
            waited = deadline - now
            raise AskTimeout(f"{to} did not answer {type(message).TYPE} within {waited:g} s") from None
        except trio.Cancelled:
            self._abandon(to, asked)
            raise
        return answer

    def _abandon(self, to: Address, asked: Asked) -> None:
        """Nobody waits for it any more (§6 D4)."""
        self.abandoned += 1
        member = self.members.get(to)
        if type(asked.message).CANCEL_WITH_ASKER and isinstance(member, Cell):
            member.abandoned(asked)

    def hand_on(self, to: Address, asked: Asked) -> Told:
        """Let another actor answer an ask that was taken over. Its asker hears of a refusal."""
        assert asked.reply is not None
        if self.checks is not None:
            self.checks.message(asked.message)
        if to in asked.chain:
            asked.reply.fail(AskCycle(f"{to} already waits: {' → '.join(asked.chain)}"))
            return Told.CLOSED
        try:
            member = self.find(to)
        except Rejected as refusal:
            asked.reply.fail(refusal)
            return Told.FULL
        told = Told.NO_ACTOR if member is None else member.deliver(asked)
        if told is Told.NO_ACTOR:
            asked.reply.fail(NoSuchActor(to))
        elif told is Told.FULL:
            asked.reply.fail(MailboxFull(f"{to} had no room for {type(asked.message).TYPE}"))
        return told

    async def cast(
        self,
        to: Address,
        message: Message[Any],
        within: float,
        *,
        sender: Address | None = None,
        principal: object = None,
    ) -> None:
        """Tell, but wait for room. Raises `MailboxFull`, `NoSuchActor`, or `ActorStopped` if it takes nothing."""
        told = await self._put(to, Envelope(message, sender, principal), trio.current_time() + within)
        if told is Told.CLOSED:
            raise ActorStopped(to)

    async def _put(self, to: Address, envelope: Envelope, deadline: float) -> Told:
        if self.checks is not None:
            self.checks.message(envelope.message)
        while True:
            member = self.members.get(to) or self.find(to)
            if member is None:
                raise NoSuchActor(to)
            if (told := member.deliver(envelope)) is not Told.FULL:
                return told
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
        if self.checks is not None:
            self.checks.message(message)
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

    def monitor(self, watcher: Member, address: Address, *, passive: bool = False, restarts: bool = False) -> None:
        """One `Down` when the actor is gone for good or quarantined; at once if it is already.

        `passive`: also when it is passivated. `restarts`: and a `Restarted` for each new incarnation. Asking
        twice is the same as once.
        """
        target = self.members.get(address)
        if target is None and self._virtual_owner(address) is None:
            watcher.deliver(Envelope(Down(address=address, incarnation=0, reason="no_actor")))
        elif isinstance(target, Cell) and target.state is State.QUARANTINED:
            down = Down(address=address, incarnation=target.incarnation, reason="quarantined")
            watcher.deliver(Envelope(down))
        elif isinstance(target, Cell) and target.state is State.STOPPED:
            watcher.deliver(Envelope(Down(address=address, incarnation=target.incarnation, reason="shutdown")))
        else:
            self.join(WATCHING + address, watcher)  # so a monitor ends with its watcher's incarnation
            if passive:
                self.join(DOZING + address, watcher)
            if restarts:
                self.join(REBIRTH + address, watcher)

    def demonitor(self, watcher: Cell, address: Address) -> None:
        """No news of `address` reaches the watcher after this."""
        for group in (WATCHING, DOZING, REBIRTH):
            self.leave(group + address, watcher)
        watcher.mailbox.forget_news_of(address, Down, Restarted)

    def down(self, cell: Cell, reason: str) -> None:
        """Tell everybody who monitors a cell, once. A virtual address that was passivated is not gone."""
        passive = reason == "passivated"
        group = (DOZING if passive else WATCHING) + cell.address
        if not (watchers := self.groups.get(group)):
            return
        self.publish(group, Down(address=cell.address, incarnation=cell.incarnation, reason=reason))
        for watcher in tuple(watchers.values()):
            for kind in (WATCHING, DOZING, REBIRTH):
                self.leave(kind + cell.address, watcher)

    def reborn(self, cell: Cell) -> None:
        """Tell those who want to know of a new incarnation."""
        self.publish(REBIRTH + cell.address, Restarted(address=cell.address, incarnation=cell.incarnation))

    def link(self, one: Cell, address: Address) -> None:
        """If either ends abnormally, the other gets `LinkExit`; at once if there is nobody. It ends with either."""
        other = self.members.get(address)
        if not isinstance(other, Cell) or not other.alive:
            one.signal(LinkExit(address=address, reason="no_actor"))
            return
        self.join(LINKED + address, one)
        self.join(LINKED + one.address, other)

    def unlink(self, one: Cell, address: Address) -> None:
        """Untie both. No `LinkExit` of `address` is handled after this."""
        self.leave(LINKED + address, one)
        if (other := self.members.get(address)) is not None:
            self.leave(LINKED + one.address, other)
        one.mailbox.forget_news_of(address, LinkExit)

    def broken(self, cell: Cell, reason: str) -> None:
        """An incarnation ended: abnormally for those linked to it, or just so."""
        group = LINKED + cell.address
        if not (linked := self.groups.get(group)):
            return
        if reason in ABNORMAL:
            self.publish(group, LinkExit(address=cell.address, reason=reason))
        for other in tuple(linked.values()):
            self.leave(group, other)

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

    def happened(self, event: str, cell: Cell, reason: str = "", crash: Crash | None = None) -> None:
        """Count it, and tell whoever listens."""
        if event == "actor.restarted":
            self.restarts.append(trio.current_time())
            reason = "admin" if cell.past.by else "crash" if cell.past.last_crash is not None else "dependency"
            self.meter.count("actor_restarts_total", cell.class_name, reason)
        elif event == "actor.escalated":
            self.escalations += 1
            self.meter.count("actor_escalations_total", cell.class_name)
        if EVENTS in self.groups:
            self.publish(EVENTS, life_news(self.clock.now(), event, cell, reason, crash))

    def _filling(self, mailbox: Mailbox) -> None:
        cell = mailbox.owner
        if EVENTS in self.groups and isinstance(cell, Cell):
            self.publish(
                EVENTS,
                MailboxFilling(
                    event="actor.mailbox",
                    at=self.clock.now(),
                    path=cell.address,
                    depth=len(mailbox.user),
                    capacity=mailbox.capacity,
                    dropped=mailbox.dropped,
                ),
            )


def life_news(at: datetime, event: str, cell: Cell, reason: str, crash: Crash | None) -> LifeNews:
    supervisor = cell.parent
    return LifeNews(
        event=event,
        at=at,
        path=cell.address,
        kind=cell.kind,
        of_class=cell.class_name,
        incarnation=cell.incarnation,
        reason=reason,
        crash=crash,
        supervisor=supervisor.address if supervisor is not None else "",
        strategy=supervisor.family.strategy.value if supervisor is not None else "",
        restarts_window=cell.restarts_window,
        backoff_ms=int(cell.past.backoff * 1000) if event == "actor.restarted" else None,
        by=cell.past.by,
    )


def _is_virtual() -> bool:
    """Time jumps here, as in tests: durations are measured in it too."""
    return type(trio.lowlevel.current_clock()).__module__.startswith("trio.testing")


def _parent(member: Member) -> str:
    return member.address.rpartition("/")[0] or "/"


@asynccontextmanager
async def open_system(
    database: Database, seed: int | None = None, *, debug: bool | None = None
) -> AsyncIterator[System]:
    """An empty system; leaving the block stops the tree, then cancels whatever is left.

    In debug mode, by default when GOCLAW_ACTOR_DEBUG is 1, messages that can change, refusals nobody looks at
    and handlers that hold the loop are found out.
    """
    debug = os.environ.get("GOCLAW_ACTOR_DEBUG") == "1" if debug is None else debug
    async with trio.open_nursery() as nursery:
        system = System(nursery, database, seed, debug)
        nursery.start_soon(system.timers.run)
        if debug:
            nursery.start_soon(watch_stalls, system)
        try:
            yield system
        finally:
            if not nursery.cancel_scope.cancel_called:  # otherwise there are no tasks left to stop
                with trio.CancelScope(shield=True):
                    await system.stop()
            nursery.cancel_scope.cancel()
