"""A lane: so many runs at once, picked fairly, claimed in batches, each a child.

Address   /engine/lanes/{name}
Contract  sessions-lanes-cron.md §4; durability.md §5, §6.4, §11; supervision.md §14 (hand back)
"""

from __future__ import annotations

import math
from collections import Counter

import msgspec

from goclaw.actors.engine.claims import Claims
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.lane_news import (
    Audit,
    CutOff,
    Fill,
    Measure,
    Orphaned,
    Pressed,
    Start,
    SuspectsMayRun,
    tell_lanes,
)
from goclaw.actors.engine.loss import AGAIN, free_keys, recover, time_out
from goclaw.actors.engine.pressure import Pressure, tell_pressure
from goclaw.actors.engine.ready import Ready
from goclaw.actors.engine.slots import Slots
from goclaw.actors.engine.suspects import Suspects
from goclaw.actors.engine.waits import news_of
from goclaw.actors.engine.works import Work, Works
from goclaw.domain import address as at
from goclaw.domain.cluster import MARKS, Marked, shard_of
from goclaw.domain.errors import StoreError
from goclaw.domain.run import (
    GetLoad,
    GetOutlook,
    GiveSlotBack,
    HandBack,
    Lane,
    LaneLoad,
    LendSlot,
    Outlook,
    ReclaimSlot,
    RunQueued,
    RunsWait,
    SetLimit,
    StopAll,
    StopRun,
    TakeSlot,
    TakeSlotBack,
    suspected,
)
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import ABNORMAL
from goclaw.runtime.message import Cancel, ChildEnded
from goclaw.runtime.reply import Reply
from goclaw.stores import run_claims, run_queue
from goclaw.stores.runs import Claimed, StaleOwner

BATCH = 8  # sessions claimed in one transaction; durability.md §5.1
AUDIT = 10.0  # seconds between two looks for runs nobody runs, and how long a granted slot is kept
MEASURE = 5.0  # seconds between two looks at how long runs wait
SOON = 60.0  # seconds; what is due later is found by the keeper's look


class LaneActor(Actor):
    capacity = 4096
    responsive = True

    def __init__(self, name: Lane, limit: int, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self.slots = Slots(limit)
        self.ready = Ready(name)
        self.pressure = Pressure()
        self.works = Works(name, engine, self.slots)
        self.claims = Claims(name, engine, self.ready, self.pressure)
        self.suspects = Suspects(self.ready, self.claims)
        self.filling = False
        self.closing = False
        self.waits_for_end: Reply | None = None

    async def on_start(self, ctx: Context) -> None:
        """Runs of a former incarnation died with it: give them back."""
        self.slots.limit = self.engine.sizes.get(self.name, self.slots.limit)
        now = ctx.clock.monotonic()
        for run in await ctx.db(run_claims.owned, node=self.engine.node_id, lane=self.name):
            await recover(ctx, run, self.engine.rules)
        for known in await ctx.db(run_queue.suspects, lane=self.name, shards=self.engine.ownership.where):
            self.ready.learn(news_of(known), now)
        self._figures(ctx)
        tell_lanes(ctx, Pressed(lane=self.name, level=0))
        self._fill_soon(ctx)
        ctx.every(AUDIT, Audit())
        ctx.every(MEASURE, Measure())

    # --- slots --------------------------------------------------------------------------------

    @handles
    async def take_slot(self, ctx: Context, ask: TakeSlot) -> bool:
        """Only while nobody waits for one: a turn must not overtake the queue."""
        if self.closing or self.engine.ownership.stopped or self.ready.waiting or self.slots.free <= 0:
            return False
        self.slots.keep(ask.run_id, ctx.clock.monotonic())
        return True

    @handles
    async def start(self, ctx: Context, news: Start) -> None:
        """A slot that expired, or was granted by a former incarnation, starts nothing: the run is recovered."""
        if self.slots.unkeep(news.run.run_id):
            self.claims.took(ctx, news.run, 0.0)
            self._begin(ctx, news.run)
            if self.engine.ownership.stopped:
                ctx.tell(at.run(self.name, news.run.run_id), Cancel(reason="user", of=news.run.run_id))

    @handles
    async def slot_back(self, ctx: Context, news: GiveSlotBack) -> None:
        self.slots.unkeep(news.run_id)
        self._served(ctx)
        self._ended_all()

    @handles
    async def lend(self, ctx: Context, news: LendSlot) -> None:
        """A suspect's own place is free for the next one: its child may be a suspect too."""
        work = self.works.running.get(at.run(self.name, news.run_id))
        if work is None:
            return
        if work.suspect:
            work.suspect = False
            self.slots.take(news.run_id)
            self.suspects.gone(ctx)
        self.slots.lend(news.run_id)
        self._served(ctx)

    @handles
    async def reclaim(self, ctx: Context, ask: ReclaimSlot) -> bool:
        if (reply := ctx.defer()) is not None:
            self.slots.reclaim(ask.run_id, reply)
            self._figures(ctx)
        return True

    @handles
    async def take_back(self, ctx: Context, news: TakeSlotBack) -> None:
        self.slots.take_back(news.run_id)
        self._figures(ctx)

    @handles
    async def set_limit(self, ctx: Context, ask: SetLimit) -> None:
        self.slots.limit = self.engine.sizes[self.name] = ask.limit
        self._served(ctx)

    # --- who waits ----------------------------------------------------------------------------

    @handles
    async def queued(self, ctx: Context, news: RunQueued) -> None:
        if not self.engine.ownership.has(news.tenant_id, news.session_key):
            shard = shard_of(news.tenant_id, news.session_key)
            ctx.publish(MARKS, Marked(kind="runs", shard=shard))  # its owner claims it
            return
        if news.waited is not None and news.waited < 0:
            if news.waited >= -SOON:
                ctx.after(-news.waited, msgspec.structs.replace(news, waited=0.0))
            return
        self.ready.learn(news, ctx.clock.monotonic())
        self._fill_soon(ctx)

    @handles
    async def wait(self, ctx: Context, news: RunsWait) -> None:
        now = ctx.clock.monotonic()
        hits = sum(self.ready.learn(found, now) for found in news.found)
        ctx.system.meter.count("poll_hits_total", "runs", by=hits)
        self._fill_soon(ctx)

    @handles
    async def outlook(self, ctx: Context, ask: GetOutlook) -> Outlook:
        ahead = self.ready.ahead(ask.priority, ctx.clock.monotonic())
        if ahead or self.slots.free <= 0:
            ahead += 1  # of those who run now
        return Outlook(ahead=ahead, rounds=ahead / self.slots.limit, mean=self.pressure.mean)

    # --- claiming -----------------------------------------------------------------------------

    @handles
    async def fill(self, ctx: Context, _tick: Fill) -> None:
        self.filling = False
        if self.closing or self.engine.ownership.stopped or not self.engine.ownership.held:
            return  # after a quarantine the queue's own look begins again
        try:
            if (run := await self.suspects.claim(ctx)) is not None:
                self._begin(ctx, run, suspect=True)
            await self._claim_next(ctx)
        except StaleOwner:
            return  # another node owns one of them by now; the queue's own look finds those that are ours
        except StoreError as trouble:
            ctx.log.warning("lane.claim_failed", error=str(trouble))
            self.filling = True
            ctx.after(AGAIN, Fill())

    async def _claim_next(self, ctx: Context) -> None:
        active = Counter((work.run.tenant_id, work.run.user_id) for work in self.works.running.values())
        free = min(self.slots.free, BATCH)
        batch = self.ready.next(active, slots=self.slots.limit, free=free, now=ctx.clock.monotonic())
        if not batch:
            return
        try:
            claimed = await self.claims.claim(ctx, batch)
        except StoreError:
            for chosen in batch:
                self.ready.waiting.add(chosen)
            raise
        for run in claimed:
            suspect = suspected(run.crash_count)
            if not suspect or await self.suspects.admit(ctx, run):
                self._begin(ctx, run, suspect=suspect)
        self._fill_soon(ctx)

    @handles
    async def suspects_may_run(self, ctx: Context, _news: SuspectsMayRun) -> None:
        self._fill_soon(ctx)

    # --- runs ---------------------------------------------------------------------------------

    def _begin(self, ctx: Context, run: Claimed, *, suspect: bool = False) -> None:
        address = self.works.begin(ctx, run, suspect=suspect)
        self._figures(ctx)
        if address is not None and self.closing:
            self.works.release(ctx, address)

    @handles
    async def stop_run(self, ctx: Context, ask: StopRun) -> bool:
        """Whatever was claimed before we were asked has begun by now."""
        return self.works.stop(ctx, ask)

    @handles
    async def child_ended(self, ctx: Context, news: ChildEnded) -> None:
        work = self._ended(ctx, news.address)
        if work is not None and news.reason in ABNORMAL:
            await recover(ctx, work.run, self.engine.rules)
        elif work is not None and news.address not in self.works.released:
            seconds = ctx.clock.monotonic() - work.began
            self.pressure.ended(seconds)
            ctx.system.meter.observe("run_seconds", work.run.age + seconds, work.run.kind)
        if work is not None:
            free_keys(ctx, work.run)
        if (again := self.works.next_lives.pop(news.address, None)) is not None:
            self._begin(ctx, again.run, suspect=again.suspect)
            if again.stop is not None:
                ctx.tell(news.address, again.stop)
        self._served(ctx)
        self._ended_all()

    def _ended(self, ctx: Context, address: Address) -> Work | None:
        work = self.works.ended(address)
        if work is not None and work.suspect:
            self.suspects.gone(ctx)
        return work

    @handles
    async def audit(self, ctx: Context, _tick: Audit) -> None:
        """Whoever was granted a slot and died between its commit and telling us left an orphan."""
        now = ctx.clock.monotonic()
        self.slots.forget(now - AUDIT)
        await self._end_overdue(ctx, now)
        try:
            mine = await ctx.db(run_claims.owned, node=self.engine.node_id, lane=self.name, older=AUDIT)
        except StoreError:
            return  # weather: the next look comes
        for run in mine:
            if not self.works.knows(run.run_id) and not self.slots.kept(run.run_id):
                await recover(ctx, run, self.engine.rules)

    async def _end_overdue(self, ctx: Context, now: float) -> None:
        """They are killed, and their slots are free whether they obey or not: what they write later is not theirs."""
        for address in self.works.overdue(now):
            if (cell := ctx.system.cell(address)) is not None:
                cell.kill()
            work = self._ended(ctx, address)
            assert work is not None
            ctx.log.error("run.overdue", run=work.run.run_id, seconds=round(now - work.ends))
            await time_out(ctx, work.run)
        self._served(ctx)
        self._ended_all()

    @handles
    async def orphaned(self, ctx: Context, news: Orphaned) -> None:
        if news.overdue:
            await time_out(ctx, news.run)
        else:
            await recover(ctx, news.run, self.engine.rules)

    @handles
    async def stop_all(self, ctx: Context, news: StopAll) -> None:
        """Waiting runs stay where they are."""
        self.works.stop_all(ctx, news.by)

    # --- the end ------------------------------------------------------------------------------

    @handles
    async def hand_back(self, ctx: Context, ask: HandBack) -> int:
        self.closing = True
        self.waits_for_end = ctx.defer()
        ctx.after(ask.within, CutOff())
        self._ended_all()
        return 0

    @handles
    async def cut_off(self, ctx: Context, _tick: CutOff) -> None:
        self.closing = True
        for address in self.works.running:
            self.works.release(ctx, address)
        self.slots.forget(math.inf)
        self._ended_all()

    def _ended_all(self) -> None:
        """Whoever was kept a slot may have begun in the database."""
        if self.waits_for_end is not None and not (self.works.running or self.works.next_lives or self.slots.keeping):
            self.waits_for_end.answer(len(self.works.released))
            self.waits_for_end = None

    # --- figures ------------------------------------------------------------------------------

    @handles
    async def load(self, ctx: Context, _ask: GetLoad) -> LaneLoad:
        counts = Counter(f"{work.run.tenant_id}/{work.run.agent_key}" for work in self.works.running.values())
        return LaneLoad(
            name=self.name,
            limit=self.slots.limit,
            active=len(self.works.running),
            queued=len(self.ready.waiting) + len(self.ready.suspects),
            by_agent=tuple(counts.items()),
            wait_p50=self.pressure.p50,
            wait_p95=self.pressure.p95,
            drops=int(ctx.system.meter.value("lane_dropped_total", self.name)),
            pressure=self.pressure.level,
        )

    @handles
    async def measure(self, ctx: Context, _tick: Measure) -> None:
        before, now = self.pressure.level, ctx.clock.monotonic()
        level = self.pressure.measure(now, (now - waiting.since for waiting in self.ready.wanted()))
        if level != before:
            tell_pressure(ctx, self.name, self.pressure, len(self.ready.waiting))

    @handles
    async def pressed(self, ctx: Context, news: Pressed) -> None:
        self.ready.pressures[news.lane] = news.level
        self._fill_soon(ctx)

    def _figures(self, ctx: Context) -> None:
        ctx.system.meter.set("lane_active", len(self.works.running), self.name)
        ctx.system.meter.set("lane_limit", self.slots.limit, self.name)

    def _served(self, ctx: Context) -> None:
        """Slots may have become free: first for those who lent theirs."""
        self.slots.serve()
        self._figures(ctx)
        self._fill_soon(ctx)

    def _fill_soon(self, ctx: Context) -> None:
        """Once for all the news that wait in the mailbox: that is what makes batches."""
        wanted = (self.ready.waiting and self.slots.free > 0) or (self.ready.suspects and self.suspects.may_run(ctx))
        if not self.filling and wanted:
            self.filling = True
            ctx.tell(ctx.address, Fill())

    def snapshot(self) -> dict[str, object]:
        return {
            "limit": self.slots.limit,
            "active": len(self.works.running),
            "lent": self.slots.lent,
            "ready": len(self.ready.waiting),
            "suspects": len(self.ready.suspects),
            "pressure": self.pressure.level,
            "wait_p95_ms": round(self.pressure.p95 * 1000),
            "closing": self.closing,
        }
