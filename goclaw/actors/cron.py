"""Work that nobody has to ask for: jobs that become due, and the heartbeats of agents.

Address   /cron/ticker
Contract  sessions-lanes-cron.md §5.2; durability.md §3, §12

Nothing is remembered here that is not a row: what is due, what runs and what is to be tried again is read at every
look. One node looks; a tick belongs to whoever commits it first, so a second node would do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import trio

from goclaw.actors.heartbeat import Heartbeat
from goclaw.actors.scheduled import Lead, begin
from goclaw.actors.selfcheck import Selfcheck
from goclaw.domain.address import HEARTBEAT, QUOTA
from goclaw.domain.cron import Action, Look, Ran, RunJob, epoch_ms, news
from goclaw.domain.errors import Rejected, StoreError
from goclaw.domain.events import RunEvent, of_admins, of_run, of_user
from goclaw.domain.heartbeat import WakeHeartbeat
from goclaw.domain.ids import new_id
from goclaw.domain.quota import GiveTurnBack, Payer, TakeTurn
from goclaw.domain.workspace import place_of, sharing_of
from goclaw.knowledge import files
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.child import Exhausted, Limit, Restart, child
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.supervisor import Supervisor
from goclaw.settings.cron import Cron
from goclaw.stores import cron as jobs
from goclaw.stores import cron_ends as ends
from goclaw.stores import cron_ticks as ticks
from goclaw.stores.cron import Job
from goclaw.stores.cron_ticks import AT_ONCE, Agenda, Fired

COUNTED = 5.0  # seconds the quota has to answer
LONGEST = 1.0  # seconds between two looks; C5.1
JUMP = 1.0  # seconds; what a clock is moved by at least before it is worth a line


class Ticker(Actor):
    """Looks at what is due at least once a second."""

    weather = (StoreError,)

    def __init__(
        self, lead: Lead, settings: Cron, workspace: Path, resting: Callable[[], bool], metered: bool = False
    ) -> None:
        self.lead = lead
        self.settings = settings
        self.workspace = workspace  # where agents keep their files
        self.resting = resting  # the gateway drains
        self.metered = metered  # turns are counted (§8.1)
        self.fired = 0
        self.wait = LONGEST

    async def on_start(self, ctx: Context) -> None:
        self.timer = ctx.after(0.0, Look())

    async def on_stop(self, ctx: Context, reason: str) -> None:
        await self.lead.let_go(ctx)

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        self.timer.cancel()
        self.wait = LONGEST
        try:
            await self._look(ctx)
        except StoreError as outage:
            ctx.log.warning("cron.not_looked", error=str(outage))
        self.timer = ctx.after(self.wait, Look())

    @handles
    async def heard(self, ctx: Context, event: RunEvent) -> None:
        """Of a run we started. How it ended is in the database by now."""
        if event.terminal:
            ctx.leave(of_run(event.run_id))
            await self.look(ctx, Look())

    @handles
    async def run(self, ctx: Context, ask: RunJob) -> Ran:
        now, run_id = ctx.clock.now(), new_id()
        fired = await ctx.db(
            ticks.fire_now,
            tenant=ask.tenant_id,
            id=ask.job_id,
            now=now,
            run_id=run_id,
            only_due=ask.only_due,
            key=ask.key,
            settings=self.settings,
            said=await self._said(ctx, ask.tenant_id, ask.job_id),
        )
        if fired is not None and fired.run_id in ("", run_id):
            self._tell(ctx, fired, now)
        return Ran(run_id=fired.run_id if fired is not None else "")

    async def _look(self, ctx: Context) -> None:
        moved = ctx.clock.set_right()
        if abs(moved) >= JUMP:
            ctx.log.warning("cron.clock_moved", seconds=round(moved, 1))
        if self.resting() or not await self.lead.held_by_us(ctx):
            return
        now = ctx.clock.now()
        if moved <= -JUMP:
            await ctx.db(ticks.realign, now=now, settings=self.settings)
        until, ticking = now + timedelta(seconds=LONGEST), self.settings.enabled
        done = 0
        for row in await ctx.db(ticks.agenda, until=until, ticking=ticking):
            if row.at is not None and row.at > now:
                self._look_at(row.at, now)
            else:
                done += 1
                try:
                    await self._do(ctx, row, now)
                except StoreError:
                    raise
                except Exception as broken:  # one bad row must not stop the clock
                    ctx.log.exception("cron.row_failed", job=row.id, what=row.what, error=repr(broken))
        if done >= AT_ONCE:
            self.wait = 0.0  # there may be more

    async def _do(self, ctx: Context, row: Agenda, now: datetime) -> None:
        said = await self._said(ctx, row.tenant_id, row.id) if row.from_file else ""
        match row.what:
            case "due" if row.at is not None:
                await self._fire(ctx, row, row.at, now, said)
            case "retry" if row.at is not None:
                again = await ctx.db(
                    ticks.retry,
                    tenant=row.tenant_id,
                    id=row.id,
                    at=row.at,
                    now=now,
                    run_id=new_id(),
                    settings=self.settings,
                    said=said,
                )
                if again is not None:
                    self._tell(ctx, again, now)
            case "ended" if row.run_id is not None:
                await self._finish(ctx, row, row.run_id, now)

    async def _said(self, ctx: Context, tenant: str, id: str) -> str:
        """What the prompt file of a job holds now; empty if it has none, or it cannot be read."""
        job = await ctx.db(jobs.get, tenant=tenant, id=id)
        if job is None or not job.prompt_file:
            return ""
        place = place_of(self.workspace, job.workspace, job.user_id, sharing_of(job.workspace_sharing))
        try:
            return await trio.to_thread.run_sync(files.read, place, job.prompt_file)
        except OSError as trouble:
            ctx.log.warning("cron.unreadable", job=job.name, error=trouble.strerror)
            return ""

    async def _fire(self, ctx: Context, row: Agenda, due: datetime, now: datetime, said: str) -> None:
        run_id, payer = new_id(), Payer(row.tenant_id, row.user_id)
        refused = ""
        if self.metered:
            try:
                await ctx.ask(QUOTA, TakeTurn(payer=payer, run_id=run_id, channel="cron"), within=COUNTED)
            except Rejected:
                refused = "quota"
        fired = await ctx.db(
            ticks.fire,
            tenant=row.tenant_id,
            id=row.id,
            due=due,
            now=now,
            run_id=run_id,
            settings=self.settings,
            said=said,
            refused=refused,
        )
        if self.metered and (fired is None or not fired.run_id):
            ctx.tell(QUOTA, GiveTurnBack(payer=payer, run_id=run_id))
        if fired is not None:
            self._tell(ctx, fired, now)

    async def _finish(self, ctx: Context, row: Agenda, run_id: str, now: datetime) -> None:
        done = await ctx.db(
            ends.finish,
            tenant=row.tenant_id,
            id=row.id,
            run_id=run_id,
            now=now,
            jitter=ctx.rng.uniform(-1, 1),
            settings=self.settings,
        )
        if done is None:
            return
        job = done.job
        ctx.leave(of_run(run_id))
        if done.retry_at is not None:
            self._look_at(done.retry_at, now)
        error = f"{done.error}; disabled after {job.consecutive_errors + 1} errors" if done.disabled else done.error
        ctx.log.info("cron.ended", job=job.name, run=run_id, status=done.status, error=error)
        action: Action = "completed" if done.status == "ok" else "failed"
        self._publish(ctx, job, action, status=done.status, runId=run_id, error=error)
        if job.wake_heartbeat and done.status == "ok":
            ctx.tell(HEARTBEAT, WakeHeartbeat(tenant_id=job.tenant_id, agent_id=job.agent_id))

    def _tell(self, ctx: Context, fired: Fired, now: datetime) -> None:
        """The commit is done: its lane, its session and whoever listens may know."""
        crash_point("cron.fired")
        job = fired.job
        if fired.next_run_at is not None:
            self._look_at(fired.next_run_at, now)
        if not fired.run_id:
            ctx.log.info("cron.skipped", job=job.name, reason=fired.reason)
            self._publish(ctx, job, "skipped", error=fired.reason, nextRunAtMs=epoch_ms(fired.next_run_at))
            return
        self.fired += 1
        ctx.log.info("cron.fired", job=job.name, run=fired.run_id)
        begin(
            ctx,
            "cron",
            run_id=fired.run_id,
            tenant_id=job.tenant_id,
            user_id=job.user_id,
            agent_key=job.agent_key,
            session_key=job.session_key,
        )
        facts = {"status": "running", "runId": fired.run_id, "nextRunAtMs": epoch_ms(fired.next_run_at)}
        self._publish(ctx, job, "started", **facts)

    def _publish(self, ctx: Context, job: Job, action: Action, **more: object) -> None:
        event = news(job.id, job.name, job.agent_id, job.user_id, action, **more)
        for group in (of_user(job.tenant_id, job.user_id), of_admins(job.tenant_id)):
            ctx.publish(group, event)

    def _look_at(self, when: datetime, now: datetime) -> None:
        self.wait = min(self.wait, max(0.0, (when - now).total_seconds()))

    def snapshot(self) -> dict[str, object]:
        return {"leads": self.lead.held, "fired": self.fired, "enabled": self.settings.enabled}


def cron(
    node_id: str, settings: Cron, workspace: Path, *, resting: Callable[[], bool], metered: bool = False
) -> Supervisor:
    """`workspace` is where agents keep their files. While `resting` nothing is begun."""
    return Supervisor(
        [
            child("ticker", Ticker, Lead(node_id), settings, workspace, resting, metered),
            child("heartbeat", Heartbeat, Lead(node_id), workspace, resting),
            child("selfcheck", Selfcheck, Lead(node_id), resting, restart=Restart.TEMPORARY),
        ],
        limit=Limit(restarts=5, within=60.0),
        on_exhausted=Exhausted.QUARANTINE,  # one bad row must not take the gateway with it
    )
