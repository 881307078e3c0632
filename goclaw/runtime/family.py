"""The children of one cell, and what happens when one of them ends. Contract: supervision.md §8."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import trio
from msgspec import structs

from goclaw.runtime.address import Address
from goclaw.runtime.child import (
    ABNORMAL,
    UNSCATHED,
    Child,
    Exhausted,
    Limit,
    Ordered,
    Restart,
    State,
    Strategy,
    restart_delay,
)
from goclaw.runtime.faults import ActorStopped, AlreadyRegistered, Escalated, StartFailed
from goclaw.runtime.message import ChildEnded, RestartDue
from goclaw.runtime.storm import Storm
from goclaw.runtime.timers import Timer

if TYPE_CHECKING:
    from goclaw.runtime.cell import Cell
    from goclaw.runtime.crash import Crash

QUARANTINE = 60.0  # seconds, doubled per repeat; supervision.md §8.4
LONGEST_QUARANTINE = 3600.0
TOGETHER = 64  # children of a dynamic supervisor stopped at a time; §8.2


class Family:
    """Starts, stops and restarts. Its rules run in the owner's own loop, so they never race with each other."""

    __slots__ = ("cells", "ends_with_all", "limit", "on_exhausted", "owner", "storm", "strategy")

    def __init__(self, owner: Cell) -> None:
        self.owner = owner
        self.cells: dict[Address, Cell] = {}  # in start order
        self.strategy = Strategy.DYNAMIC
        self.limit = Limit()
        self.on_exhausted = Exhausted.QUARANTINE
        self.ends_with_all = False  # of the significant children, not with the first
        self.storm: Storm | None = None

    # --- starting and stopping ----------------------------------------------------------------

    def add(self, cell: Cell) -> None:
        """Register a new cell, which does not live yet. Raises `AlreadyRegistered`, `ActorStopped` if we end."""
        if self.owner.state in (State.STOPPING, State.STOPPED):
            raise ActorStopped(f"{self.owner.address} takes no more children")
        if cell.address in self.cells:
            raise AlreadyRegistered(cell.address)
        self.owner.system.register(cell)
        self.cells[cell.address] = cell

    def start_soon(self, spec: Child) -> Cell:
        cell = self.owner.below(spec)
        self.add(cell)
        cell.begin()
        return cell

    async def start(self, spec: Child) -> Cell:
        """Start a child and wait until it runs. Raises `StartFailed` with what `on_start` raised."""
        cell = self.owner.below(spec)
        self.add(cell)
        try:
            await cell.start()
        except StartFailed:
            self.remove(cell, "crash")
            raise
        return cell

    async def stop(self, address: Address) -> None:
        """Stop a child and forget it. Nothing happens if it is gone already."""
        if (cell := self.cells.get(address)) is not None:
            await cell.stop()
            self.remove(cell, "shutdown")

    async def stop_all(self) -> None:
        """Reverse start order; dynamic children together. Whoever exceeds its budget is killed."""
        with trio.CancelScope(shield=True):
            if self.strategy is Strategy.DYNAMIC:
                while self.cells:
                    async with trio.open_nursery() as nursery:
                        for address in list(islice(self.cells, TOGETHER)):
                            nursery.start_soon(self.stop, address)
            else:
                for address in reversed(list(self.cells)):
                    await self.stop(address)

    def remove(self, cell: Cell, reason: str) -> None:
        if self.cells.pop(cell.address, None) is not None:
            cell.close(reason)

    # --- ends and restarts --------------------------------------------------------------------

    def author(self, news: ChildEnded) -> Cell | None:
        """The child `news` is about; None if that was dealt with while the news waited."""
        cell = self.cells.get(news.address)
        return cell if cell is not None and cell.news is news else None

    async def ended(self, cell: Cell, news: ChildEnded) -> bool:
        """Apply the rules to a child that ended. True if the owner should end normally with it.

        Raises `Escalated` when a static supervisor's limit is exceeded.
        """
        if cell.past.ordered is not None:
            await self._obey(cell, cell.past.ordered)
            return False
        abnormal = news.reason in ABNORMAL
        again = cell.spec.restart is Restart.PERMANENT or (cell.spec.restart is Restart.TRANSIENT and abnormal)
        if news.reason == "crash" and self.strategy is Strategy.DYNAMIC:
            self._weather(cell, news.error)
        if again:
            if self._may_restart(cell, news.error):
                await self._halt(cell)
                self._plan(cell)
        elif cell.perpetual and cell.mailbox.user:
            cell.begin()
        else:
            self.remove(cell, news.reason)
        if not cell.spec.significant or again or abnormal:
            return False
        return not self.ends_with_all or not any(other.spec.significant for other in self.cells.values())

    async def _obey(self, cell: Cell, ordered: Ordered) -> None:
        """An operator's doing: nobody counts it, nobody waits."""
        if ordered is Ordered.STOP:
            _take_order(cell)
            self.shelve(cell)
            return
        await self._halt(cell)
        cell.past.due = self._due_in(0.0, cell)

    def shelve(self, cell: Cell) -> None:
        """An operator stopped a child, and it has ended. The next message brings a virtual one back."""
        if not cell.perpetual:
            cell.shelve()
        elif cell.mailbox.user:
            cell.begin()
        else:
            self.remove(cell, "shutdown")

    def _shelve_idle(self, cell: Cell) -> None:
        """As `shelve`, for a child without an incarnation whose end would have been told."""
        self.owner.system.happened("actor.stopped", cell, reason="shutdown")
        self.shelve(cell)

    async def restart(self, address: Address, *, asked: bool = False) -> None:
        """A back-off or quarantine is over, or an operator `asked`: start the child and those who wait for it."""
        cell = self.cells.get(address)
        if cell is None or cell.state not in (State.BACKOFF, State.QUARANTINED, State.STOPPED):
            return
        past = cell.history()
        ordered = past.ordered
        if ordered is None:
            if asked or cell.state is State.STOPPED:  # what was asked for has been done on the way
                return
            if self.storm is not None and (pause := self.storm.until - trio.current_time()) > 0:
                past.due = self._due_in(pause, cell)
                return
            error = past.last_crash.fingerprint if past.last_crash else ""
            if cell.state is State.BACKOFF and not self._may_restart(cell, error):
                return  # others have used up the limit meanwhile
            past.times.append(trio.current_time())
        elif ordered is Ordered.RESTART:
            past.streak = past.quarantines = 0
            past.times.clear()
        elif past.due is None:  # it waits for another, and nobody for it
            past.ordered = None
            self._shelve_idle(cell)
            return
        if ordered is not Ordered.STOP:
            past.restarts += 1
        for member in self._together(cell):
            if member is cell or member.state is State.BACKOFF:
                _no_longer_due(member)
                if _take_order(member) is Ordered.STOP:
                    self._shelve_idle(member)
                    continue
                if self.strategy in (Strategy.ONE_FOR_ONE, Strategy.DYNAMIC):
                    member.begin(at_once=ordered is Ordered.RESTART)
                    continue
                try:
                    await member.start()
                except StartFailed:  # its own `ChildEnded` is under way and stops the rest again
                    return

    def _together(self, cell: Cell) -> list[Cell]:
        """Who is stopped and started with `cell`, in start order."""
        match self.strategy:
            case Strategy.ONE_FOR_ALL:
                return list(self.cells.values())
            case Strategy.REST_FOR_ONE:
                everybody = list(self.cells.values())
                return everybody[everybody.index(cell) :]
        return [cell]

    async def _halt(self, cell: Cell) -> None:
        """Stop whoever must not go on without `cell`. They wait for its restart."""
        for member in reversed(self._together(cell)):
            if member.state in (State.QUARANTINED, State.STOPPED) and member is not cell:
                continue
            _no_longer_due(member)
            if member is not cell:
                await member.stop()
                if _take_order(member) is Ordered.STOP:
                    self.shelve(member)
                    continue
                if member.spec.restart is Restart.TEMPORARY:
                    self.remove(member, "shutdown")
                    continue
            member.pause(State.BACKOFF)

    def _weather(self, cell: Cell, error: str) -> None:
        """Count a dynamic child's crash towards a storm. Raises `Escalated` with the third one in five minutes."""
        self.storm = self.storm or Storm()
        if not self.storm.crash(trio.current_time(), error, len(self.cells)):
            return
        self.owner.system.happened("actor.escalated", self.owner, "crash_storm", self._cause(cell.past.last_crash))
        if self.storm.relentless:
            raise Escalated(cell.address, error)

    def _cause(self, crash: Crash | None) -> Crash | None:
        """A child's crash as news of its supervisor, which more may read: what kind it is, and not whose."""
        if crash is None:
            return None
        return structs.replace(crash, path=str(self.owner.address), message="", in_hand="", traceback="")

    def _plan(self, cell: Cell) -> None:
        past = cell.history()
        past.streak += 1
        delay = 0.0
        if trio.current_time() - cell.born_at < cell.spec.backoff.reset_after:
            delay = restart_delay(past.streak, cell.spec.backoff, self.owner.system.rng)
        past.backoff = delay
        past.due = self._due_in(delay, cell)

    def limit_of(self, cell: Cell) -> Limit:
        """How often a child may crash: by its own limit if crashes are counted per child, else with its siblings."""
        return (cell.spec.limit if self.strategy is Strategy.DYNAMIC else None) or self.limit

    def _may_restart(self, cell: Cell, error: str) -> bool:
        """Whether the limit allows one more. If not, the child is quarantined, or `Escalated` is raised."""
        alone, limit = self.strategy is Strategy.DYNAMIC, self.limit_of(cell)
        since = trio.current_time() - limit.within
        counted = [cell] if alone else list(self.cells.values())
        for member in counted:
            if member.past is not UNSCATHED:
                member.past.times = [at for at in member.past.times if at > since]
        if sum(len(member.past.times) for member in counted) < limit.restarts:
            return True
        if (cell.spec.on_exhausted or self.on_exhausted) is Exhausted.ESCALATE:
            self.owner.system.happened("actor.escalated", cell, reason="limit")
            raise Escalated(cell.address, error)
        self._quarantine(cell, error)
        return False

    def _quarantine(self, cell: Cell, error: str) -> None:
        past = cell.history()
        rest = min(LONGEST_QUARANTINE, QUARANTINE * 2.0 ** min(past.quarantines, 64))
        past.quarantines += 1
        past.quarantined_until = trio.current_time() + rest
        past.times.clear()
        past.due = self._due_in(rest, cell)
        cell.pause(State.QUARANTINED)
        for envelope in cell.mailbox.withdraw(
            lambda envelope: envelope.reply is not None
        ):  # whoever waits is told, as whoever asks from now on
            cell.deliver(envelope)
        system = self.owner.system
        system.down(cell, "quarantined")
        system.happened("actor.quarantined", cell, reason=error, crash=past.last_crash)

    def _due_in(self, delay: float, cell: Cell) -> Timer:
        return self.owner.later(delay, RestartDue(address=cell.address))


def _take_order(cell: Cell) -> Ordered | None:
    """What an operator wants of a child, for whoever does it now."""
    ordered = cell.past.ordered
    if ordered is not None:
        cell.past.ordered = None
    return ordered


def _no_longer_due(cell: Cell) -> None:
    """It starts now or waits for another: the timer of an earlier rest must not end the next one."""
    if cell.past.due is not None:
        cell.past.due.cancel()
        cell.past.due = None
