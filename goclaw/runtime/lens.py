"""What looks at messages on their way into handlers: taps that write them down, a plan that spoils some.

Off, it costs one attribute read per message (supervision.md §15, §21 C5).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import trio
from msgspec import Struct

from goclaw.runtime.address import Address
from goclaw.runtime.mailbox import SAMPLE
from goclaw.runtime.message import Envelope, Message

if TYPE_CHECKING:
    from goclaw.runtime.cell import Cell
    from goclaw.runtime.system import System

RECORDS = 1000  # envelopes a tap records at most; supervision.md §15
SECONDS = 60.0


class Seen(Struct, frozen=True, kw_only=True):
    """One message as a tap saw it. `body` is the message itself, for those who may read it."""

    at: datetime
    type: str
    sender: str
    kind: str  # tell or ask
    wait_ms: float
    handle_ms: float
    outcome: str  # handled, refused, failed, outage, cancelled, dropped
    body: Message[Any]


class Spoiler(Protocol):
    """A plan of faults at work."""

    async def before(self, cell: Cell, envelope: Envelope) -> bool:
        """False if the message disappears. May wait, raise `InjectedFault`, or send more."""

    def after(self, cell: Cell, envelope: Envelope) -> None:
        """The handler returned. May raise `InjectedFault`."""


class Lens:
    """All taps and the one plan of a node. The system has none while nobody looks."""

    def __init__(self) -> None:
        self.taps: dict[Address, list[Callable[[Seen], None]]] = {}
        self.spoiler: Spoiler | None = None

    async def before(self, cell: Cell, envelope: Envelope) -> bool:
        return self.spoiler is None or await self.spoiler.before(cell, envelope)

    def after(self, cell: Cell, envelope: Envelope) -> None:
        if self.spoiler is not None:
            self.spoiler.after(cell, envelope)

    def seen(self, cell: Cell, envelope: Envelope, outcome: str) -> None:
        """The message has left its handler."""
        taps = self.taps.get(cell.address)
        if not taps:
            return
        now = cell.system.load.now()
        seen = Seen(
            at=cell.system.clock.now(),
            type=type(envelope.message).TYPE,
            sender=envelope.sender or "",
            kind="ask" if envelope.asked else "tell",
            wait_ms=round((cell.hand_since - envelope.since) * 1000, 3) if envelope.since is not None else 0.0,
            handle_ms=round((now - cell.hand_since) * 1000, 3),
            outcome=outcome,
            body=envelope.message,
        )
        for tap in tuple(taps):
            tap(seen)


class Records(AsyncIterator[Seen]):
    """What a tap saw, one after the other; ends with the last one wanted or with its time."""

    def __init__(self, get: trio.MemoryReceiveChannel[Seen], left: int, until: float) -> None:
        self._get = get
        self._left = left
        self._until = until

    async def __anext__(self) -> Seen:
        if self._left > 0:
            with trio.move_on_at(self._until):
                seen = await self._get.receive()
                self._left -= 1
                return seen
        self._left = 0
        raise StopAsyncIteration


def look(system: System) -> Lens:
    """The system's lens, put in place if there is none."""
    if system.lens is None:
        system.lens = Lens()
        system.load.sample = 0  # whoever looks wants to know how long each message waited
    return system.lens


def look_away(system: System) -> None:
    """Take the lens out if nobody uses it any more."""
    if system.lens is not None and not system.lens.taps and system.lens.spoiler is None:
        system.lens = None
        system.load.sample = SAMPLE


@asynccontextmanager
async def tapped(system: System, address: Address, count: int, seconds: float) -> AsyncIterator[AsyncIterator[Seen]]:
    """The next `count` messages of the actor at `address`, for at most so many seconds, as they are handled.

    Limits: 1 to 1,000 messages, 60 seconds; supervision.md §15. Raises ValueError beyond them.
    """
    if not (1 <= count <= RECORDS and 0 < seconds <= SECONDS):
        raise ValueError(f"a tap records up to {RECORDS} messages within {SECONDS:g} seconds")
    put, get = trio.open_memory_channel[Seen](count)

    def tap(seen: Seen) -> None:
        with suppress(trio.WouldBlock):  # it has got what it asked for
            put.send_nowait(seen)

    taps = look(system).taps.setdefault(address, [])
    taps.append(tap)
    try:
        yield Records(get, count, trio.current_time() + seconds)
    finally:
        taps.remove(tap)
        if not taps and system.lens is not None:
            system.lens.taps.pop(address, None)
        look_away(system)
