"""A bounded queue: control overtakes, ordinary messages and notices keep their order. Contract: supervision.md §4."""

from __future__ import annotations

from collections import deque
from enum import Enum

import trio

from goclaw.runtime.faults import ControlOverflow
from goclaw.runtime.message import Envelope, Notice, Signal

CONTROL = 64  # signals waiting, after equal ones were merged; supervision.md §4.1
NOTHING: deque[Envelope] = deque(maxlen=0)  # stands for every empty lane, so a sleeping actor owns none


class Overflow(Enum):
    """What happens to a message that finds the user lane full (§4.2)."""

    REJECT = "reject"  # tell is refused; ask and cast wait for room within their deadline
    DROP_OLD = "drop_old"  # the oldest waiting message leaves
    DROP_NEW = "drop_new"  # the newcomer leaves


class Mailbox:
    """Control, user and notice lanes. The user lane never holds more than `capacity`.

    Notices need no bound of their own: there is one per end of a child and one per monitor.
    """

    __slots__ = (
        "_notices", "_waiting", "capacity", "control", "dropped", "expired", "held", "high_water", "overflow",
        "taken", "user",
    )  # fmt: skip

    def __init__(self, capacity: int, overflow: Overflow) -> None:
        self.control = NOTHING
        self.user = NOTHING
        self.capacity = capacity
        self.overflow = overflow
        self.held = False  # the user lane is not served
        self.high_water = 0
        self.dropped = 0
        self.expired = 0
        self.taken = 0  # messages that left the user lane, handled or not
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
        user = self.user
        if len(user) < self.capacity:
            if user is NOTHING:
                self.user = user = deque()
            user.append(envelope)
            if len(user) > self.high_water:
                self.high_water = len(user)
            return None
        if self.overflow is Overflow.REJECT:
            return envelope
        self.dropped += 1
        if self.overflow is Overflow.DROP_NEW:
            return envelope
        self.taken += 1
        user.append(envelope)
        return user.popleft()

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
        elif envelope.reply is not None or all(waiting.message != message for waiting in control):
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
        if self.user and not self.held:
            self.taken += 1
            if self._waiting:
                trio.lowlevel.reschedule(self._waiting.popleft())
            return self.user.popleft()
        return None

    def resize(self, capacity: int, overflow: Overflow) -> list[Envelope]:
        """Take the bounds of the actor that moves in. Returns the messages that have no room any more."""
        self.capacity, self.overflow = capacity, overflow
        excess = max(0, len(self.user) - capacity)
        self.taken += excess
        self.dropped += excess
        self.release()
        leave = self.user.popleft if overflow is Overflow.DROP_OLD else self.user.pop
        return [leave() for _ in range(excess)]

    def forget_signals(self, *keep: type[Signal]) -> list[Envelope]:
        """Empty the control and notice lanes, as a crash does (§8.5), except for signals of type `keep`."""
        kept = [envelope for envelope in self.control if isinstance(envelope.message, keep)]
        lost = [envelope for envelope in self.control if not isinstance(envelope.message, keep)]
        lost += [envelope for _, envelope in self._notices or ()]
        self.control = deque(kept) if kept else NOTHING
        self._notices = None
        return lost

    def withdraw_asks(self) -> list[Envelope]:
        """Take out whatever somebody waits for, and let all waiting senders try again."""
        asks = [envelope for envelope in self.user if envelope.reply is not None]
        if asks:
            self.user = deque(envelope for envelope in self.user if envelope.reply is None)
            self.taken += len(asks)
        self.release()
        return asks

    def clear(self) -> list[Envelope]:
        """Empty the user lane, and let all waiting senders try again, wherever that leads them."""
        left = list(self.user)
        self.taken += len(left)
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
