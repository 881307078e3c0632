"""Keeps the emergency stop the same at all nodes: writes down what is said here, obeys what was said elsewhere.

Address   /infra/estop
Contract  security.md §13
"""

from __future__ import annotations

from collections import deque

import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.cluster import HEARD, MARKS, Marked, Missed, Ownership, Woken
from goclaw.domain.errors import StoreError
from goclaw.domain.estop import TOPIC, Change, Levels, SpreadStop, Stopped
from goclaw.domain.events import EstopEvent, body, of_admins
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.security.braking import braked
from goclaw.security.estop import Brake, glance
from goclaw.stores import estop as rows
from goclaw.stores.estop import Kept

LOOK = 0.5  # seconds between two looks when nobody rings: in force everywhere within a second
PATIENCE = 2.0  # seconds the database has
BLIND = 10.0  # seconds without knowing the state, neither by row nor by file; security.md §13
UNSENT = 100  # changes that wait for the database
HELD = "neither the database nor the file says what is stopped"


class Look(Message[None]):
    """What is stopped?"""


class EstopKeeper(Actor):
    weather = (StoreError,)

    def __init__(self, brake: Brake, ownership: Ownership) -> None:
        self.brake = brake
        self.own = ownership
        self.version: int | None = None  # of the row, as far as we obey it
        self.unsent: deque[Change] = deque(maxlen=UNSENT)
        self.begins = True  # the file may know of a later word than the row
        self.sure = 0.0  # when we knew the state, in monotonic seconds
        self.blind = False

    async def on_start(self, ctx: Context) -> None:
        """Before lanes open."""
        self.sure = ctx.clock.monotonic()
        await self._look(ctx)
        ctx.join(HEARD)
        ctx.every(LOOK, Look())

    @handles
    async def spread(self, ctx: Context, ask: SpreadStop) -> Stopped:
        """It is in force here by now. While the database is away it waits for it, and the file says it."""
        self.unsent.append(ask.change)
        with trio.move_on_after(PATIENCE):
            await self._send(ctx)
        return self.brake.state

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        if self.own.alone and self.version is not None and not (self.unsent or self.blind):
            return  # nobody else writes
        await self._look(ctx)

    @handles
    async def woken(self, ctx: Context, news: Woken) -> None:
        if news.kind == "cache" and TOPIC in news.topics:
            await self._look(ctx)

    @handles
    async def missed(self, ctx: Context, _news: Missed) -> None:
        await self._look(ctx)

    # --- parts --------------------------------------------------------------------------------

    async def _look(self, ctx: Context) -> None:
        try:
            with trio.fail_after(PATIENCE):
                await self._send(ctx)
                kept = await ctx.db(rows.read)
                if self.begins:
                    self.begins = False
                    self._since(kept.value if kept is not None else Stopped())
                    await self._send(ctx)
        except (StoreError, trio.TooSlowError):
            return await self._by_file(ctx)
        await self._see(ctx)
        if kept is not None and (self.version is None or kept.version > self.version):
            await self._obey(ctx, kept)

    async def _send(self, ctx: Context) -> None:
        while self.unsent:
            kept = await ctx.db(rows.change, self.unsent[0])
            self.unsent.popleft()
            ctx.publish(MARKS, Marked(kind="cache", topic=TOPIC))
            await self._obey(ctx, kept)

    def _since(self, row: Stopped) -> None:
        """What an operator wrote into the file while no gateway was here to hear it. The later word counts."""
        state = self.brake.state
        if not self.brake.held and state.said > row.said:
            self.unsent += changes(row, state)

    async def _obey(self, ctx: Context, kept: Kept) -> None:
        self.version = kept.version
        await self._become(ctx, kept.value)

    async def _by_file(self, ctx: Context) -> None:
        """The database is away: the file rules, and without it nobody knows."""
        now = ctx.clock.monotonic()
        said = glance(self.brake.path) if self.brake.path is not None else self.brake.state
        if said is not None:
            await self._see(ctx)
            if said.said > self.brake.state.said:
                self.unsent += changes(self.brake.state, said)
                await self._become(ctx, said)
        elif now - self.sure >= BLIND and not self.brake.held:
            ctx.log.error("estop.blind", seconds=round(now - self.sure))
            self.blind, self.brake.held = True, HELD
            await self._become(ctx, self.brake.state)

    async def _see(self, ctx: Context) -> None:
        self.sure = ctx.clock.monotonic()
        if self.blind:
            self.blind, self.brake.held, self.version = False, "", None
            ctx.log.warning("estop.sees_again")

    async def _become(self, ctx: Context, state: Stopped) -> None:
        before = self.brake.state
        if state == before and not self.brake.held:
            return
        await braked(ctx.system, self.brake, lambda: self.brake.become(state))
        after = self.brake.state
        for type, levels in (("estop.engaged", after.without(before)), ("estop.released", before.without(after))):
            if levels:
                news = EstopEvent(type=type, body=body(level=named(levels), by=after.by, reason=after.reason))
                ctx.publish(of_admins(MASTER_TENANT), news)

    def snapshot(self) -> dict[str, object]:
        return {"version": self.version, "unsent": len(self.unsent), "held": self.brake.held}


def changes(before: Stopped, after: Stopped) -> list[Change]:
    """What was said in between."""
    told = {"by": after.by, "at": after.at, "reason": after.reason}
    found = ((True, after.without(before)), (False, before.without(after)))
    return [Change(engage=engage, levels=levels, **told) for engage, levels in found if levels]


def named(levels: Levels) -> dict[str, object]:
    return {"all": levels.all, "network": levels.network, "tools": levels.tools, "domains": levels.domains}
