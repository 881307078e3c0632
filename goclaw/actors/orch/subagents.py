"""Subagents of all runs: lets those begin that were held back, ends those nobody wants, wakes whoever waits.

All of it is in the database; what is heard only makes it quicker.

Address   /orch/subagents
Contract  orchestration.md §3, §11, §14
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Raw

from goclaw.actors.scheduled import begin
from goclaw.domain.address import ANNOUNCER, HOOKS, session
from goclaw.domain.cluster import Ownership
from goclaw.domain.errors import StoreError
from goclaw.domain.events import RunEvent, body, of_admins, of_run, of_user
from goclaw.domain.hook import Happened, Happening
from goclaw.domain.session import Abort
from goclaw.domain.subagent import AwaitEnd, Began, Stopped, SubagentEvent
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.faults import Rejected, RuntimeFault
from goclaw.runtime.message import Message
from goclaw.runtime.reply import Reply
from goclaw.settings.orchestration import ChildRuns
from goclaw.settings.orchestration import Subagents as Limits
from goclaw.stores import agents, subagent_ends, subagent_places, subagent_views

LOOK = 1.0  # seconds between two looks while some are at work; orchestration.md §11 H8 allows 5
IDLE = 5.0  # … and while none is
ARCHIVE = 60.0  # seconds between two looks for conversations nobody needs to see any more
ASK = 10.0  # seconds a session has to stop a run
ENDS = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}


class Look(Message[None]):
    """Look what the database says."""


class Arrived(Message[None]):
    """To the announcer: a result may be on its way."""


class Patience(Message[None]):
    """Somebody has waited for long enough."""

    number: int


@dataclass
class Waiter:
    tenant: str
    ids: tuple[str, ...]
    reply: Reply


class Subagents(Actor):
    weather = (StoreError,)

    def __init__(self, limits: Limits, rules: ChildRuns, ownership: Ownership) -> None:
        self.limits = limits
        self.rules = rules
        self.own = ownership
        self.waiters: dict[int, Waiter] = {}
        self.number = 0
        self.open = 0
        self.archives_at = 0.0  # monotonic seconds

    async def on_start(self, ctx: Context) -> None:
        self.timer = ctx.after(0.0, Look())

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        self.timer.cancel()
        try:
            await self._look(ctx)
        except StoreError as outage:
            ctx.log.warning("subagents.not_looked", error=str(outage))
        self.timer = ctx.after(LOOK if self.open or self.waiters else IDLE, Look())

    async def _look(self, ctx: Context) -> None:
        if self.own.stopped or not self.own.held:
            return
        self.open = await ctx.db(subagent_places.open_tasks)
        if self.open:
            for task in await ctx.db(subagent_ends.orphans):
                doomed = await ctx.db(subagent_ends.stop, tenant=task.tenant_id, ids=[task.task], by=task.user_id)
                for one in doomed:
                    await self._abort(ctx, one.tenant_id, one.user_id, one.run_id, one.session_key)
            for parent, row in await ctx.db(subagent_places.admit, defaults=self.limits, rules=self.rules):
                self._begin(
                    ctx,
                    Began(
                        tenant_id=row.tenant_id,
                        run_id=row.run_id,
                        parent_run_id=parent,
                        session_key=row.child_session_key,
                        agent_key=row.parent_agent_key,
                        user_id=row.user_id,
                        id=row.id,
                        label=row.label,
                    ),
                )
        await self._wake(ctx)
        if ctx.clock.monotonic() >= self.archives_at:
            self.archives_at = ctx.clock.monotonic() + ARCHIVE
            await ctx.db(subagent_places.archive, minutes=self.limits.archive_after_minutes)

    # --- news ---------------------------------------------------------------------------------

    @handles
    async def began(self, ctx: Context, news: Began) -> None:
        self.open += 1
        if not news.held:
            self._begin(ctx, news)
        self._soon(ctx, LOOK)

    def _begin(self, ctx: Context, news: Began) -> None:
        begin(
            ctx,
            "subagent",
            run_id=news.run_id,
            tenant_id=news.tenant_id,
            user_id=news.user_id,
            agent_key=news.agent_key,
            session_key=news.session_key,
        )
        told = body(id=news.id, label=news.label, status="running", runId=news.run_id, parentRunId=news.parent_run_id)
        self._publish(
            ctx, "subagent.steered" if news.steered else "subagent.started", news.tenant_id, news.user_id, told
        )

    @handles
    async def heard(self, ctx: Context, event: RunEvent) -> None:
        """Of a run of a subagent. How it ended is in the database by now."""
        if not event.terminal:
            return
        ctx.leave(of_run(event.run_id))
        if end := ENDS.get(event.type):
            told = body(status=end, runId=event.run_id, sessionKey=event.session_key, agentId=event.agent_key)
            self._publish(ctx, f"subagent.{end}", event.tenant_id, event.user_id, told)
            await self._tell_hooks(ctx, event, end)
        ctx.tell(ANNOUNCER, Arrived())
        await self.look(ctx, Look())

    async def _tell_hooks(self, ctx: Context, event: RunEvent, end: str) -> None:
        """Of `subagent_stop`, which blocks nothing."""
        try:
            agent = await ctx.db(agents.find, tenant=event.tenant_id, name=event.agent_key)
        except StoreError as outage:
            ctx.log.warning("hook.not_asked", what="subagent_stop", error=str(outage))
            return
        about = Happening(
            event="subagent_stop",
            tenant_id=event.tenant_id,
            run_id=event.run_id,
            session_key=event.session_key,
            agent_id=agent.id if agent is not None else "",
            user_id=event.user_id,
            result=end,
            is_error=end != "completed",
        )
        ctx.tell(HOOKS, Happened(about=about))

    @handles
    async def stopped(self, ctx: Context, news: Stopped) -> None:
        for run_id, key in news.runs:
            await self._abort(ctx, news.tenant_id, news.user_id, run_id, key)

    async def _abort(self, ctx: Context, tenant: str, user: str, run_id: str, key: str) -> None:
        """What is not done now is done at the next look."""
        try:
            await ctx.ask(session(tenant, key), Abort(user_id=user, as_admin=True, run_id=run_id), within=ASK)
        except (Rejected, RuntimeFault) as trouble:
            ctx.log.warning("subagents.not_stopped", run=run_id, error=str(trouble))

    # --- who waits ----------------------------------------------------------------------------

    @handles
    async def await_end(self, ctx: Context, ask: AwaitEnd) -> bool:
        if not await ctx.db(subagent_views.at_work, tenant=ask.tenant_id, ids=ask.ids):
            return True
        if (reply := ctx.defer()) is not None:
            self.number += 1
            self.waiters[self.number] = Waiter(ask.tenant_id, ask.ids, reply)
            ctx.after(ask.within, Patience(number=self.number))
            self._soon(ctx, LOOK)
        return False

    @handles
    async def patience(self, ctx: Context, news: Patience) -> None:
        if (waiter := self.waiters.pop(news.number, None)) is not None:
            waiter.reply.answer(False)

    async def _wake(self, ctx: Context) -> None:
        for number, waiter in list(self.waiters.items()):
            if not await ctx.db(subagent_views.at_work, tenant=waiter.tenant, ids=waiter.ids):
                self.waiters.pop(number).reply.answer(True)

    # --- parts --------------------------------------------------------------------------------

    def _soon(self, ctx: Context, within: float) -> None:
        self.timer.cancel()
        self.timer = ctx.after(within, Look())

    def _publish(self, ctx: Context, type: str, tenant: str, user: str, told: Raw) -> None:
        event = SubagentEvent(type=type, body=told)
        for group in (of_user(tenant, user), of_admins(tenant)):
            ctx.publish(group, event)

    def snapshot(self) -> dict[str, object]:
        return {"open": self.open, "waiters": len(self.waiters)}
