"""The latest news of actors, numbered, for readers that come and go. Contract: edge-http.md §26 (events stream)."""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice

import trio

from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.message import Envelope, Told
from goclaw.runtime.news import EVENTS, ActorNews, LifeNews
from goclaw.runtime.system import System

KEPT = 1000  # events
Owner = tuple[str, str | None]  # tenant and user; the user is None while nobody has spoken
NOBODY: Owner = ("", None)
ENDS = frozenset({"actor.stopped", "actor.crashed"})


class Bulletin:
    """Hears of every actor. A reader keeps only a number, so a slow one costs nothing and may miss something."""

    def __init__(self, system: System) -> None:
        self.address = Address("edge", "bulletin")  # for its groups; nobody finds it there
        self.groups: set[str] | None = None
        self._kept: deque[ActorNews] = deque(maxlen=KEPT)
        self.start = self.newest = system.clock.epoch_ms()  # numbers grow from one process to the next
        self._stir: trio.Event | None = None
        self._system = system
        self._owners: OrderedDict[str, Owner] = OrderedDict()
        system.join(EVENTS, self)

    def deliver(self, envelope: Envelope) -> Told:
        if isinstance(news := envelope.message, ActorNews):
            if isinstance(news, LifeNews):
                self._remember(news.path)
            self._kept.append(news)
            self.newest += 1
            self.stir()
        return Told.ACCEPTED

    def stir(self) -> None:
        """Wake whoever waits for news."""
        if self._stir is not None:
            self._stir.set()
            self._stir = None

    async def stirred(self) -> None:
        if self._stir is None:
            self._stir = trio.Event()
        await self._stir.wait()

    def since(self, number: int) -> tuple[list[tuple[int, ActorNews]], int]:
        """What came after event `number`, each with its own number, and how many of those are not kept any more."""
        oldest = self.newest - len(self._kept) + 1
        missed = max(0, oldest - 1 - max(number, self.start))
        after = min(max(number - oldest + 1, 0), len(self._kept))
        return list(enumerate(islice(self._kept, after, None), oldest + after)), missed

    def knows(self, number: int) -> bool:
        """It is the number of an event of this process, or of its start."""
        return self.start <= number <= self.newest

    def owner_of(self, path: str) -> Owner:
        """Whose session or run lives there, or did when something last happened to it."""
        member = self._system.members.get(path)
        actor = member.actor if isinstance(member, Cell) else None
        owner: Owner | None = getattr(actor, "belongs_to", None)
        return owner or self._owners.get(path, NOBODY)

    def _remember(self, path: str) -> None:
        if (owner := self.owner_of(path)) is NOBODY:
            return
        self._owners[path] = owner
        self._owners.move_to_end(path)
        if len(self._owners) > KEPT:
            self._owners.popitem(last=False)

    def last_incarnation(self, path: str) -> int | None:
        """Of an actor that ended lately."""
        for news in reversed(self._kept):
            if isinstance(news, LifeNews) and news.path == path and news.event in ENDS:
                return news.incarnation
        return None
