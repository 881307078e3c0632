"""The runtime's own services: watches over loop and messages, the orderly end, and chaos on purpose.

Address   /system/…
Contract  supervision.md §5 (H4), §14; config-cli.md §11
"""

from __future__ import annotations

import trio

from goclaw.actors.chaos.desk import Desk
from goclaw.domain.address import lane
from goclaw.domain.events import EVERYBODY, Farewell, ShuttingDown
from goclaw.domain.run import LANES, HandBack
from goclaw.domain.session import OPEN_WINDOWS, FlushWindows
from goclaw.domain.shutdown import BeginDrain
from goclaw.operations.context import House
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.child import child
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.message import Message
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.watch import Watchman

BEAT = 0.5  # seconds between two measurements
STALL = 0.1  # a beat this late is worth a line in the log
RECONNECT_MS = 1000  # what clients are told to wait
FINISH_SHARE = 2 / 3  # of the budget that running runs may use (supervision.md §14 phase 4)


class Beat(Message[None]):
    """Measure how late we are."""


class Watchdog(Actor):
    """How long the loop keeps others waiting."""

    async def on_start(self, ctx: Context) -> None:
        self.due = ctx.clock.monotonic() + BEAT
        self.lag = self.worst = 0.0
        ctx.after(BEAT, Beat())

    @handles
    async def beat(self, ctx: Context, _tick: Beat) -> None:
        self.lag = ctx.clock.monotonic() - self.due
        self.worst = max(self.worst, self.lag)
        ctx.system.lag = self.lag
        ctx.system.meter.observe("loop_lag_seconds", max(0.0, self.lag))
        if self.lag > STALL:
            ctx.log.warning("loop.stall", seconds=round(self.lag, 3))
        self.due = ctx.clock.monotonic() + BEAT
        ctx.after(BEAT, Beat())

    def snapshot(self) -> dict[str, object]:
        return {"loop_lag_ms": round(self.lag * 1000, 1), "worst_ms": round(self.worst * 1000, 1)}


class Drain(Actor):
    """Tells everybody, lets runs end, puts the rest back, closes the sockets. Answers when all that is done."""

    @handles
    async def begin(self, ctx: Context, ask: BeginDrain) -> int:
        news = ShuttingDown(reason=ask.reason, in_ms=int(ask.within * 1000), reconnect_after_ms=RECONNECT_MS)
        ctx.publish(EVERYBODY, news)
        ctx.publish(OPEN_WINDOWS, FlushWindows())
        handed_back: list[int] = []
        patience = ask.within * FINISH_SHARE

        async def empty(name: str) -> None:
            try:
                handed_back.append(await ctx.ask(lane(name), HandBack(within=patience), within=patience + 5))
            except RuntimeFault as fault:
                ctx.log.warning("drain.lane_failed", lane=name, error=str(fault))

        async with trio.open_nursery() as nursery:
            for name in LANES:
                nursery.start_soon(empty, name)
        ctx.publish(EVERYBODY, Farewell())
        return sum(handed_back)


def system(house: House) -> Supervisor:
    return Supervisor(
        [
            child("watchdog", Watchdog),
            child("deadletters", Watchman),
            child("drain", Drain),
            child("chaos", Desk, house),
        ]
    )
