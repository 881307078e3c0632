"""The last events of every run that lives or ended lately, for readers that come back.

Contract: edge-websocket.md §6.4, edge-http.md §23, sessions-lanes-cron.md §9.7. Memory only: a new process knows
nothing of what the last one said.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import dropwhile

import msgspec
from msgspec import Struct

from goclaw.domain.events import RUNS, SOCKETS, TERMINAL, Pulse, RunEvent
from goclaw.runtime.address import Address
from goclaw.runtime.message import Envelope, Told
from goclaw.runtime.system import System

KEPT = 600.0  # seconds after the end of a run
COST = 400  # bytes counted for an event besides its text and body

VOID = frozenset({"tool.result", "run.recovered", "run.started"})  # a new segment of text begins behind them


class Limits(Struct, frozen=True, kw_only=True):
    """Of all runs together the one that ended first gives way, then the one that began first."""

    events: int = 2_000  # of a run
    bytes: int = 2**20  # of a run, and of the text before them that a gap is filled with
    runs: int = 20_000
    total: int = 32 * 2**20  # bytes of all runs


class Replay(Struct, frozen=True):
    """What a run said after some number. With a `gap` some of it is lost, and `text` is the segment so far."""

    events: tuple[RunEvent, ...]
    last: int  # number of the newest event
    gap: bool
    text: str


class Ring:
    __slots__ = ("bytes", "events", "lost", "text")

    def __init__(self, first: RunEvent) -> None:
        self.events: deque[RunEvent] = deque()
        self.bytes = 0
        self.lost = first.run_seq - 1  # number of the newest event that is not kept
        self.text = ""  # of the segment that was open there

    def drop(self, longest: int) -> int:
        """Forget the oldest event but for its text, of which at most `longest`. How many bytes that frees."""
        gone = self.events.popleft()
        size = size_of(gone)
        self.bytes -= size
        self.lost = gone.run_seq
        self.text = segment(self.text, (gone,))[-longest:]
        return size


class ReplayBuffer:
    """Hears every run. `since` is for those who come back, `last` for those who want to know how far it is."""

    def __init__(self, system: System, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._limits = limits
        self.address = Address("edge", "replays")  # for its groups; nobody finds it there
        self.groups: set[str] | None = None
        self.bytes = 0
        self._clock = system.clock
        self._rings: dict[str, Ring] = {}
        self._ended: OrderedDict[str, float] = OrderedDict()  # runs by their end
        system.join(RUNS, self)
        system.join(SOCKETS, self)  # for the pulse

    def __len__(self) -> int:
        return len(self._rings)

    def since(self, run_id: str, number: int) -> Replay | None:
        """Everything behind event `number`, oldest first; None for a run that has said nothing lately."""
        ring = self._rings.get(run_id)
        if ring is None:
            return None
        events = tuple(dropwhile(lambda event: event.run_seq <= number, ring.events))
        gap = number < ring.lost
        text = segment(ring.text, ring.events) if gap else ""
        return Replay(events, self.last(run_id), gap, text)

    def last(self, run_id: str) -> int:
        """The number of the newest event; 0 for a run that has said nothing lately."""
        ring = self._rings.get(run_id)
        return ring.events[-1].run_seq if ring is not None and ring.events else 0

    def deliver(self, envelope: Envelope) -> Told:
        message = envelope.message
        if type(message) is RunEvent:
            self._keep(message)
        elif type(message) is Pulse:
            self._forget()
        return Told.ACCEPTED

    def _keep(self, event: RunEvent) -> None:
        run_id = event.run_id
        ring = self._rings.get(run_id)
        if ring is None:
            ring = self._rings[run_id] = Ring(event)
        ring.events.append(event)
        size = size_of(event)
        ring.bytes += size
        self.bytes += size
        limits = self._limits
        while len(ring.events) > limits.events or (ring.bytes > limits.bytes and len(ring.events) > 1):
            self.bytes -= ring.drop(limits.bytes)
        if event.type in TERMINAL:
            self._ended[run_id] = self._clock.monotonic()
        elif run_id in self._ended:  # it was taken up again
            del self._ended[run_id]
        while self.bytes > limits.total or len(self._rings) > limits.runs:
            self._discard(next(iter(self._ended), None) or next(iter(self._rings)))

    def _forget(self) -> None:
        """Runs that ended long ago."""
        latest = self._clock.monotonic() - KEPT
        while self._ended and next(iter(self._ended.values())) <= latest:
            self._discard(next(iter(self._ended)))

    def _discard(self, run_id: str) -> None:
        self._ended.pop(run_id, None)
        self.bytes -= self._rings.pop(run_id).bytes


def size_of(event: RunEvent) -> int:
    return COST + len(event.text) + len(event.body)


def segment(text: str, events: Iterable[RunEvent]) -> str:
    """The answer's text since it last began anew, `text` being what was there before (edge-websocket.md §8.3)."""
    parts = [text]
    for event in events:
        if event.type == "chunk":
            parts.append(event.text)
        elif event.type in VOID or (event.type == "run.retrying" and msgspec.json.decode(event.body).get("reset")):
            parts.clear()
    return "".join(parts)
