"""The runs of a lane: who is at work, who begins when its last life is gone, who was told to go back.

Contract: sessions-lanes-cron.md §4; supervision.md §14.
"""

from __future__ import annotations

from dataclasses import dataclass

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.run import RELEASE, Run
from goclaw.actors.engine.slots import Slots
from goclaw.domain import address as at
from goclaw.domain.run import Lane, StopRun
from goclaw.runtime.actor import Context
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Restart
from goclaw.runtime.message import Cancel, Told
from goclaw.stores.runs import Claimed

GRACE = 30.0  # seconds after its deadline that a run has for its last words


@dataclass
class Work:
    """A run of ours."""

    run: Claimed
    began: float
    ends: float  # its deadline; both monotonic seconds
    suspect: bool


@dataclass
class NextLife:
    """A run of ours that begins when its last life is gone."""

    run: Claimed
    suspect: bool
    stop: Cancel | None = None  # somebody wants it to end already


class Works:
    """Each has a slot, but for a suspect."""

    def __init__(self, lane: Lane, engine: Engine, slots: Slots) -> None:
        self.lane = lane
        self.engine = engine
        self.slots = slots
        self.running: dict[Address, Work] = {}
        self.next_lives: dict[Address, NextLife] = {}  # claimed again before their actor was gone
        self.released: set[Address] = set()  # runs told to go back into the queue

    def knows(self, run_id: str) -> bool:
        address = at.run(self.lane, run_id)
        return address in self.running or address in self.next_lives

    def begin(self, ctx: Context, run: Claimed, *, suspect: bool) -> Address | None:
        """None if its last life has written its end and is about to go: it begins then."""
        address = at.run(self.lane, run.run_id)
        if not suspect:
            self.slots.take(run.run_id)
        if address in ctx.system.members:
            self.next_lives[address] = NextLife(run, suspect)
            return None
        now = ctx.clock.monotonic()
        ctx.child(Child(run.run_id, Run, (run, self.engine), restart=Restart.TEMPORARY))
        self.running[address] = Work(run, now, now + run.left, suspect)
        return address

    def ended(self, address: Address) -> Work | None:
        """Its place is free. None if it was free already."""
        work = self.running.pop(address, None)
        if work is not None:
            self.slots.leave(work.run.run_id)
            coming = self.next_lives.get(address)
            if coming is not None and not coming.suspect:
                self.slots.take(coming.run.run_id)
        return work

    def overdue(self, now: float) -> list[Address]:
        """Runs that outlived their deadline hang in something no timeout of their own reaches."""
        return [address for address, work in self.running.items() if now > work.ends + GRACE]

    def stop(self, ctx: Context, ask: StopRun) -> bool:
        address, stop = at.run(self.lane, ask.run_id), Cancel(reason=ask.reason, by=ask.by)
        if (coming := self.next_lives.get(address)) is not None:
            coming.stop = stop
            return True
        return address in self.running and ctx.tell(address, stop) is Told.ACCEPTED

    def stop_all(self, ctx: Context, by: str) -> None:
        for address, work in self.running.items():
            ctx.tell(address, Cancel(reason="user", by=by, of=work.run.run_id))
        for life in self.next_lives.values():
            life.stop = Cancel(reason="user", by=by, of=life.run.run_id)

    def release(self, ctx: Context, address: Address) -> None:
        self.released.add(address)
        ctx.tell(address, Cancel(reason=RELEASE))
