"""A lane: so many runs at once, picked fairly, claimed in batches, each a child.

Address   /engine/lanes/{name}
Contract  sessions-lanes-cron.md §4; durability.md §5, §6.4, §11; supervision.md §14 (hand back)
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import msgspec

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.loss import announce_loss, announce_stop
from goclaw.actors.engine.pressure import Pressure
from goclaw.actors.engine.ready import Ready
from goclaw.actors.engine.run import RELEASE, Run
from goclaw.actors.engine.slots import Slots
from goclaw.actors.engine.waits import news_of, requeued
from goclaw.domain import address as at
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.cluster import MARKS, Marked, shard_of
from goclaw.domain.errors import StoreError, agent_timeout
from goclaw.domain.events import Saturation, of_operators
from goclaw.domain.locks import KeysFreed
from goclaw.domain.pick import Candidate
from goclaw.domain.retry import delay
from goclaw.domain.run import (
    LANES,
    SATURATED,
    SUSPECT,
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
    suspected,
)
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import ABNORMAL, Child, Restart
from goclaw.runtime.message import Cancel, ChildEnded, Message, Told
from goclaw.runtime.reply import Reply
from goclaw.stores import elsewhere, run_queue, run_replies, runs, shards
from goclaw.stores.runs import Claimed, StaleOwner

BATCH = 8  # sessions claimed in one transaction; durability.md §5.1
AUDIT = 10.0  # seconds between two looks for runs nobody runs, and how long a granted slot is kept
AGAIN = 0.5  # seconds before another try when the database is away
MEASURE = 5.0  # seconds between two looks at how long runs wait
SOON = 60.0  # seconds; what is due later is found by the keeper's look
GRACE = 30.0  # seconds after its deadline that a run has for its last words


class Fill(Message[None]):
    """Claim as many runs as there are slots."""


class Start(Message[None]):
    """A run that was claimed with its acceptance takes the slot that was kept for it."""

    run: Claimed


class Audit(Message[None]):
    """Look for runs that are ours in the database and nowhere else, and for runs that do not end."""


class Measure(Message[None]):
    """Look how long runs wait."""


class Orphaned(Message[None]):
    """A run of ours ended without its last words and its row still says that it runs."""

    run: Claimed
    overdue: bool = False  # it did not end in time


class CutOff(Message[None]):
    """The time to end is over for whoever still runs."""


class SuspectsMayRun(Message[None]):
    """Nobody runs a suspect any more."""


class Pressed(Message[None]):
    """To every lane: this one's saturation has changed."""

    lane: str
    level: int


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


class LaneActor(Actor):
    capacity = 4096
    responsive = True

    def __init__(self, name: Lane, limit: int, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self.slots = Slots(limit)
        self.ready = Ready(name)
        self.running: dict[Address, Work] = {}
        self.next_lives: dict[Address, NextLife] = {}  # claimed again before their actor was gone
        self.pressure = Pressure()
        self.filling = False
        self.closing = False
        self.released: set[Address] = set()  # runs told to go back into the queue
        self.waits_for_end: Reply | None = None

    async def on_start(self, ctx: Context) -> None:
        """Runs of a former incarnation died with it: give them back."""
        self.slots.limit = self.engine.sizes.get(self.name, self.slots.limit)
        now = ctx.clock.monotonic()
        for run in await ctx.db(runs.owned, node=self.engine.node_id, lane=self.name):
            await self._recover(ctx, run)
        for known in await ctx.db(run_queue.suspects, lane=self.name, shards=self.engine.ownership.where):
            self.ready.learn(news_of(known), now)
        self._figures(ctx)
        self._tell_lanes(ctx, Pressed(lane=self.name, level=0))
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
            self._claimed(ctx, news.run, 0.0)
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
        work = self.running.get(at.run(self.name, news.run_id))
        if work is None:
            return
        if work.suspect:
            work.suspect = False
            self.slots.take(news.run_id)
            self._suspect_gone(ctx)
        self.slots.lend(news.run_id)
        self._served(ctx)

    @handles
    async def reclaim(self, ctx: Context, ask: ReclaimSlot) -> bool:
        if (reply := ctx.defer()) is not None:
            self.slots.reclaim(ask.run_id, reply)
            self._figures(ctx)
        return True

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
            await self._claim_suspect(ctx)
            await self._claim_next(ctx)
        except StaleOwner:
            return  # another node owns one of them by now; the queue's own look finds those that are ours
        except StoreError as trouble:
            ctx.log.warning("lane.claim_failed", error=str(trouble))
            self.filling = True
            ctx.after(AGAIN, Fill())

    async def _claim_next(self, ctx: Context) -> None:
        now = ctx.clock.monotonic()
        active = Counter((work.run.tenant_id, work.run.user_id) for work in self.running.values())
        free = min(self.slots.free, BATCH)
        batch = self.ready.next(active, slots=self.slots.limit, free=free, now=now)
        if not batch:
            return
        try:
            claimed = await self._claim(ctx, batch)
        except StoreError:
            for chosen in batch:
                self.ready.waiting.add(chosen)
            raise
        since = {chosen.session: chosen.since for chosen in batch}
        for run in claimed:
            self._claimed(ctx, run, now - since[run.tenant_id, run.session_key])
            if suspected(run.crash_count):
                await self._defer_suspect(ctx, run)
            else:
                self._begin(ctx, run)
        self._fill_soon(ctx)

    async def _claim(self, ctx: Context, batch: list[Candidate]) -> list[Claimed]:
        sessions = [chosen.session for chosen in batch]
        own, node, rules = self.engine.ownership, self.engine.node_id, self.engine.locks
        policy = self.engine.guards.policy.version
        if own.alone:
            return await ctx.db(
                runs.claim,
                node=node,
                lane=self.name,
                sessions=sessions,
                limit=len(sessions),
                rules=rules,
                policy=policy,
            )
        return await ctx.db(
            shards.claim,
            node=node,
            lane=self.name,
            sessions=sessions,
            limit=len(sessions),
            fences=own.shards,
            rules=rules,
            policy=policy,
        )

    def _claimed(self, ctx: Context, run: Claimed, waited: float) -> None:
        """Its tenant and its user had their turn, and it is known how long it waited for a slot."""
        now = ctx.clock.monotonic()
        waited = max(0.0, min(waited, run.age))
        self.ready.turns.took(run.tenant_id, run.user_id)
        self.pressure.claimed(now, waited)
        ctx.system.meter.observe("run_claim_wait_seconds", waited, self.name, run.kind)
        ctx.system.meter.observe("run_queue_seconds", run.age, self.name, run.kind)

    # --- suspects -----------------------------------------------------------------------------

    @handles
    async def suspects_may_run(self, ctx: Context, _news: SuspectsMayRun) -> None:
        self._fill_soon(ctx)

    def _place_for_suspect(self, ctx: Context) -> bool:
        """One on the whole node, in a place of its own beside the slots."""
        return SUSPECT not in ctx.system.groups

    async def _claim_suspect(self, ctx: Context) -> None:
        if not self.ready.suspects or not self._place_for_suspect(ctx):
            return
        ctx.join(SUSPECT)
        now = ctx.clock.monotonic()
        chosen = self.ready.next_suspect(now)
        try:
            claimed = await self._claim(ctx, [chosen])
        except StaleOwner:
            claimed = []  # another node owns it by now
        except StoreError:
            self.ready.suspects.add(chosen)
            ctx.leave(SUSPECT)
            raise
        for run in claimed:
            self._claimed(ctx, run, now - chosen.since)
            await self._begin_suspect(ctx, run)
        if not claimed:
            self._suspect_gone(ctx)

    async def _defer_suspect(self, ctx: Context, run: Claimed) -> None:
        """Claimed among the others, because nobody had told us that it is one."""
        if self._place_for_suspect(ctx):
            ctx.join(SUSPECT)
            return await self._begin_suspect(ctx, run)
        try:
            await ctx.db(runs.put_back, run, reason="RELEASE_SUSPECT")
            stopped = await ctx.db(elsewhere.endings, runs=[run.run_id])
        except StaleOwner:
            return
        except StoreError:
            ctx.after(AGAIN, Orphaned(run=run))
            return
        if stopped:
            await announce_stop(ctx, run)
        self._freed(ctx, run)
        self.ready.learn(requeued(run, suspect=True), ctx.clock.monotonic())

    async def _begin_suspect(self, ctx: Context, run: Claimed) -> None:
        """Whatever it does to us, the log names it."""
        ctx.log.warning("run.suspect", text=f"suspect run {run.run_id}", run=run.run_id, crashes=run.crash_count)
        try:
            await ctx.db(run_queue.suspect, run)
        except StaleOwner:
            self._suspect_gone(ctx)
            return
        except StoreError as trouble:
            ctx.log.warning("run.suspect_not_written", run=run.run_id, error=str(trouble))
        self._begin(ctx, run, suspect=True)

    def _suspect_gone(self, ctx: Context) -> None:
        ctx.leave(SUSPECT)
        self._tell_lanes(ctx, SuspectsMayRun())

    # --- runs ---------------------------------------------------------------------------------

    def _begin(self, ctx: Context, run: Claimed, *, suspect: bool = False) -> None:
        address = at.run(self.name, run.run_id)
        if address in ctx.system.members:  # its last life has written its end and is about to go
            self.next_lives[address] = NextLife(run, suspect)
            if not suspect:
                self.slots.take(run.run_id)
            return
        now = ctx.clock.monotonic()
        ctx.child(Child(run.run_id, Run, (run, self.engine), restart=Restart.TEMPORARY))
        self.running[address] = Work(run, now, now + run.left, suspect)
        if not suspect:
            self.slots.take(run.run_id)
        self._figures(ctx)
        if self.closing:
            self._release(ctx, address)

    @handles
    async def stop_run(self, ctx: Context, ask: StopRun) -> bool:
        """Whatever was claimed before we were asked has begun by now."""
        address, stop = at.run(self.name, ask.run_id), Cancel(reason=ask.reason, by=ask.by)
        if (coming := self.next_lives.get(address)) is not None:
            coming.stop = stop
            return True
        return address in self.running and ctx.tell(address, stop) is Told.ACCEPTED

    @handles
    async def child_ended(self, ctx: Context, news: ChildEnded) -> None:
        work = self._ended(ctx, news.address)
        if work is not None and news.reason in ABNORMAL:
            await self._recover(ctx, work.run)
        elif work is not None and news.address not in self.released:
            seconds = ctx.clock.monotonic() - work.began
            self.pressure.ended(seconds)
            ctx.system.meter.observe("run_seconds", work.run.age + seconds, work.run.kind)
        if work is not None:
            self._freed(ctx, work.run)
        if (again := self.next_lives.pop(news.address, None)) is not None:
            self._begin(ctx, again.run, suspect=again.suspect)
            if again.stop is not None:
                ctx.tell(news.address, again.stop)
        self._served(ctx)
        self._ended_all()

    def _ended(self, ctx: Context, address: Address) -> Work | None:
        """Its place is free. None if it was free already."""
        work = self.running.pop(address, None)
        if work is not None:
            self.slots.leave(work.run.run_id)
            coming = self.next_lives.get(address)
            if coming is not None and not coming.suspect:
                self.slots.take(coming.run.run_id)
            if work.suspect:
                self._suspect_gone(ctx)
        return work

    @handles
    async def audit(self, ctx: Context, _tick: Audit) -> None:
        """Whoever was granted a slot and died between its commit and telling us left an orphan."""
        now = ctx.clock.monotonic()
        self._forget_kept(now - AUDIT)
        await self._end_overdue(ctx, now)
        try:
            mine = await ctx.db(runs.owned, node=self.engine.node_id, lane=self.name, older=AUDIT)
        except StoreError:
            return  # weather: the next look comes
        known = {address.name for address in (*self.running, *self.next_lives)}
        for run in mine:
            if run.run_id not in known and not self.slots.kept(run.run_id):
                await self._recover(ctx, run)

    async def _end_overdue(self, ctx: Context, now: float) -> None:
        """A run that outlives its deadline hangs in something no timeout of its own reaches.

        It is killed, and its slot is free whether it obeys or not: whatever it writes later is not its own any more.
        """
        for address in [address for address, work in self.running.items() if now > work.ends + GRACE]:
            if (cell := ctx.system.cell(address)) is not None:
                cell.kill()
            work = self._ended(ctx, address)
            assert work is not None
            ctx.log.error("run.overdue", run=work.run.run_id, seconds=round(now - work.ends))
            await self._time_out(ctx, work.run)
        self._served(ctx)
        self._ended_all()

    @handles
    async def orphaned(self, ctx: Context, news: Orphaned) -> None:
        await (self._time_out if news.overdue else self._recover)(ctx, news.run)

    async def _time_out(self, ctx: Context, run: Claimed) -> None:
        error = agent_timeout(round(run.age + run.left))
        try:
            await ctx.db(run_replies.lost, run, err=error, reason="TIMEOUT", error="the run did not end")
        except StaleOwner:
            return
        except StoreError:
            ctx.after(AGAIN, Orphaned(run=run, overdue=True))
            return
        self._freed(ctx, run)
        announce_loss(ctx, run, error)

    async def _recover(self, ctx: Context, run: Claimed) -> None:
        pause = delay(run.run_id, run.crash_count + 1, self.engine.rules)
        try:
            outcome = await ctx.db(run_replies.recover, run, "crash", delay=pause)
        except StaleOwner:
            return
        except StoreError:
            ctx.after(AGAIN, Orphaned(run=run))
            return
        self._freed(ctx, run)
        ctx.log.warning("run.recovered", run=run.run_id, outcome=outcome)
        if outcome == "requeued":
            ctx.tell(ctx.address, requeued(run, suspect=suspected(run.crash_count + 1), due_in=pause))
        elif outcome == "cancelled":
            await announce_stop(ctx, run)
        else:
            ctx.system.meter.count("run_dead_letter_total", "DEAD_LETTER_CRASH_LOOP")
            announce_loss(ctx, run)

    def _freed(self, ctx: Context, run: Claimed) -> None:
        if run.keyed:
            ctx.tell(at.LOCKS, KeysFreed())

    @handles
    async def stop_all(self, ctx: Context, news: StopAll) -> None:
        """Waiting runs stay where they are."""
        for address, work in self.running.items():
            ctx.tell(address, Cancel(reason="user", by=news.by, of=work.run.run_id))
        for life in self.next_lives.values():
            life.stop = Cancel(reason="user", by=news.by, of=life.run.run_id)

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
        for address in self.running:
            self._release(ctx, address)
        self._forget_kept(math.inf)
        self._ended_all()

    def _forget_kept(self, before: float) -> None:
        for run_id in self.slots.forgotten(before):
            self.slots.unkeep(run_id)

    def _ended_all(self) -> None:
        """Whoever was kept a slot may have begun in the database."""
        if self.waits_for_end is not None and not (self.running or self.next_lives or self.slots.keeping):
            self.waits_for_end.answer(len(self.released))
            self.waits_for_end = None

    def _release(self, ctx: Context, address: Address) -> None:
        self.released.add(address)
        ctx.tell(address, Cancel(reason=RELEASE))

    # --- figures ------------------------------------------------------------------------------

    @handles
    async def load(self, ctx: Context, _ask: GetLoad) -> LaneLoad:
        counts = Counter(f"{work.run.tenant_id}/{work.run.agent_key}" for work in self.running.values())
        return LaneLoad(
            name=self.name,
            limit=self.slots.limit,
            active=len(self.running),
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
        if level == before:
            return
        queued, p95 = len(self.ready.waiting), self.pressure.p95
        ctx.log.warning("lane.pressure", level=level, wait_p95=round(p95, 1), waiting=queued)
        if level:
            ctx.join(SATURATED)
        else:
            ctx.leave(SATURATED)
        news = Saturation(lane=self.name, level=level, wait_p95=p95, queued=queued)
        ctx.publish(of_operators(MASTER_TENANT), news)
        self._tell_lanes(ctx, Pressed(lane=self.name, level=level))

    @handles
    async def pressed(self, ctx: Context, news: Pressed) -> None:
        self.ready.pressures[news.lane] = news.level
        self._fill_soon(ctx)

    def _figures(self, ctx: Context) -> None:
        ctx.system.meter.set("lane_active", len(self.running), self.name)
        ctx.system.meter.set("lane_limit", self.slots.limit, self.name)

    def _served(self, ctx: Context) -> None:
        """Slots may have become free: first for those who lent theirs."""
        self.slots.serve()
        self._figures(ctx)
        self._fill_soon(ctx)

    def _fill_soon(self, ctx: Context) -> None:
        """Once for all the news that wait in the mailbox: that is what makes batches."""
        wanted = (self.ready.waiting and self.slots.free > 0) or (self.ready.suspects and self._place_for_suspect(ctx))
        if not self.filling and wanted:
            self.filling = True
            ctx.tell(ctx.address, Fill())

    def _tell_lanes(self, ctx: Context, news: SuspectsMayRun | Pressed) -> None:
        for name in LANES:
            if at.lane(name) in ctx.system.members:  # at the start some are not there yet
                ctx.tell(at.lane(name), news)

    def snapshot(self) -> dict[str, object]:
        return {
            "limit": self.slots.limit,
            "active": len(self.running),
            "lent": self.slots.lent,
            "ready": len(self.ready.waiting),
            "suspects": len(self.ready.suspects),
            "pressure": self.pressure.level,
            "wait_p95_ms": round(self.pressure.p95 * 1000),
            "closing": self.closing,
        }
