"""A lane: so many runs at once, claimed in batches, each a child.

Address   /engine/lanes/{name}
Contract  durability.md §5; sessions-lanes-cron.md §4; supervision.md §14 (hand back)
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.run import RELEASE, Run, failure
from goclaw.actors.engine.voice import said_in, voice_of
from goclaw.domain import address as at
from goclaw.domain.errors import StoreError
from goclaw.domain.retry import delay
from goclaw.domain.run import GetLoad, GiveSlotBack, HandBack, Lane, LaneLoad, RunQueued, RunResult, StopRun, TakeSlot
from goclaw.domain.session import RunEnded
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import ABNORMAL, Child, Restart
from goclaw.runtime.message import Cancel, ChildEnded, Message, Told
from goclaw.runtime.reply import Reply
from goclaw.stores import runs
from goclaw.stores.runs import Claimed, StaleOwner

BATCH = 8  # sessions claimed in one transaction; durability.md §5.1
AUDIT = 10.0  # seconds between two looks for runs nobody runs, and how long a granted slot is kept
AGAIN = 0.5  # seconds before another try when the database is away
READY = 10_000  # sessions remembered as waiting; the queue's own look finds the others again


class Fill(Message[None]):
    """Claim as many runs as there are slots."""


class Start(Message[None]):
    """A run that was claimed with its acceptance takes the slot that was kept for it."""

    run: Claimed


class Audit(Message[None]):
    """Look for runs that are ours in the database and nowhere else."""


class Orphaned(Message[None]):
    """A run of ours crashed and its row still says that it runs."""

    run: Claimed


class CutOff(Message[None]):
    """The time to end is over for whoever still runs."""


class LaneActor(Actor):
    capacity = 4096
    responsive = True

    def __init__(self, name: Lane, limit: int, engine: Engine) -> None:
        self.name = name
        self.limit = limit
        self.engine = engine
        self.ready: dict[tuple[str, str], None] = {}  # sessions with waiting runs, longest known first
        self.running: dict[Address, Claimed] = {}
        self.granted: dict[str, float] = {}  # slots kept for runs about to be accepted, and since when
        self.filling = False
        self.closing = False
        self.released: set[Address] = set()  # runs told to go back into the queue
        self.waits_for_end: Reply | None = None

    async def on_start(self, ctx: Context) -> None:
        """Runs of a former incarnation died with it: give them back."""
        for run in await ctx.db(runs.owned, node=self.engine.node_id, lane=self.name):
            await self._recover(ctx, run)
        ctx.every(AUDIT, Audit())

    @handles
    async def take_slot(self, ctx: Context, ask: TakeSlot) -> bool:
        """Only while nobody waits for one: a turn must not overtake the queue."""
        if self.closing or self.ready or self._free() <= 0:
            return False
        self.granted[ask.run_id] = ctx.clock.monotonic()
        return True

    @handles
    async def start(self, ctx: Context, news: Start) -> None:
        """A slot that expired, or was granted by a former incarnation, starts nothing: the run is recovered."""
        if self.granted.pop(news.run.run_id, None) is not None:
            self._begin(ctx, news.run)

    @handles
    async def slot_back(self, ctx: Context, news: GiveSlotBack) -> None:
        self.granted.pop(news.run_id, None)
        self._fill_soon(ctx)

    @handles
    async def audit(self, ctx: Context, _tick: Audit) -> None:
        """Whoever was granted a slot and died between its commit and telling us left an orphan."""
        before = ctx.clock.monotonic() - AUDIT
        for run_id in [run_id for run_id, since in self.granted.items() if since < before]:
            del self.granted[run_id]
        try:
            mine = await ctx.db(runs.owned, node=self.engine.node_id, lane=self.name, older=AUDIT)
        except StoreError:
            return  # weather: the next look comes
        known = {run.run_id for run in self.running.values()}
        for run in mine:
            if run.run_id not in known and run.run_id not in self.granted:
                await self._recover(ctx, run)

    @handles
    async def queued(self, ctx: Context, news: RunQueued) -> None:
        if len(self.ready) < READY:
            self.ready[news.tenant_id, news.session_key] = None
        self._fill_soon(ctx)

    @handles
    async def fill(self, ctx: Context, _tick: Fill) -> None:
        self.filling = False
        free = self._free()
        if self.closing or free <= 0 or not self.ready:
            return
        batch = list(islice(self.ready, min(free, BATCH)))
        for session in batch:
            del self.ready[session]
        try:
            claimed = await ctx.db(
                runs.claim, node=self.engine.node_id, lane=self.name, sessions=batch, limit=len(batch)
            )
        except StoreError as trouble:
            ctx.log.warning("lane.claim_failed", error=str(trouble))
            self.ready.update(dict.fromkeys(batch))
            ctx.after(AGAIN, Fill())
            return
        for run in claimed:
            self._begin(ctx, run)
        self._fill_soon(ctx)

    @handles
    async def stop_run(self, ctx: Context, ask: StopRun) -> bool:
        """Whatever was claimed before we were asked has begun by now."""
        address = at.run(self.name, ask.run_id)
        return address in self.running and ctx.tell(address, Cancel(reason=ask.reason, by=ask.by)) is Told.ACCEPTED

    @handles
    async def child_ended(self, ctx: Context, news: ChildEnded) -> None:
        run = self.running.pop(news.address, None)
        if run is not None and news.reason in ABNORMAL:
            await self._recover(ctx, run)
        self._fill_soon(ctx)
        self._ended_all()

    @handles
    async def orphaned(self, ctx: Context, news: Orphaned) -> None:
        await self._recover(ctx, news.run)

    @handles
    async def load(self, ctx: Context, _ask: GetLoad) -> LaneLoad:
        counts = Counter(f"{run.tenant_id}/{run.agent_key}" for run in self.running.values())
        return LaneLoad(
            name=self.name,
            limit=self.limit,
            active=len(self.running),
            queued=len(self.ready),
            by_agent=tuple(counts.items()),
        )

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

    def _ended_all(self) -> None:
        if self.waits_for_end is not None and not self.running:
            self.waits_for_end.answer(len(self.released))
            self.waits_for_end = None

    def _free(self) -> int:
        return self.limit - len(self.running) - len(self.granted)

    def _begin(self, ctx: Context, run: Claimed) -> None:
        child = Child(run.run_id, Run, (run, self.engine), restart=Restart.TEMPORARY)
        address = ctx.child(child)
        self.running[address] = run
        if self.closing:
            self._release(ctx, address)

    def _release(self, ctx: Context, address: Address) -> None:
        self.released.add(address)
        ctx.tell(address, Cancel(reason=RELEASE))

    def _fill_soon(self, ctx: Context) -> None:
        """Once for all the news that wait in the mailbox: that is what makes batches."""
        if not self.filling and self.ready and self._free() > 0:
            self.filling = True
            ctx.tell(ctx.address, Fill())

    async def _recover(self, ctx: Context, run: Claimed) -> None:
        try:
            outcome = await ctx.db(
                runs.recover, run, "crash", delay=delay(run.run_id, run.crash_count + 1, self.engine.rules)
            )
        except StaleOwner:
            return
        except StoreError:
            ctx.after(AGAIN, Orphaned(run=run))
            return
        ctx.log.warning("run.recovered", run=run.run_id, outcome=outcome)
        if outcome == "requeued":
            ctx.tell(ctx.address, RunQueued(tenant_id=run.tenant_id, session_key=run.session_key))
        else:
            announce_loss(ctx, run)

    def snapshot(self) -> dict[str, object]:
        return {"limit": self.limit, "active": len(self.running), "ready": len(self.ready), "closing": self.closing}


def announce_loss(ctx: Context, run: Claimed) -> None:
    """Tell its session and whoever listens that a run ended without its actor."""
    ctx.tell(at.session(run.tenant_id, run.session_key), RunEnded(run_id=run.run_id))
    voice = voice_of(ctx, run, seq=said_in(run.fence))
    result = RunResult(run_id=run.run_id, session_key=run.session_key, error=runs.LOST)
    voice.say("run.failed", failure(runs.LOST, ""), result=result)
