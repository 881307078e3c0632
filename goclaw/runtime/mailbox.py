"""A bounded queue: control overtakes, ordinary messages and notices keep their order. Contract: supervision.md §4."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

import trio

from goclaw.runtime.faults import ControlOverflow
from goclaw.runtime.message import Down, Envelope, LinkExit, Message, Notice, Restarted, Signal

CONTROL = 64  # signals waiting, after equal ones were merged; supervision.md §4.1
QUEUED = 1_000_000  # ordinary messages waiting in all mailboxes of a node; §4.2
BRIM, RELIEF = 0.8, 0.5  # shares of the capacity: from here on it is filling up, below there it no longer is
SAMPLE = 0b11111  # when many wait, one message in 32 is timed
ALARM = 1.0  # seconds at least between two alarms of a mailbox
NEVER = 1 << 62
NOTHING: deque[Envelope] = deque(maxlen=0)  # stands for every empty lane, so a sleeping actor owns none

Key = Callable[[Message[Any]], Hashable]


class Overflow(Enum):
    """What happens to a message that finds the user lane full (§4.2)."""

    REJECT = "reject"  # tell is refused; ask and cast wait for room within their deadline
    DROP_OLD = "drop_old"  # the oldest waiting message leaves
    DROP_NEW = "drop_new"  # the newcomer leaves
    COALESCE = "coalesce"  # as REJECT, but first it takes the place of a waiting one with an equal key


class Load:
    """What all mailboxes of a node hold together, and the clock their waits are measured with."""

    __slots__ = ("filling", "most", "now", "queued", "sample")

    def __init__(self, now: Callable[[], float], filling: Callable[[Mailbox], None], most: int = QUEUED) -> None:
        self.now = now
        self.filling = filling  # called when a mailbox passes its brim
        self.queued = 0
        self.most = most
        self.sample = SAMPLE


class Mailbox:
    """Control, user and notice lanes. The user lane never holds more than `capacity`.

    Notices need no bound of their own: there is one per end of a child, per monitor and per link.
    """

    __slots__ = (
        "_alarmed", "_brim", "_notices", "_waiting", "capacity", "control", "dropped", "expired", "held", "high_water",
        "key", "load", "overflow", "owner", "taken", "user",
    )  # fmt: skip

    def __init__(
        self, capacity: int, overflow: Overflow, load: Load, *, key: Key | None = None, owner: object = None
    ) -> None:
        self.control = NOTHING
        self.user = NOTHING
        self.capacity = capacity
        self.overflow = overflow
        self.key = key  # for COALESCE
        self.load = load
        self.owner = owner
        self.held = False  # the user lane is not served
        self.high_water = 0
        self.dropped = 0
        self.expired = 0
        self.taken = 0  # messages that left the user lane, handled or not
        self._alarmed = -ALARM
        self._brim = brim(capacity)
        self._notices: deque[tuple[int, Envelope]] | None = None  # each with `taken` once its turn has come
        self._waiting: deque[trio.lowlevel.Task] | None = None

    @property
    def received(self) -> int:
        """Ordinary messages accepted so far."""
        return self.taken + len(self.user)

    @property
    def pending(self) -> bool:
        """There is something `take` would return."""
        notices = self._notices
        return bool(self.control or (self.user and not self.held) or (notices and notices[0][0] <= self.taken))

    # --- in -----------------------------------------------------------------------------------

    def offer(self, envelope: Envelope) -> Envelope | None:
        """Add `envelope`. Returns whom that left without room: nobody, an older message, or `envelope` itself."""
        if isinstance(envelope.message, Signal):
            return self._offer_signal(envelope)
        user, load = self.user, self.load
        if not load.queued & load.sample:
            envelope.since = load.now()
        if self.key is not None and (older := self._replace(envelope)) is not None:
            return older
        waiting = len(user) + 1
        if waiting <= self.capacity and load.queued < load.most:
            if user is NOTHING:
                self.user = user = deque()
            user.append(envelope)
            load.queued += 1
            if waiting > self.high_water:
                self.high_water = waiting
            if waiting >= self._brim:
                self._overflowing(load.now())
            return None
        if self.overflow is Overflow.REJECT or self.overflow is Overflow.COALESCE or not user:
            return envelope
        self.dropped += 1
        if self.overflow is Overflow.DROP_NEW:
            return envelope
        self.taken += 1
        user.append(envelope)
        return user.popleft()

    def _overflowing(self, now: float) -> None:
        self._brim = NEVER
        if now >= self._alarmed + ALARM:
            self._alarmed = now
            self.load.filling(self)

    def _replace(self, envelope: Envelope) -> Envelope | None:
        """Take the place of a waiting message of equal key. Returns the one that leaves, if there is one."""
        assert self.key is not None
        key = self.key(envelope.message)
        for place, waiting in enumerate(self.user):
            if key is not None and self.key(waiting.message) == key:
                self.user[place] = envelope
                self.dropped += 1
                return waiting
        return None

    def _offer_signal(self, envelope: Envelope) -> Envelope | None:
        message, control = envelope.message, self.control
        if isinstance(message, Notice):
            if self._notices is None:
                self._notices = deque()
            self._notices.append((self.received, envelope))
        elif len(control) > CONTROL:  # one too many waits already and will crash the actor
            return envelope
        elif control is NOTHING:
            self.control = deque([envelope])
        else:
            if envelope.reply is None:  # the newer one takes over: suspend, resume, suspend is to suspend
                equal = next((w for w in control if w.reply is None and w.message == message), None)
                if equal is not None:
                    control.remove(equal)
            control.append(envelope)
        return None

    async def room(self) -> None:
        """Wait until there may be room. The caller offers again, under its own deadline."""
        task = trio.lowlevel.current_task()
        waiting = self._waiting = self._waiting or deque()
        waiting.append(task)

        def leave(_raise_cancel: object) -> trio.lowlevel.Abort:
            waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    # --- out ----------------------------------------------------------------------------------

    def take(self) -> Envelope | None:
        """The next message to handle, if any; makes room for one sender that waits.

        Raises ControlOverflow when more than 64 different signals waited, which is a bug of their sender.
        """
        if self.control:
            if len(self.control) > CONTROL:
                raise ControlOverflow(f"more than {CONTROL} signals wait")
            return self.control.popleft()
        if self._notices and self._notices[0][0] <= self.taken:
            return self._notices.popleft()[1]
        user = self.user
        if user and not self.held:
            self.taken += 1
            self.load.queued -= 1
            if self._waiting:
                trio.lowlevel.reschedule(self._waiting.popleft())
            if self._brim == NEVER and len(user) <= self.capacity * RELIEF:
                self._brim = brim(self.capacity)
            return user.popleft()
        return None

    def resize(self, capacity: int, overflow: Overflow) -> list[Envelope]:
        """Take the bounds of the actor that moves in. Returns the messages that have no room any more."""
        self.capacity, self.overflow, self._brim = capacity, overflow, brim(capacity)
        waiting = len(self.user)
        excess = max(0, waiting - capacity)
        self._leave(range(excess) if overflow is Overflow.DROP_OLD else range(waiting - excess, waiting))
        self.dropped += excess
        self.release()
        leave = self.user.popleft if overflow is Overflow.DROP_OLD else self.user.pop
        return [leave() for _ in range(excess)]

    def _leave(self, places: Sequence[int]) -> None:
        """Messages at these places of the user lane leave out of turn. Notices keep their place among the rest."""
        if self._notices:
            gone = [self.taken + place for place in places]
            moved = ((turn + sum(turn <= other for other in gone), news) for turn, news in self._notices)
            self._notices = deque(moved)
        self._left(len(places))

    def _left(self, messages: int) -> None:
        if messages:
            self._brim = brim(self.capacity)
        self.taken += messages
        self.load.queued -= messages

    def forget_signals(self, *keep: type[Signal[Any]]) -> list[Envelope]:
        """Empty the control and notice lanes, as a crash does (§8.5), except for signals of type `keep`."""
        kept = [envelope for envelope in self.control if isinstance(envelope.message, keep)]
        lost = [envelope for envelope in self.control if not isinstance(envelope.message, keep)]
        lost += [envelope for _, envelope in self._notices or ()]
        self.control = deque(kept) if kept else NOTHING
        self._notices = None
        return lost

    def forget_news_of(self, address: str, *kinds: type[Down | Restarted | LinkExit]) -> None:
        """Drop the notices of these kinds a monitor or link of `address` led to."""
        self._notices = deque(
            notice
            for notice in self._notices or ()
            if not (isinstance(news := notice[1].message, kinds) and news.address == address)
        )

    def withdraw(self, unwanted: Callable[[Envelope], bool]) -> list[Envelope]:
        """Take the `unwanted` out of the user lane, and let all waiting senders try again."""
        places = [place for place, envelope in enumerate(self.user) if unwanted(envelope)]
        leaving = [self.user[place] for place in places]
        if places:
            self.user = deque(envelope for envelope in self.user if not unwanted(envelope))
            self._leave(places)
        self.release()
        return leaving

    def clear(self) -> list[Envelope]:
        """Empty the user lane, and let all waiting senders try again, wherever that leads them."""
        left = list(self.user)
        self._left(len(left))
        self.user = NOTHING
        self.release()
        return left

    def release(self) -> None:
        """Let all waiting senders try again."""
        while self._waiting:
            trio.lowlevel.reschedule(self._waiting.popleft())

    def rest(self) -> None:
        """Give back what an idle actor does not need."""
        if not self.user:
            self.user = NOTHING
        if not self.control:
            self.control = NOTHING
        if not self._notices:
            self._notices = None
        if not self._waiting:
            self._waiting = None


@lru_cache
def brim(capacity: int) -> int:
    """From how many waiting messages on a mailbox counts as filling up."""
    return max(2, int(capacity * BRIM))
