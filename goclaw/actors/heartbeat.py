"""Agents that go through their checklists by themselves.

Address   /cron/heartbeat
Contract  sessions-lanes-cron.md §6.2, §6.3
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import trio

from goclaw.actors.scheduled import Lead, begin
from goclaw.domain.errors import StoreError
from goclaw.domain.events import RunEvent, of_admins, of_run, of_user
from goclaw.domain.heartbeat import TICK, Action, Beat, TryHeartbeat, WakeHeartbeat, news
from goclaw.domain.ids import new_id
from goclaw.knowledge import checklist
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.stores import beats as rows
from goclaw.stores.beats import Beaten
from goclaw.stores.heartbeats import Row

ACTIONS: dict[str, Action] = {"ok": "completed", "suppressed": "suppressed", "error": "error"}


class Heartbeat(Actor):
    """Looks twice a minute who is due. Nothing is remembered here that is not a row."""

    weather = (StoreError,)

    def __init__(self, lead: Lead, workspace: Path, resting: Callable[[], bool]) -> None:
        self.lead = lead
        self.workspace = workspace  # where agents keep their files
        self.resting = resting  # the gateway drains
        self.beats = 0

    async def on_start(self, ctx: Context) -> None:
        ctx.tell(ctx.address, Beat())
        ctx.every(TICK, Beat())

    @handles
    async def look(self, ctx: Context, _tick: Beat) -> None:
        try:
            if self.resting() or not await self.lead.held_by_us(ctx):
                return
            await self._write_down(ctx)
            now = ctx.clock.now()
            for row in await ctx.db(rows.due, now=now):
                with self._alone(ctx, row):
                    await self._beat(ctx, row.tenant_id, row.agent_id, row.workspace, now)
        except StoreError as outage:
            ctx.log.warning("heartbeat.not_looked", error=str(outage))

    @handles
    async def heard(self, ctx: Context, event: RunEvent) -> None:
        """Of a run we started. How it ended is in the database by now."""
        if event.terminal:
            ctx.leave(of_run(event.run_id))
            await self.look(ctx, Beat())

    @handles
    async def wake(self, ctx: Context, ask: WakeHeartbeat) -> None:
        await ctx.db(rows.wake, tenant=ask.tenant_id, agent=ask.agent_id, now=ctx.clock.now())
        await self.look(ctx, Beat())

    @handles
    async def test(self, ctx: Context, ask: TryHeartbeat) -> None:
        found = await ctx.db(rows.get, tenant=ask.tenant_id, agent=ask.agent_id)
        if found is not None:
            await self._beat(
                ctx, ask.tenant_id, ask.agent_id, found.workspace, ctx.clock.now(), forced=True, key=ask.key
            )

    async def _beat(
        self,
        ctx: Context,
        tenant: str,
        agent: str,
        workspace: str,
        now: datetime,
        *,
        forced: bool = False,
        key: str = "",
    ) -> None:
        try:
            todo = await trio.to_thread.run_sync(checklist.read, self.workspace, workspace)
        except OSError as trouble:
            ctx.log.warning("heartbeat.unreadable", agent=agent, error=trouble.strerror)
            todo = ""
        beaten = await ctx.db(
            rows.beat, tenant=tenant, agent=agent, now=now, run_id=new_id(), checklist=todo, forced=forced, key=key
        )
        if beaten is not None and not beaten.told:
            self._tell(ctx, beaten)

    def _tell(self, ctx: Context, beaten: Beaten) -> None:
        """The commit is done: the lane and whoever listens may know."""
        of = beaten.heartbeat
        if not beaten.run_id:
            ctx.log.info("heartbeat.skipped", agent=of.agent_key, reason=beaten.reason)
            return self._publish(ctx, of, "skipped", reason=beaten.reason)
        self.beats += 1
        begin(
            ctx,
            "heartbeat",
            run_id=beaten.run_id,
            tenant_id=of.tenant_id,
            user_id=of.owner_id,
            agent_key=of.agent_key,
            session_key=beaten.session_key,
        )
        self._publish(ctx, of, "running")

    async def _write_down(self, ctx: Context) -> None:
        """How beats ended, also those that ended while nobody listened."""
        for row in await ctx.db(rows.over):
            with self._alone(ctx, row):
                await self._rest(ctx, row, row.active_run_id or "")

    async def _rest(self, ctx: Context, row: Row, run_id: str) -> None:
        done = await ctx.db(rows.rest, tenant=row.tenant_id, agent=row.agent_id, run_id=run_id, now=ctx.clock.now())
        if done is not None:
            ctx.leave(of_run(run_id))
            ctx.log.info(f"heartbeat.{done.status}", agent=row.agent_key, reason=done.reason, error=done.error)
            self._publish(ctx, row, ACTIONS[done.status], reason=done.reason, error=done.error)

    @contextmanager
    def _alone(self, ctx: Context, row: Row) -> Iterator[None]:
        """One bad row must not stop the others."""
        try:
            yield
        except StoreError:
            raise
        except Exception as broken:
            ctx.log.exception("heartbeat.row_failed", agent=row.agent_key, error=repr(broken))

    def _publish(self, ctx: Context, of: Row, action: Action, *, reason: str = "", error: str = "") -> None:
        event = news(of.agent_id, action, reason=reason, error=error)
        for group in (of_user(of.tenant_id, of.owner_id), of_admins(of.tenant_id)):
            ctx.publish(group, event)

    def snapshot(self) -> dict[str, object]:
        return {"leads": self.lead.held, "beats": self.beats}
