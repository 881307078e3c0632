"""Faults on purpose: a seeded list of what goes wrong where, run against a living tree.

One engine for tests and for operators' chaos plans (supervision.md §17, §21). What happens to the n-th message of
a path depends on the seed, the item, the path and n alone, so equal traffic meets equal faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import trio
from msgspec import Struct

from goclaw.runtime.address import Address
from goclaw.runtime.child import Exhausted, Restart, State, Strategy
from goclaw.runtime.faults import InjectedFault
from goclaw.runtime.lens import look, look_away
from goclaw.runtime.message import Envelope, Signal

if TYPE_CHECKING:
    from goclaw.runtime.cell import Cell
    from goclaw.runtime.system import System

What = Literal["crash", "crash_after", "delay", "drop", "duplicate", "hang", "kill", "lease_lost"]
ENDS = frozenset({"crash", "crash_after", "kill", "lease_lost"})  # the incarnation it hits
PATHS = 100_000  # pairs of item and path whose messages are counted


class Fault(Struct, frozen=True, kw_only=True):
    """One line of a plan: what happens to messages of type `message` on their way into actors at `path`.

    Globs: `*` is one segment of a path or part of it or of a type, `**` any number of segments. Exactly one of
    `nth`, `every`, `probability` and `at` (seconds since the start) says when; messages are counted per path.
    `kill` and `lease_lost` take a message of any type, and with `at` hit every actor at `path`, message or not.
    `seconds` is how long a delay or hang takes. `times` bounds the firings of this line.
    """

    path: str
    what: What
    message: str = "*"
    nth: int | None = None
    every: int | None = None
    probability: float | None = None
    at: float | None = None
    seconds: float = 0.0
    times: int = 1


class Again(Envelope):
    """A duplicate. It is not counted and not spoiled: a plan would never end otherwise."""

    __slots__ = ()


class Injector:
    """A plan at work. `protected` actors are never hit, nor whatever would take one down with it (links aside).

    At most `most` faults in all and `hangs` at a time. `known_as` is what a path is called when it is drawn for:
    equal names have equal luck. `fired` hears the number of the line, the line and the path.
    """

    def __init__(
        self,
        system: System,
        faults: Sequence[Fault],
        seed: int,
        *,
        name: str = "plan",
        protected: Callable[[Address], bool] = lambda path: False,
        known_as: Callable[[Address], str] = str,
        most: int = 2_000,
        hangs: int = 4,
        fired: Callable[[int, Fault, Address], None] = lambda number, fault, path: None,
    ) -> None:
        self.name = name
        self.fired: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()  # by protected, limit or gone
        self.recoveries: list[float] = []  # seconds from a fault to the next message its path handled
        self.full = trio.Event()  # set when `most` faults have fired
        self._system = system
        self._faults = faults
        self._seed = seed
        self._protected = protected
        self._known_as = known_as
        self._most, self._hangs = most, hangs
        self._news = fired
        self._began = trio.current_time()
        self._firing = False
        self._counts: Counter[tuple[int, Address]] = Counter()
        self._times: Counter[int] = Counter()
        self._held: dict[trio.CancelScope, What] = {}
        self._broken_after: dict[Address, Envelope] = {}  # whose handlers crash at their end
        self._wounds: dict[Address, float] = {}  # paths that were hit and have handled nothing since
        self._struck: dict[Address, int] = {}  # the incarnation of a path that we ended last

    def start(self) -> None:
        """Take hold of every message from now on. Raises RuntimeError if another plan runs."""
        lens = look(self._system)
        if lens.spoiler is not None:
            raise RuntimeError("a plan runs already")
        lens.spoiler = self
        self._firing = True
        self._began = trio.current_time()

    def calm(self) -> None:
        """No more faults; delayed and hung handlers go on at once. Looks on until all that was hit works again."""
        self._firing = False
        for scope in tuple(self._held):
            scope.cancel()
        self._rest()

    def stop(self) -> None:
        """Let go: as `calm`, and looks no more. Nothing else is undone. Twice is the same as once."""
        self._wounds.clear()
        self.calm()

    def _rest(self) -> None:
        """Take our eye off the tree when there is nothing left to see."""
        lens = self._system.lens
        if not self._firing and not self._wounds and lens is not None and lens.spoiler is self:
            lens.spoiler = None
            look_away(self._system)

    async def strike(self) -> None:
        """Carry out the lines that name a time and need no message. Returns after the last of them."""
        due = [(fault.at, number) for number, fault in enumerate(self._faults) if fault.at is not None]
        for at, number in sorted(due):
            fault = self._faults[number]
            if fault.what not in ("kill", "lease_lost"):
                continue
            await trio.sleep_until(self._began + at)
            for address in [a for a in self._system.members if matches(fault.path, a)]:
                cell = self._system.cell(Address.parse(address))
                if self._firing and cell is not None and self._may(number, fault, cell):
                    _end(fault, cell)

    # --- what a lens asks -----------------------------------------------------------------------

    async def before(self, cell: Cell, envelope: Envelope) -> bool:
        if not self._firing or isinstance(envelope.message, Signal) or isinstance(envelope, Again):
            return True
        self._broken_after.pop(cell.address, None)  # of a handler that never returned
        hits = [item for item in enumerate(self._faults) if self._hits(*item, cell, envelope)]
        for number, fault in hits:
            if self._may(number, fault, cell) and not await self._do(fault, cell, envelope):
                return False
        return True

    def after(self, cell: Cell, envelope: Envelope) -> None:
        if self._broken_after.pop(cell.address, None) is envelope:
            raise InjectedFault(self.name)
        if (since := self._wounds.pop(cell.address, None)) is not None:
            self.recoveries.append(trio.current_time() - since)
            self._rest()

    def _hits(self, number: int, fault: Fault, cell: Cell, envelope: Envelope) -> bool:
        if not matches(fault.path, cell.address):
            return False
        if fault.what in ("kill", "lease_lost"):
            if fault.at is not None:  # `strike` does it
                return False
        elif not like(fault.message, type(envelope.message).TYPE):
            return False
        if fault.what in ("drop", "duplicate") and envelope.asked:
            return False
        if len(self._counts) >= PATHS and (number, cell.address) not in self._counts:
            self.skipped["limit"] += 1
            return False
        self._counts[number, cell.address] += 1
        count = self._counts[number, cell.address]
        if fault.nth is not None:
            return count == fault.nth
        if fault.every is not None:
            return count % fault.every == 0
        if fault.probability is not None:
            return chance(self._seed, number, self._known_as(cell.address), count) < fault.probability
        return fault.at is not None and trio.current_time() >= self._began + fault.at

    def _may(self, number: int, fault: Fault, cell: Cell) -> bool:
        if self._times[number] >= fault.times:
            return False
        if why := self._objection(fault, cell):
            self.skipped[why] += 1
            return False
        self._times[number] += 1
        self.fired[fault.what] += 1
        self._wounds.setdefault(cell.address, trio.current_time())
        if fault.what in ENDS:
            self._struck[cell.address] = cell.incarnation
        self._news(number, fault, cell.address)
        if self.fired.total() >= self._most:
            self.full.set()
        return True

    async def _do(self, fault: Fault, cell: Cell, envelope: Envelope) -> bool:
        match fault.what:
            case "crash":
                raise InjectedFault(self.name)
            case "crash_after":
                self._broken_after[cell.address] = envelope
            case "delay" | "hang":
                await self._hold(fault)
            case "drop":
                self._system.dead_letters.add(self._system.clock.now(), cell.address, envelope, "injected")
                return False
            case "duplicate":
                cell.deliver(Again(envelope.message, envelope.sender, envelope.principal))
            case "kill" | "lease_lost":
                _end(fault, cell)
                await trio.lowlevel.checkpoint()
        return True

    async def _hold(self, fault: Fault) -> None:
        with trio.move_on_after(fault.seconds) as scope:
            self._held[scope] = fault.what
            try:
                await trio.sleep_forever()
            finally:
                del self._held[scope]

    # --- what must not be hit -------------------------------------------------------------------

    def _objection(self, fault: Fault, cell: Cell) -> str:
        """Why a fault does not happen; empty if nothing speaks against it."""
        if self._protected(cell.address):
            return "protected"
        if not cell.alive or (fault.what in ENDS and self._struck.get(cell.address) == cell.incarnation):
            return "gone"
        hanging = sum(what == "hang" for what in self._held.values())
        if self.fired.total() >= self._most or (fault.what == "hang" and hanging >= self._hangs):
            return "limit"
        return self._doomed(cell) if fault.what in ENDS else ""

    def _doomed(self, cell: Cell) -> str:
        """Whether something protected would end too: below this cell, with it, or because its supervisor gives up."""
        if self._protected(cell.address) or any(self._doomed_below(other) for other in _with(cell)):
            return "protected"
        parent = cell.parent
        if parent is not None and self._gives_up(parent, cell) and self._doomed(parent):
            return "limit"
        return ""

    def _doomed_below(self, cell: Cell) -> bool:
        return self._protected(cell.address) or any(self._doomed_below(child) for child in cell.children)

    def _gives_up(self, parent: Cell, cell: Cell) -> bool:
        """One more end of `cell` would be its supervisor's end too (supervision.md §8.3, §8.4)."""
        family = parent.family
        now, alone = trio.current_time(), family.strategy is Strategy.DYNAMIC
        if alone and family.storm is not None and family.storm.last_chance(now):
            return True
        exhausted = cell.spec.on_exhausted or family.on_exhausted
        if cell.spec.restart is Restart.TEMPORARY or exhausted is Exhausted.QUARANTINE:
            return False
        limit, counted = family.limit_of(cell), [cell] if alone else list(family.cells.values())
        past = sum(at > now - limit.within for member in counted for at in member.past.times)
        return past + sum(map(self._coming, counted)) >= limit.restarts

    def _coming(self, cell: Cell) -> bool:
        """A restart that is under way and not counted yet."""
        return cell.state is State.BACKOFF or self._struck.get(cell.address) == cell.incarnation


def chance(seed: int, item: int, path: str, count: int) -> float:
    """A number in [0, 1) that depends on nothing else."""
    digest = blake2b(f"{seed}|{item}|{path}|{count}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@lru_cache(maxsize=16_384)
def matches(glob: str, path: str) -> bool:
    """Whether a path fits: `*` stands for one segment, or a part of it, `**` for any number of them."""
    return _fits(_segments(glob), _segments(path), "**", like)


@lru_cache(maxsize=16_384)
def like(glob: str, text: str) -> bool:
    """Whether a text fits: `*` stands for any part of it."""
    return _fits(glob, text, "*", str.__eq__)


def _segments(path: str) -> list[str]:
    return [] if path == "/" else path.removeprefix("/").split("/")


def _fits(glob: Sequence[str], items: Sequence[str], star: str, alike: Callable[[str, str], bool]) -> bool:
    """Whether `items` are `glob`, in which `star` stands for any number of them. No glob is slow: only the last
    star is ever tried again."""
    place = item = kept = 0
    back = -1
    while item < len(items):
        if place < len(glob) and glob[place] == star:
            back, kept = place, item
            place += 1
        elif place < len(glob) and alike(glob[place], items[item]):
            place += 1
            item += 1
        elif back >= 0:
            kept += 1
            place, item = back + 1, kept
        else:
            return False
    return all(part == star for part in glob[place:])


def _with(cell: Cell) -> list[Cell]:
    """Who ends when a cell does: the cell, and the siblings its supervisor restarts with it."""
    return cell.parent.family._together(cell) if cell.parent is not None else [cell]


def _end(fault: Fault, cell: Cell) -> None:
    """A lost lease is no signal here: one that waits outlives the incarnation it ends, and would end the next."""
    cell.kill("lease_lost" if fault.what == "lease_lost" else "killed")
