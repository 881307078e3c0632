"""Faults on purpose: a seeded list of what goes wrong where, run against a living tree.

One engine for tests and for operators' chaos plans (supervision.md §17, §21). What happens to the n-th message of
a path depends on the seed, the item, the path and n alone, so equal traffic meets equal faults.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import trio
from msgspec import Struct

from goclaw.runtime.address import Address
from goclaw.runtime.faults import InjectedFault
from goclaw.runtime.lens import look, look_away
from goclaw.runtime.message import Envelope, LeaseLost, Signal

if TYPE_CHECKING:
    from goclaw.runtime.cell import Cell
    from goclaw.runtime.system import System

What = Literal["crash", "crash_after", "delay", "drop", "duplicate", "hang", "kill", "lease_lost"]
PATHS = 100_000  # pairs of item and path whose messages are counted


class Fault(Struct, frozen=True, kw_only=True):
    """One line of a plan: what happens to messages of type `message` on their way into actors at `path`.

    Globs: `*` is one segment of a path or part of a type, `**` any number of segments. Exactly one of `nth`,
    `every`, `probability` and `at` (seconds since the start) says when; messages are counted per path. `kill`
    and `lease_lost` with `at` hit every actor at `path`, message or not. `seconds` is how long a delay or hang
    takes. `times` bounds the firings of this line.
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


class Injector:
    """A plan at work. `protected` actors are never hit; `most` faults in all, `hangs` at a time."""

    def __init__(
        self,
        system: System,
        faults: Sequence[Fault],
        seed: int,
        *,
        name: str = "plan",
        protected: Callable[[Address], bool] = lambda path: False,
        most: int = 2_000,
        hangs: int = 4,
        fired: Callable[[Fault, Address], None] = lambda fault, path: None,
    ) -> None:
        self.name = name
        self.fired: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()  # by protected, limit or gone
        self.full = trio.Event()  # set when `most` faults have fired
        self._system = system
        self._faults = faults
        self._seed = seed
        self._protected = protected
        self._most, self._hangs = most, hangs
        self._news = fired
        self._began = trio.current_time()
        self._counts: Counter[tuple[int, Address]] = Counter()
        self._times: Counter[int] = Counter()
        self._held: set[trio.CancelScope] = set()
        self._broken_after: dict[Address, Envelope] = {}  # whose handlers crash at their end

    def start(self) -> None:
        """Take hold of every message from now on. Raises RuntimeError if another plan runs."""
        lens = look(self._system)
        if lens.spoiler is not None:
            raise RuntimeError("a plan runs already")
        lens.spoiler = self
        self._began = trio.current_time()

    def stop(self) -> None:
        """Let go: delayed and hung handlers go on at once, nothing else is undone. Twice is the same as once."""
        if self._system.lens is not None and self._system.lens.spoiler is self:
            self._system.lens.spoiler = None
            look_away(self._system)
        for scope in tuple(self._held):
            scope.cancel()

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
                if cell is None or not cell.alive:
                    self.skipped["gone"] += 1
                elif self._may(number, fault, cell.address):
                    _end(fault, cell)

    # --- what a lens asks -----------------------------------------------------------------------

    async def before(self, cell: Cell, envelope: Envelope) -> bool:
        if isinstance(envelope.message, Signal):
            return True
        self._broken_after.pop(cell.address, None)  # of a handler that never returned
        hits = [item for item in enumerate(self._faults) if self._hits(*item, cell, envelope)]
        for number, fault in hits:
            if self._may(number, fault, cell.address) and not await self._do(fault, cell, envelope):
                return False
        return True

    def after(self, cell: Cell, envelope: Envelope) -> None:
        if self._broken_after.pop(cell.address, None) is envelope:
            raise InjectedFault(self.name)

    def _hits(self, number: int, fault: Fault, cell: Cell, envelope: Envelope) -> bool:
        if not matches(fault.path, cell.address) or not _like(fault.message, type(envelope.message).TYPE):
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
            return chance(self._seed, number, cell.address, count) < fault.probability
        return fault.at is not None and trio.current_time() >= self._began + fault.at

    def _may(self, number: int, fault: Fault, path: Address) -> bool:
        if self._times[number] >= fault.times:
            return False
        why = ""
        if self._protected(path):
            why = "protected"
        elif self.fired.total() >= self._most or (fault.what == "hang" and len(self._held) >= self._hangs):
            why = "limit"
        if why:
            self.skipped[why] += 1
            return False
        self._times[number] += 1
        self.fired[fault.what] += 1
        self._news(fault, path)
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
                await self._hold(fault.seconds)
            case "drop":
                self._system.dead_letters.add(self._system.clock.now(), cell.address, envelope, "injected")
                return False
            case "duplicate":
                cell.deliver(Envelope(envelope.message, envelope.sender, envelope.principal))
            case "kill" | "lease_lost":
                _end(fault, cell)
                await trio.lowlevel.checkpoint()
        return True

    async def _hold(self, seconds: float) -> None:
        with trio.move_on_after(seconds) as scope:
            self._held.add(scope)
            try:
                await trio.sleep_forever()
            finally:
                self._held.discard(scope)


def chance(seed: int, item: int, path: str, count: int) -> float:
    """A number in [0, 1) that depends on nothing else."""
    digest = blake2b(f"{seed}|{item}|{path}|{count}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def matches(glob: str, path: str) -> bool:
    """Whether a path fits: `*` stands for one segment, or a part of it, `**` for any number of them."""
    return _pattern(glob).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(/\*\*|\*\*|\*)", glob)
    told = {"/**": r"(?:/.*)?", "**": r".*", "*": r"[^/]*"}
    return re.compile("".join(told.get(part, re.escape(part)) for part in parts))


@lru_cache(maxsize=1024)
def _like(glob: str, kind: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, glob.split("*"))), kind) is not None


def _end(fault: Fault, cell: Cell) -> None:
    if fault.what == "kill":
        cell.kill()
    else:
        cell.signal(LeaseLost())
